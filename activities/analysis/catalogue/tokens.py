"""What the words of a metric's name say, when no documentation of it is known: `words.toml`, whole words only."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from activities.analysis.catalogue.meaning import Bad, Meaning, Resource, Signal

_SPLIT = re.compile(r"[^A-Za-z0-9%]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_QUANTILE = re.compile(r"^p\d{2,3}$")
_STOCKS = frozenset((Resource.CPU, Resource.MEMORY, Resource.DISK, Resource.CONNECTION, Resource.FILE_DESCRIPTOR))
"""Resources whose plain amount is how much of them is used."""

_SIZED = frozenset((Resource.DISK, Resource.MEMORY, Resource.CONNECTION, Resource.FILE_DESCRIPTOR, Resource.THREAD))
_FAILED = frozenset(("error", "errors", "failed", "failure", "exception"))
_SERVER_ERROR = re.compile(r"^5(?:\d\d|xx)$")
_STATUS_CODE = re.compile(r"^[1-5](?:\d\d|xx)$")
_LABEL = re.compile(r'([A-Za-z_][\w.]*)\s*=\s*"?([^",}]*)')
_NO = frozenset(("false", "no", "none", "0"))


@dataclass(frozen=True)
class _Words:
    """`words.toml`, as sets in the file's order."""

    resources: tuple[tuple[Resource, frozenset[str]], ...]
    signals: tuple[tuple[Signal, frozenset[str]], ...]
    units: tuple[tuple[str, frozenset[str]], ...]
    falling: frozenset[str]
    limits: frozenset[str]
    parts: frozenset[str]
    shares: frozenset[str]
    succeeding: frozenset[str]
    hits: frozenset[str]
    peers: frozenset[str]
    stop: frozenset[str]


@cache
def _words() -> _Words:
    document = tomllib.loads(files(__package__).joinpath("words.toml").read_text())
    others = document["others"]
    return _Words(
        resources=tuple((Resource(name), frozenset(words)) for name, words in document["resources"].items()),
        signals=tuple((Signal(name), frozenset(words)) for name, words in document["signals"].items()),
        units=tuple((name, frozenset(words)) for name, words in document["units"].items()),
        falling=frozenset(others["falling"]),
        limits=frozenset(others["limits"]),
        parts=frozenset(others["parts"]),
        shares=frozenset(others["shares"]),
        succeeding=frozenset(others["succeeding"]),
        hits=frozenset(others["hits"]),
        peers=frozenset(others["peers"]),
        stop=frozenset(document["stop"]["words"]),
    )


def stop_words() -> frozenset[str]:
    """Words that tell nothing about a change or a symptom."""
    return _words().stop


def peer_labels() -> frozenset[str]:
    """Labels that carry the name of what is called; their words in lower case, joined by underscores."""
    return _words().peers


def labels_of(metric: str) -> list[tuple[str, str]]:
    """The labels of a series, by its name as answered."""
    return _LABEL.findall(metric.partition("{")[2])


def words_of(name: str) -> list[str]:
    """The words of a metric's name, lower-case: snake_case, CamelCase and dots taken apart."""
    return [word.lower() for word in _SPLIT.split(name) if word]


def meaning_by_tokens(metric: str) -> Meaning:
    """What the words of a name say; of labels, only those that tell a status."""
    name, _, labels = metric.partition("{")
    words, known = words_of(name), _words()
    present = frozenset(words)
    resource = next((item for item, listed in known.resources if listed & present), Resource.UNKNOWN)
    signal = _kind_of_number(words, resource) or _signal(present, words, resource)
    if signal is Signal.TRAFFIC and _says_failed(labels):
        signal = Signal.ERRORS
    if resource is Resource.UNKNOWN and any(_STATUS_CODE.match(word) for word in words):
        resource = Resource.REQUEST
    if resource is Resource.UNKNOWN and signal in (Signal.DURATION, Signal.STATE) and present & known.succeeding:
        resource = Resource.REQUEST
    unit = "{request}" if words[-1:] == ["count"] else _unit(present)
    is_share = unit in ("ratio", "%") or bool(present & known.shares)
    if is_share and present & known.hits:
        signal, resource = Signal.STATE, Resource.CACHE
    return Meaning(
        signal=signal,
        resource=resource,
        unit=unit,
        bad=_bad(signal, present, resource),
        is_share=is_share and signal in (Signal.ERRORS, Signal.STATE, Signal.UTILISATION),
        is_mean=signal is Signal.DURATION and bool(present & {"avg", "average", "mean"}),
    )


def _says_failed(labels: str) -> bool:
    """Whether a label says how a request ended, and that it failed; a route or an operation may be named anything."""
    return any(
        _is_failure(frozenset(words_of(key)), frozenset(words_of(value))) for key, value in _LABEL.findall(labels)
    )


def _is_failure(label: frozenset[str], value: frozenset[str]) -> bool:
    if "success" in label:
        return bool(value & _NO)
    if label & {"error", "exception"}:
        return bool(value) and not value & _NO
    told = label & {"status", "code", "outcome", "result"}
    return bool(told) and (bool(_FAILED & value) or any(_SERVER_ERROR.match(word) for word in value))


def _unit(present: frozenset[str]) -> str:
    return next((unit for unit, listed in _words().units if listed & present), "")


def _kind_of_number(words: list[str], resource: Resource) -> Signal | None:
    """What the name says of the number itself, whatever it is about: time left, a count, a sum, a limit."""
    present, known = frozenset(words), _words()
    if "left" in present and present & {"seconds", "days", "hours"}:
        return Signal.COUNTDOWN
    if words[-1:] == ["count"] and present & {"duration", "latency", "requests", "request"}:
        return Signal.TRAFFIC
    if words[-1:] == ["sum"] and present & {"duration", "latency", "seconds", "milliseconds", "size", "bytes"}:
        return Signal.INFORMATION  # of a histogram: only divided by its count does it say anything
    limits = resource in _SIZED and present & known.limits and not present & known.parts
    return Signal.CAPACITY if limits else None


def _signal(present: frozenset[str], words: list[str], resource: Resource) -> Signal:
    found = next((item for item, listed in _words().signals if listed & present), Signal.UNKNOWN)
    if found not in (Signal.UNKNOWN, Signal.TRAFFIC):
        return found
    if any(_QUANTILE.match(word) for word in words):
        return Signal.DURATION
    if resource in _STOCKS:
        return Signal.UTILISATION
    is_time = bool(present & {"seconds", "ms", "milliseconds"}) and resource is not Resource.UNKNOWN
    return Signal.DURATION if is_time else found


def _bad(signal: Signal, present: frozenset[str], resource: Resource) -> Bad:
    idle = "idle" in present and resource is Resource.CPU
    if signal is not Signal.ERRORS and (present & _words().falling or idle):
        return Bad.DOWN
    if signal is Signal.COUNTDOWN:
        return Bad.DOWN
    return Bad.BOTH if signal is Signal.TRAFFIC else Bad.UP
