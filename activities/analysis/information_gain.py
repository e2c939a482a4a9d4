"""Which queries tell the leading hypotheses apart: first one look at everything, then what is worth a query.

The gain of a query is the mutual information between its outcome (a sign of a fault there, or none) and whether its
entity is the root cause (Lindley, Annals of Mathematical Statistics 1956; for diagnosis de Kleer and Williams,
Artificial Intelligence 1987). A calculation: the same ranking and the same open queries give the same choice.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from activities.analysis.graph import Graph
from activities.analysis.parameters import DEFAULT, Parameters
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Finding, FindingFamily
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import Probe, entity_of

MODALITY_OF = {FindingFamily.TRACE: "traces", FindingFamily.METRIC: "metrics", FindingFamily.LOG: "logs"}
FIRST_LOOK = ("traces", "metrics", "logs")
"""What tells most about who is at fault comes first: spans separate caller and callee, metrics say what kind it is."""


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What running an open query is expected to bring."""

    probe: Probe
    gain: float
    """Bits about which entity is the root cause."""


def first_look(
    plan: Sequence[Probe], alerting: Collection[EntityId], *, absent: Collection[str] = ()
) -> tuple[list[Probe], list[Probe]]:
    """The queries that are run in any case, and those that are left open; both in the order of the plan.

    In any case: what is about no entity in particular, everything about what alerts, and of each other entity the
    first modality of `FIRST_LOOK` that somebody can be queried for.

    Args:
        plan: every query worth running.
        alerting: what the alerts are about.
        absent: modalities that nobody has recorded. One query of each says so; more would say nothing else.
    """
    tools: dict[EntityId, set[str]] = defaultdict(set)
    for probe in plan:
        entity = entity_of(probe)
        if entity is not None and probe.tool not in absent:
            tools[entity].add(probe.tool)
    first: list[Probe] = []
    left: list[Probe] = []
    told: set[str] = set()
    for probe in plan:
        entity = entity_of(probe)
        if probe.tool in absent:
            if probe.tool not in told:
                first.append(probe)
                told.add(probe.tool)
        elif entity is None or entity in alerting:
            first.append(probe)
        else:
            telling = next(tool for tool in (*FIRST_LOOK, probe.tool) if tool in tools[entity])
            (first if probe.tool == telling else left).append(probe)
    return first, left


def worth(
    left: Iterable[Probe],
    hypotheses: Sequence[Hypothesis],
    findings: Iterable[Finding],
    *,
    answered: Mapping[Probe, int],
    alerting: Collection[EntityId],
    graph: Graph,
    parameters: Parameters = DEFAULT,
) -> list[Worth]:
    """What each open query is worth, the best first; of equal ones the cheaper, then by the query's key.

    Args:
        left: queries that were not run.
        hypotheses: the ranking so far.
        findings: those that it was made of.
        answered: queries that were answered, and with how many rows.
        alerting: what the alerts are about.
        graph: who calls whom.
        parameters: of the engine.
    """
    look = _Look(list(left), hypotheses, answered=answered, alerting=alerting, graph=graph, parameters=parameters)
    shows_in = _shows_in(hypotheses, findings, parameters)
    believed = look.believed(shows_in)
    sensitivity = {
        "traces": parameters.sensitivity_traces,
        "metrics": parameters.sensitivity_metrics,
        "logs": parameters.sensitivity_logs,
    }
    if shows_in is not None:
        sensitivity[shows_in] = parameters.sensitivity_shown
    found = []
    for probe in look.left:
        share = believed.get(entity_of(probe) or EntityId(""), 0.0)
        gain = mutual_information(share, sensitivity.get(probe.tool, 0.0), parameters.false_sign)
        found.append(Worth(probe=probe, gain=gain))
    return sorted(found, key=lambda item: (-rounded(item.gain), item.probe.expected_cost, item.probe.key))


def worth_running(valued: Sequence[Worth], *, planned: int, parameters: Parameters = DEFAULT) -> list[Worth]:
    """What one more look runs: the best queries, if together they are expected to tell enough.

    Args:
        valued: the open queries, the best first.
        planned: queries of the whole plan.
        parameters: of the engine.
    """
    most = max(parameters.least_look, int(parameters.look_share * planned))
    listed = [item for item in valued[:most] if item.gain >= parameters.look_tail * valued[0].gain]
    return listed if sum(item.gain for item in listed) >= parameters.least_gain else []


def mutual_information(share: float, sensitivity: float, false_sign: float) -> float:
    """Bits that a yes or no tells about a hypothesis.

    Args:
        share: probability of the hypothesis.
        sensitivity: probability of a yes if it is true.
        false_sign: the same if it is not.
    """
    expected = share * sensitivity + (1 - share) * false_sign
    return max(0.0, _entropy(expected) - share * _entropy(sensitivity) - (1 - share) * _entropy(false_sign))


def _entropy(share: float) -> float:
    if share <= 0 or share >= 1:
        return 0.0
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)


def _shows_in(hypotheses: Sequence[Hypothesis], findings: Iterable[Finding], parameters: Parameters) -> str | None:
    """The modality in which the fault of the leading suspect shows most; None without a suspect."""
    leader = next((item for item in hypotheses if item.entity is not None), None)
    if leader is None or leader.probability < parameters.suspected_from:
        return None
    family = {item.key: item.family for item in findings}
    known = [item for item in leader.supporting if family.get(item.finding_key) in MODALITY_OF]
    strongest = max(known, key=lambda item: (item.log_odds, item.finding_key), default=None)
    return None if strongest is None else MODALITY_OF[family[strongest.finding_key]]


class _Look:
    """What is known of where the root cause may be when the next look is chosen."""

    def __init__(
        self,
        left: Sequence[Probe],
        hypotheses: Sequence[Hypothesis],
        *,
        answered: Mapping[Probe, int],
        alerting: Collection[EntityId],
        graph: Graph,
        parameters: Parameters,
    ) -> None:
        self.left = left
        self._graph, self._parameters = graph, parameters
        self._ranked = {item.entity: item.probability for item in hypotheses if item.entity is not None}
        self._leading = {name for name, share in self._ranked.items() if share >= parameters.suspected_from}
        seen: dict[EntityId | None, dict[str, int]] = defaultdict(dict)
        for probe, rows in answered.items():
            seen[entity_of(probe)][probe.tool] = rows
        self._open: dict[EntityId, set[str]] = defaultdict(set)
        for probe in sorted(left, key=lambda probe: probe.key):
            entity = entity_of(probe)
            if entity is not None:
                self._open[entity].add(probe.tool)
        near = _hops({*alerting, *self._leading}, graph)
        self._hops = {name: near.get(name, parameters.farthest_hop) for name in sorted(self._open)}
        self._unseen = {
            name: parameters.seen_discount ** len(seen[name])
            * (parameters.silent_discount if seen[name] and not any(seen[name].values()) else 1)
            for name in self._hops
        }

    def believed(self, shows_in: str | None) -> Mapping[EntityId, float]:
        """How probable each entity is, before it is looked at.

        What nothing explains lies where least was seen. A part of each suspect's probability lies with what it calls,
        and with whatever was not looked at in the modality in which the fault shows.
        """
        believed: dict[EntityId, float] = defaultdict(float, self._ranked)
        self._share_out(max(0.0, 1.0 - sum(self._ranked.values())), self._hops, believed)
        for name in sorted(self._leading):
            below = _hops([name], self._graph, down_only=True)
            rivals = {
                other: below.get(other, hops + 1)
                for other, hops in self._hops.items()
                if other != name and (other in below or shows_in in self._open[other])
            }
            if rivals:
                mass = self._parameters.inherited_share * self._ranked[name]
                believed[name] -= mass
                self._share_out(mass, rivals, believed)
        return believed

    def _share_out(self, mass: float, hops: Mapping[EntityId, int], believed: dict[EntityId, float]) -> None:
        weights = {name: self._unseen[name] * self._parameters.hop_discount**far for name, far in hops.items()}
        whole = sum(weights.values())
        for name, weight in weights.items():
            believed[name] += mass * weight / whole


def _hops(start: Iterable[EntityId], graph: Graph, *, down_only: bool = False) -> Mapping[EntityId, int]:
    """Edges from the nearest of these, both ways, or only to what they call."""
    found = dict.fromkeys(start, 0)
    edge = list(found)
    while edge:
        following: list[EntityId] = []
        for name in edge:
            callers = frozenset[EntityId]() if down_only else graph.callers.get(name, frozenset())
            for other in sorted(graph.callees.get(name, frozenset()) | callers):
                if other not in found:
                    found[other] = found[name] + 1
                    following.append(other)
        edge = following
    return found
