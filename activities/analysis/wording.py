"""Numbers and names as people write them in a sentence."""

import math
import re

from activities.analysis.catalogue import Meaning
from activities.analysis.catalogue.tokens import words_of
from activities.analysis.parameters import LIMITS
from workflows.contracts.identifiers import EntityId

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
_SECONDS = ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7_200.0, 1 / 60, "min"))
_PLAIN_UNITS = {"1": "", "": ""}


def name_of(entity: EntityId) -> str:
    """An entity as people call it: a service by its name alone, anything else with its kind."""
    kind, _, name = entity.partition(":")
    return name if kind == "service" and name else entity.replace(":", " ", 1)


def number(value: float) -> str:
    """Three significant digits, thousands marked, no exponent where a person would write none."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1_000:
        digits = max(0, 3 - len(f"{abs(value):.0f}"))
        return f"{round(value, digits):,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{float(f'{value:.3g}'):g}"


def quantity(value: float, unit: str) -> str:
    """A value with its unit: 0.93 of "1%" as 93 %, seconds as ms, bytes as MB.

    Args:
        value: in `unit`.
        unit: `1` plain, `ratio` or `cores` (parts of one, shown as %), `%`, `s`, `ms`, `us`, `By`, `By/s` or a word.
    """
    match unit:
        case "ratio" | "cores":
            return f"{number(value * 100)} %"
        case "s" | "ms" | "us" | "ns":
            return _duration(value * {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[unit])
        case "By" | "By/s":
            return f"{_bytes(value)}{unit.removeprefix('By')}"
        case _ if unit in _PLAIN_UNITS:
            return number(value)
        case _:
            return f"{number(value)} {unit}"


def times(count: float) -> str:
    """How often: once, twice, 12 times."""
    return {0: "never", 1: "once", 2: "twice"}.get(round(count), f"{number(count)} times")


def _duration(seconds: float) -> str:
    if seconds == 0:
        return "0 ms"
    for below, factor, unit in _SECONDS:
        if abs(seconds) < below:
            return f"{number(seconds * factor)} {unit}"
    return f"{number(seconds / 3600)} h"


def _bytes(value: float) -> str:
    power = 0
    while abs(value) >= 1000 and power < len(_BYTES) - 1:
        value /= 1000
        power += 1
    return f"{number(value)} {_BYTES[power]}"


_WRAPPED = re.compile(r"^(?:rate|irate|increase)\((.*)\)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_UNITS_IN_NAMES = frozenset(
    ("total", "seconds", "milliseconds", "bytes", "percent", "pct", "ratio", "mean", "ms", "sec", "count")
)
_UPPER = {word: word.upper() for word in ("cpu", "tcp", "udp", "gc", "jvm", "http", "tls", "ssl", "dns", "rss", "sql")}
_SHORT = {**_UPPER, "io": "I/O", "fds": "file descriptors", "pg": "Postgres", "mem": "memory", "p95": "p95"}


def readable(metric: str) -> str:
    """A metric's name as words: `rate(process_cpu_seconds_total{mode="user"})` is "process CPU (user)"."""
    inner = wrapped[1] if (wrapped := _WRAPPED.match(metric)) else metric
    name, _, labels = inner.partition("{")
    shown = [value for _, value in _LABEL.findall(labels)][: LIMITS.labels]
    if name == "ALERTS":
        return f"Alert {', '.join(shown)}"
    words = words_of(name)
    kept = [word for word in words if word not in _UNITS_IN_NAMES] or words
    if words[-1:] == ["count"]:
        kept = [word for word in kept if word not in ("duration", "latency")] + ["count"]
    if "error" in kept and "ratio" in words:
        kept = [word for word in kept if word != "error"] + ["error", "share"]
    text = " ".join(_SHORT.get(word, word) for word in kept)
    labelled = f" ({', '.join(shown)})" if shown else ""
    return f"{text[:1].upper()}{text[1:]}{labelled}"


def measured(value: float, meaning: Meaning) -> str:
    """A metric's value in the unit that people use for it."""
    return quantity(value, _unit_of(meaning))


def _unit_of(meaning: Meaning) -> str:
    unit, _, per = meaning.unit.partition("/")
    if unit.startswith("{"):
        counted = f"{unit.strip('{}').replace('_', ' ')}s"
        return f"{counted}/{per}" if per else counted
    known = {"1": "", "ratio": "ratio"}.get(unit, unit)
    return f"{known}/{per}" if per else known
