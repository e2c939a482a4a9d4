"""How far a metric speaks for a cause, and which moves of it are of no practical importance."""

from activities.analysis.catalogue import Meaning, Resource, Signal
from activities.analysis.parameters import Parameters
from workflows.contracts.hypothesis import FaultKind

UNSURE = frozenset((FaultKind.MEMORY, FaultKind.SATURATION, FaultKind.ERROR))
SYMPTOMS = frozenset((FaultKind.LATENCY, FaultKind.NETWORK, FaultKind.TRAFFIC, FaultKind.UNKNOWN))
_COUNTED = frozenset(
    (Resource.CONNECTION, Resource.THREAD, Resource.FILE_DESCRIPTOR, Resource.QUEUE, Resource.REQUEST, Resource.LOCK)
)
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def weight_of(meaning: Meaning, parameters: Parameters) -> float:
    """How far a strange value speaks for a cause, and not for the consequence of one; zero for what is no sign."""
    if not meaning.says_something:
        return 0.0
    if meaning.kind in SYMPTOMS:
        return parameters.metric_symptom
    return parameters.metric_unsure if meaning.kind in UNSURE else 1.0


def floor_of(meaning: Meaning, parameters: Parameters) -> float:
    """The move, in the metric's unit, below which it is of no practical importance; zero when that is not known."""
    match meaning.unit:
        case "ratio" | "cores":
            return parameters.floor_error_ratio if meaning.signal is Signal.ERRORS else parameters.floor_ratio
        case "%":
            part = parameters.floor_error_ratio / parameters.floor_ratio if meaning.signal is Signal.ERRORS else 1.0
            return parameters.floor_percent * part
        case "By":
            sizes = {Resource.MEMORY: parameters.floor_memory_bytes, Resource.DISK: parameters.floor_disk_bytes}
            return sizes.get(meaning.resource, 0.0)
        case "s" | "ms" | "us" | "ns":
            slow = meaning.resource in (Resource.TRANSACTION, Resource.LOCK)
            floor = parameters.floor_transaction if slow else parameters.floor_duration
            return floor.total_seconds() / _SECONDS[meaning.unit]
        case _:
            amount = meaning.signal in (Signal.UTILISATION, Signal.SATURATION)
            return parameters.floor_count if amount and meaning.resource in _COUNTED else 0.0
