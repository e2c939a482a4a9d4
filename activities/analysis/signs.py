"""What an incident looked like, as far as another one can look like it: which workload showed which mechanism, in which
order.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from activities.analysis.graph import Graph
from activities.analysis.parameters import DEFAULT, LIMITS, Parameters
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Finding, FindingFamily, Mechanism
from workflows.contracts.identifiers import EntityId
from workflows.contracts.past_incident import Sign

Key = tuple[EntityId, Mechanism]
NO_SIGNS = frozenset((FindingFamily.CHANGE, FindingFamily.MEMORY))
"""What may have caused a fault, or what somebody knows, is no symptom of it."""


@dataclass(frozen=True)
class Likeness:
    """How much two incidents are alike."""

    value: float
    """0 to 1: the shared part of all that both showed."""

    shared: tuple[Key, ...]
    """What both showed, the most telling first."""


def signs_of(findings: Sequence[Finding], graph: Graph) -> tuple[Sign, ...]:
    """The strongest signs of an incident, each workload's and mechanism's once, in the order in which they began.

    Args:
        findings: of the incident.
        graph: says which workload an instance belongs to.
    """
    strongest: dict[Key, Finding] = {}
    for item in sorted(findings, key=lambda item: (-item.strength, item.key)):
        if item.family not in NO_SIGNS and item.strength >= DEFAULT.reported_from:
            strongest.setdefault(sign_key(item, graph), item)
    kept = list(strongest.items())[: LIMITS.signs]
    dated = sorted(kept, key=lambda pair: (pair[1].onset is None, pair[1].onset or 0, pair[0]))
    return tuple(Sign(entity=key[0], mechanism=key[1], strength=rounded(item.strength)) for key, item in dated)


def sign_key(item: Finding, graph: Graph) -> Key:
    """Which workload shows which mechanism."""
    return graph.workload_of(item.entity), item.mechanism


def rarity(incidents: Iterable[Sequence[Sign]]) -> Mapping[Key, float]:
    """How telling each sign is, 0 to 1: what every incident showed tells little.

    The logarithm of inverse frequency, as for words (Sparck Jones, Journal of Documentation 28, 1972).
    """
    listed = [{(item.entity, item.mechanism) for item in signs} for signs in incidents]
    counts = Counter(key for keys in listed for key in keys)
    whole = math.log(1 + len(listed))
    return {key: math.log(1 + len(listed) / count) / whole for key, count in counts.items()}


def likeness(
    now: Sequence[Sign], then: Sequence[Sign], weights: Mapping[Key, float], *, parameters: Parameters = DEFAULT
) -> Likeness:
    """How much of what either incident showed was shown by both, as strongly and in the same order.

    Args:
        now: signs of the one.
        then: signs of the other.
        weights: how telling each sign is; what is not in it counts in full.
        parameters: the engine's.
    """
    mine = {(item.entity, item.mechanism): item.strength for item in now}
    theirs = {(item.entity, item.mechanism): item.strength for item in then}
    both = [key for key in mine if key in theirs]
    whole = sum(weights.get(key, 1.0) * max(mine.get(key, 0), theirs.get(key, 0)) for key in sorted({*mine, *theirs}))
    if not both or whole <= 0:
        return Likeness(0.0, ())
    shared = {key: weights.get(key, 1.0) * min(mine[key], theirs[key]) for key in both}
    order = {key: number for number, key in enumerate(theirs)}
    pairs = list(combinations(both, 2))
    swapped = sum(order[first] > order[second] for first, second in pairs) / len(pairs) if pairs else 0.0
    value = sum(shared.values()) / whole * (1 - parameters.past_order * swapped)
    return Likeness(rounded(value), tuple(sorted(shared, key=lambda key: (-shared[key], key))))
