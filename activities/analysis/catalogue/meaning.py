"""What a metric measures: of which resource, in which unit, and which direction is bad.

`metrics/*.toml` lists metrics of well-known exporters and conventions by their documented names, each file with its
source. A metric that is not listed is classified by the whole tokens of its name (`tokens.py`), never by parts of
words. No name of any system is known here.
"""

import re
import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files

from workflows.contracts.hypothesis import FaultKind


class Signal(StrEnum):
    """What is measured of a resource (the four golden signals, USE and RED, and states beside them)."""

    UTILISATION = "utilisation"
    SATURATION = "saturation"
    ERRORS = "errors"
    DURATION = "duration"
    TRAFFIC = "traffic"
    STATE = "state"
    COUNTDOWN = "countdown"
    CAPACITY = "capacity"
    """A limit that others are divided by; no sign of a fault by itself."""

    INFORMATION = "information"
    """Labels, versions, moments; never a sign of anything."""

    UNKNOWN = "unknown"


class Resource(StrEnum):
    """Of what it is measured."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    NETWORK = "network"
    REQUEST = "request"
    CONNECTION = "connection"
    THREAD = "thread"
    FILE_DESCRIPTOR = "file_descriptor"
    QUEUE = "queue"
    LOCK = "lock"
    CACHE = "cache"
    GARBAGE_COLLECTION = "garbage_collection"
    REPLICATION = "replication"
    TRANSACTION = "transaction"
    CERTIFICATE = "certificate"
    PROCESS = "process"
    REPLICA = "replica"
    POD = "pod"
    NODE = "node"
    QUOTA = "quota"
    DNS = "dns"
    UNKNOWN = "unknown"


class Bad(StrEnum):
    """Which direction is a sign of a fault."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a metric means."""

    signal: Signal = Signal.UNKNOWN
    resource: Resource = Resource.UNKNOWN
    unit: str = ""
    """`ratio`, `cores`, `%`, `s`, `By`, `{request}`, ...; of a rate, per second (`By/s`). Empty when unknown."""

    bad: Bad = Bad.UP
    capacity: str | None = None
    """The metric that is this one's whole."""

    source: str = ""
    """Where it is documented; empty when the name alone was read."""

    is_mean: bool = False
    """Whether it is a mean of single durations, rather than a quantile or a sum."""

    is_share: bool = False
    """Whether its name or its unit says that it is a part of a whole."""

    @property
    def kind(self) -> FaultKind:
        """The kind of fault that a bad value speaks for."""
        if self.signal is Signal.UNKNOWN and self.resource not in _PHYSICAL:
            return FaultKind.UNKNOWN
        return _KINDS.get((self.signal, self.resource)) or _KINDS_OF_RESOURCES.get(self.resource) or FaultKind.UNKNOWN

    @property
    def says_something(self) -> bool:
        """False for limits and labels."""
        return self.signal not in (Signal.CAPACITY, Signal.INFORMATION)

    @property
    def fall_is_bad(self) -> bool:
        """Whether a fall is as telling as a rise elsewhere."""
        return self.bad in (Bad.DOWN, Bad.BOTH)

    @property
    def rise_is_bad(self) -> bool:
        """Whether a rise is."""
        return self.bad in (Bad.UP, Bad.BOTH)


_PHYSICAL = frozenset(
    (
        Resource.CPU,
        Resource.MEMORY,
        Resource.DISK,
        Resource.NETWORK,
        Resource.LOCK,
        Resource.CERTIFICATE,
        Resource.QUEUE,
    )
)
"""Resources of which anything strange speaks for a kind of fault."""

_WAITING = (Signal.UTILISATION, Signal.SATURATION, Signal.DURATION, Signal.STATE)
_KINDS: dict[tuple[Signal, Resource], FaultKind] = {
    **{(signal, Resource.TRANSACTION): FaultKind.LOCK for signal in _WAITING},
    (Signal.ERRORS, Resource.TRANSACTION): FaultKind.ERROR,
    (Signal.TRAFFIC, Resource.TRANSACTION): FaultKind.TRAFFIC,
    (Signal.ERRORS, Resource.REQUEST): FaultKind.ERROR,
    (Signal.STATE, Resource.REQUEST): FaultKind.ERROR,
    (Signal.DURATION, Resource.REQUEST): FaultKind.LATENCY,
    (Signal.TRAFFIC, Resource.REQUEST): FaultKind.TRAFFIC,
    **{
        (Signal.TRAFFIC, resource): FaultKind.TRAFFIC
        for resource in (Resource.CONNECTION, Resource.QUEUE, Resource.CACHE, Resource.UNKNOWN)
    },
    **{(signal, Resource.CERTIFICATE): FaultKind.EXPIRY for signal in Signal},
    **{(Signal.COUNTDOWN, resource): FaultKind.EXPIRY for resource in Resource},
    (Signal.ERRORS, Resource.UNKNOWN): FaultKind.ERROR,
    (Signal.DURATION, Resource.UNKNOWN): FaultKind.LATENCY,
    (Signal.SATURATION, Resource.UNKNOWN): FaultKind.SATURATION,
    (Signal.STATE, Resource.UNKNOWN): FaultKind.CRASH,
    (Signal.UTILISATION, Resource.PROCESS): FaultKind.UNKNOWN,
    (Signal.UTILISATION, Resource.POD): FaultKind.SATURATION,
    (Signal.UTILISATION, Resource.NODE): FaultKind.SATURATION,
}
_KINDS_OF_RESOURCES: dict[Resource, FaultKind] = {
    Resource.CPU: FaultKind.CPU,
    Resource.MEMORY: FaultKind.MEMORY,
    Resource.GARBAGE_COLLECTION: FaultKind.MEMORY,
    Resource.DISK: FaultKind.DISK,
    Resource.NETWORK: FaultKind.NETWORK,
    Resource.DNS: FaultKind.NETWORK,
    Resource.LOCK: FaultKind.LOCK,
    Resource.REQUEST: FaultKind.SATURATION,
    Resource.CONNECTION: FaultKind.SATURATION,
    Resource.THREAD: FaultKind.SATURATION,
    Resource.FILE_DESCRIPTOR: FaultKind.SATURATION,
    Resource.QUEUE: FaultKind.SATURATION,
    Resource.QUOTA: FaultKind.SATURATION,
    Resource.REPLICATION: FaultKind.SATURATION,
    Resource.PROCESS: FaultKind.CRASH,
    Resource.REPLICA: FaultKind.CRASH,
    Resource.POD: FaultKind.CRASH,
    Resource.NODE: FaultKind.CRASH,
}

MEAN, ERROR_RATIO = "_mean", "_error_ratio"
"""What a backend appends to the base name of the ratios it makes of counters."""

_SHARES = ("ratio", "%")
_RATE = re.compile(r"^(?:rate|irate|increase|deriv)\((.*)\)$")
_PARTS = ("_bucket", "_sum", "_count")
_UNIT_SUFFIXES = ("_total", "_seconds", "_milliseconds", "_bytes", "_ratio", "_percent")
ALERT_NAME = re.compile(r'alertname="([^"]*)"')


@lru_cache(maxsize=65_536)
def meaning_of(metric: str) -> Meaning:
    """What a series means, by its name as answered: labels, `rate(...)` and derived ratios are understood."""
    from activities.analysis.catalogue.tokens import meaning_by_tokens  # noqa: PLC0415 - it needs the types above

    rate = _RATE.match(metric)
    inner = rate[1] if rate else metric
    name, _, labels = inner.partition("{")
    alert = ALERT_NAME.search(labels) if name == "ALERTS" else None
    if alert:
        return meaning_by_tokens(alert[1])
    if name.endswith(ERROR_RATIO):
        return Meaning(signal=Signal.ERRORS, resource=Resource.REQUEST, unit="ratio", source="derived")
    base = name.removesuffix(MEAN)
    found = documented(base)
    if found is not None and base != name:
        found = replace(found, is_mean=found.signal is Signal.DURATION)
    found = found or meaning_by_tokens(inner)
    return replace(found, unit=_per_second(found)) if rate else found


def documented(name: str) -> Meaning | None:
    """The catalogue's entry for a metric, by its exact name or its usual translation; None when it has none."""
    table = _catalogue()
    found = table.get(name)
    for part in _PARTS if found is None else ():
        if name.endswith(part):
            found = table.get(name.removesuffix(part))
            if found is not None and part == "_count":
                return replace(found, signal=Signal.TRAFFIC, unit="{event}", bad=Bad.BOTH)
    for suffix in _UNIT_SUFFIXES if found is None else ():
        found = found or table.get(name.removesuffix("_total").removesuffix(suffix)) if name.endswith(suffix) else found
    return found


def _per_second(meaning: Meaning) -> str:
    """The unit of a counter's rate: seconds of processor time per second are cores, other time a part of all time."""
    if meaning.unit == "s":
        return "cores" if meaning.resource is Resource.CPU else "ratio"
    return f"{meaning.unit}/s"


@cache
def _catalogue() -> dict[str, Meaning]:
    """Every documented metric by its name; names with dots also with underscores, as Prometheus has them."""
    found: dict[str, Meaning] = {}
    for path in sorted(files(__package__).joinpath("metrics").iterdir(), key=lambda path: path.name):
        document = tomllib.loads(path.read_text())
        for name, entry in document["metrics"].items():
            meaning = Meaning(
                signal=Signal(entry["signal"]),
                resource=Resource(entry["resource"]),
                unit="ratio" if entry["unit"] == "1" and entry["signal"] == "utilisation" else entry["unit"],
                bad=Bad(entry["bad"]),
                capacity=entry.get("capacity"),
                source=document["source"],
                is_share=entry["unit"] in _SHARES or (entry["unit"] == "1" and entry["signal"] == "utilisation"),
            )
            found[name] = meaning
            if "." in name:
                found.setdefault(name.replace(".", "_"), meaning)
    return found
