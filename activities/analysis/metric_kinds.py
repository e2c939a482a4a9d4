"""What a metric is about, from general words in its name. No name of any system is known here."""

from functools import lru_cache

from activities.analysis.parameters import Parameters
from workflows.contracts.hypothesis import FaultKind

_WORDS: tuple[tuple[FaultKind, tuple[str, ...]], ...] = (
    (FaultKind.EXPIRY, ("expir", "notafter", "not_after", "days_left", "remaining_seconds")),
    (FaultKind.LOCK, ("lock", "idle_in_transaction", "oldest_transaction", "deadlock")),
    (
        FaultKind.SATURATION,
        ("waiting", "queue", "pool", "saturation", "backlog", "in_flight", "connections", "fds"),
    ),
    (FaultKind.CPU, ("cpu", "throttl", "load1", "load5")),
    (
        FaultKind.DISK,
        ("disk", "filesystem", "inode", "iops", "storage", "volume", "fs_read", "fs_write", ".io.", "_io_"),
    ),
    (
        FaultKind.ERROR,
        (
            "error",
            "fail",
            "5xx",
            "4xx",
            "401",
            "403",
            "panic",
            "exception",
            "rollback",
            "timeout",
            "availability",
            "success_rat",
        ),
    ),
    (
        FaultKind.LATENCY,
        ("latency", "duration", "mrt", 'alertname="pd"', "p50", "p90", "p95", "p99", "response_time", "_ms"),
    ),
    (FaultKind.CRASH, ("restart", "oomkill", "crash", "evict")),
    (FaultKind.MEMORY, ("mem", "heap", "rss", "oom", "working_set")),
    (FaultKind.NETWORK, ("network", "receive", "transmit", "bytes", "packet", "tcp", "retrans")),
    (
        FaultKind.TRAFFIC,
        ("rate", "rps", "ops", "workload", "requests", "qps", "per_sec", "queries", "commits", "count"),
    ),
)


UNSURE = frozenset((FaultKind.MEMORY, FaultKind.SATURATION, FaultKind.ERROR))
SYMPTOMS = frozenset((FaultKind.LATENCY, FaultKind.NETWORK, FaultKind.TRAFFIC, FaultKind.UNKNOWN))


def weight_of(kind: FaultKind, parameters: Parameters) -> float:
    """How far a strange value of such a metric speaks for a cause, and not for the consequence of one."""
    if kind in SYMPTOMS:
        return parameters.metric_symptom
    return parameters.metric_unsure if kind in UNSURE else 1.0


@lru_cache(maxsize=65_536)
def kind_of(metric: str) -> FaultKind:
    """The kind of fault that a strange value of this metric speaks for; `unknown` when no word tells."""
    name = metric.lower()
    if name == "up" or name.startswith("up{"):
        return FaultKind.CRASH
    found = (kind for kind, words in _WORDS if any(word in name for word in words))
    return next(found, FaultKind.UNKNOWN)


def fall_is_bad(metric: str, kind: FaultKind) -> bool:
    """True where a fall is as telling as a rise: traffic that stops, something that is no longer up or available."""
    name = metric.lower()
    if name == "up" or name.startswith("up{"):
        return True
    return kind is FaultKind.TRAFFIC or any(
        word in name for word in ("success", "available", "availability", "ready", "hit_r", "free")
    )
