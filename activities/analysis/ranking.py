"""One calculation over all findings: which cause explains them, with the contribution of each in plain sight."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from activities.analysis.evidence import Evidence
from activities.analysis.graph import Graph
from activities.analysis.parameters import DEFAULT, Parameters
from activities.analysis.request_weighted import OWN_FAILURES, OWN_TIME
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Finding, FindingFamily
from workflows.contracts.hypothesis import Contribution, FaultKind, Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.report import DataGap

KEPT = 25
"""Hypotheses that are reported, "none of these" included."""

CONTRIBUTIONS_KEPT = 12
SPECIFIC_KINDS = frozenset(
    (FaultKind.CPU, FaultKind.MEMORY, FaultKind.DISK, FaultKind.LOCK, FaultKind.EXPIRY, FaultKind.NETWORK)
)
"""Kinds that say why; the others say how it shows."""

INHERITED_KINDS = frozenset(
    (FaultKind.ERROR, FaultKind.LATENCY, FaultKind.SATURATION, FaultKind.TRAFFIC, FaultKind.BEHAVIOUR)
)
"""Kinds that a caller shows when something it calls is at fault."""

PASSED_ON = frozenset((FaultKind.LATENCY, FaultKind.ERROR))
"""Symptoms that a caller shows in the same metric terms as what it calls: slow when that is slow, failing when it
fails."""

NOTED = 0.3


@dataclass
class _Case:
    """What speaks for one entity: (finding, score it adds, why it was discounted)."""

    terms: list[tuple[Finding, float, str]] = field(default_factory=list)
    hint: float = 0.0
    alert: float = 0.0
    parts: float = 0.0
    """What all of its parts show alike."""

    kinds_of_parts: list[dict[FaultKind, float]] = field(default_factory=list)

    @property
    def score(self) -> float:
        return sum(value for _, value, _ in self.terms) + self.hint + self.alert + self.parts


def rank(
    findings: Sequence[Finding],
    evidence: Evidence,
    *,
    data_gaps: Sequence[DataGap],
    planned: int,
    hints: Iterable[str] = (),
    parameters: Parameters = DEFAULT,
) -> list[Hypothesis]:
    """Hypotheses with calibrated probabilities, best first; ties by entity; never empty.

    An entity's score is the sum of its families' evidence, less what a callee with the same symptom explains.
    The probability is the softmax of the scores, with "none of these" as a candidate of fixed score; what could
    not be looked at moves probability to "none of these".
    """
    by_entity: dict[EntityId, list[Finding]] = defaultdict(list)
    for item in findings:
        by_entity[item.entity].append(item)
    own = {name: _own_evidence(items) for name, items in by_entity.items()}
    known = {name for name in (*evidence.graph.kinds, *by_entity) if not name.startswith(("team:", "unknown:"))}
    alike: dict[tuple[EntityId, str], float] = defaultdict(float)
    for item in findings:
        if item.family is FindingFamily.METRIC and _may_be_inherited(item):
            alike[item.entity, _symptom(item)] = max(alike[item.entity, _symptom(item)], item.strength)
    cases = {
        name: _case(name, by_entity.get(name, []), own, alike=alike, graph=evidence.graph, parameters=parameters)
        for name in sorted(known)
    }
    _share_with_wholes(cases, evidence.graph, parameters)
    for name in evidence.alerting & cases.keys():
        cases[name].alert = parameters.weight_alert
    for text in hints:
        for name in _named_in(text, cases):
            cases[name].hint = parameters.weight_hint
    # An entity without evidence has next to no odds, so that a probability does not depend on how many stand by.
    odds = {name: _odds(case.score, parameters) for name, case in cases.items()}
    none = _odds(parameters.abstention_threshold, parameters)
    seen = 1 - parameters.data_gap_discount * _data_gap_share(data_gaps, planned)
    whole = sum(odds.values()) + none
    probability = {name: value / whole * seen for name, value in odds.items()}
    ordered = sorted(cases, key=lambda name: (-rounded(probability[name]), name))[: KEPT - 1]
    rows: list[tuple[EntityId | None, float]] = [(name, probability[name]) for name in ordered]
    rest = 1 - sum(value for _, value in rows)
    rows.append((None, max(0.0, rest)))
    rows.sort(key=lambda row: (-rounded(row[1]), row[0] or "~"))
    changes = _change_of(ordered, cases, findings, evidence.graph)
    return [
        _hypothesis(
            number,
            name,
            value,
            case=cases.get(name) if name else None,
            change=changes.get(name) if name else None,
            graph=evidence.graph,
            parameters=parameters,
        )
        for number, (name, value) in enumerate(rows, start=1)
    ]


def _odds(score: float, parameters: Parameters) -> float:
    return parameters.base_rate + math.expm1(parameters.inverse_temperature * max(0.0, score))


def _case(
    name: EntityId,
    items: list[Finding],
    own: Mapping[EntityId, float],
    *,
    alike: Mapping[tuple[EntityId, str], float],
    graph: Graph,
    parameters: Parameters,
) -> _Case:
    """The terms of one entity's score; what may be inherited counts less where a callee has evidence of its own."""
    behind = max((own.get(other, 0.0) for other in graph.downstream(name)), default=0.0)
    kept = 1 - parameters.explained * behind**2
    case = _Case()
    families: dict[str, list[Finding]] = defaultdict(list)
    for item in items:
        families[_family_of(item)].append(item)
    weights = {"metric": parameters.weight_metric, "change": 0.0}
    for family, members in sorted(families.items()):
        strengths = {
            item.key: item.strength * _kept(item, name, kept, alike=alike, graph=graph, parameters=parameters)
            for item in members
        }
        total = weights.get(family, 1.0) * (
            _slowness(members) if family == "slow" else _either(strengths[item.key] for item in members)
        )
        whole = sum(strengths.values())
        for item in members:
            note = " (partly explained by what it calls)" if _may_be_inherited(item) and behind > NOTED else ""
            if whole > 0:
                case.terms.append((item, total * strengths[item.key] / whole, note))
    gained = case.score
    best = max((item for item in families.get("change", [])), key=lambda item: item.strength, default=None)
    if best is not None and gained > 0:
        case.terms.append((best, parameters.weight_change * (2 * best.strength - 1) * min(1.0, gained), ""))
    return case


def _share_with_wholes(cases: Mapping[EntityId, _Case], graph: Graph, parameters: Parameters) -> None:
    """What every part of a whole shows speaks for the whole; what one part shows speaks for that part."""
    own = {name: max(0.0, case.score) for name, case in cases.items()}
    gained: dict[EntityId, float] = {}
    explained: dict[EntityId, float] = defaultdict(float)
    for whole, parts in graph.parts.items():
        shown = sorted((own.get(part, 0.0) for part in parts if part in cases), reverse=True)
        if whole not in cases or len(shown) < 2 or shown[0] <= 0:
            continue
        alike = sum(shown) / len(shown) / shown[0]
        gained[whole] = alike * shown[0]
        for part in parts:
            explained[part] = max(explained[part], alike)
    for whole, value in gained.items():
        cases[whole].parts = value
        cases[whole].kinds_of_parts = [_kinds(cases[part], parameters) for part in graph.parts[whole] if part in cases]
    for part, alike in explained.items():
        if part in cases:
            cases[part].parts -= parameters.explained * alike * own[part]


def _kept(
    item: Finding,
    name: EntityId,
    kept: float,
    *,
    alike: Mapping[tuple[EntityId, str], float],
    graph: Graph,
    parameters: Parameters,
) -> float:
    """The part of a finding that nothing the entity calls explains: by evidence of its own, or by the same symptom."""
    if not _may_be_inherited(item):
        return 1.0
    if item.family is not FindingFamily.METRIC or PASSED_ON.isdisjoint(item.fault_kinds):
        return kept
    behind = max((alike.get((other, _symptom(item)), 0.0) for other in graph.downstream(name)), default=0.0)
    same = 1 - parameters.explained * min(1.0, behind / max(item.strength, 1e-9))
    return min(kept, same)


def _symptom(item: Finding) -> str:
    return max(sorted(item.fault_kinds), key=lambda kind: item.fault_kinds[kind]).value


_FAMILIES: Mapping[FindingFamily, tuple[tuple[str, str], ...]] = {
    FindingFamily.TRACE: (("failing ", "failure"), ("enter ", "surge"), ("calls ", "structure"), ("", "slow")),
    FindingFamily.METRIC: ((OWN_TIME, "slow"), (OWN_FAILURES, "failure"), ("", "metric")),
    FindingFamily.LOG: (("", "structure"),),
}
"""What a finding counts as, by how its signal begins: the first that fits."""


def _family_of(item: Finding) -> str:
    families = _FAMILIES.get(item.family, (("", item.family.value),))
    return next(name for start, name in families if item.signal.startswith(start))


def _slowness(items: Iterable[Finding]) -> float:
    """Exclusive time and gaps are parts of one excess: their strengths are roots of shares."""
    parts = [item.strength for item in items if _family_of(item) == "slow"]
    return min(1.0, math.sqrt(sum(value**2 for value in parts)))


def _either(strengths: Iterable[float]) -> float:
    """At least one of several independent signs."""
    missing = 1.0
    for strength in strengths:
        missing *= 1 - 0.9 * strength
    return 1 - missing


def _may_be_inherited(item: Finding) -> bool:
    """Whether a caller would show this for no other reason than that something it calls is at fault."""
    if _family_of(item) == "structure":
        return True
    return _family_of(item) == "metric" and INHERITED_KINDS.issuperset(item.fault_kinds)


def _own_evidence(items: Iterable[Finding]) -> float:
    """How strongly an entity shows something that it cannot have inherited."""
    listed = list(items)
    rest = [
        item.strength for item in listed if _family_of(item) not in ("slow", "change") and not _may_be_inherited(item)
    ]
    return max([_slowness(listed), *rest], default=0.0)


def _data_gap_share(data_gaps: Sequence[DataGap], planned: int) -> float:
    """Part of the questions that should have brought something; what was never recorded hides nothing new."""
    if planned == 0:
        return 1.0
    lost = sum(item.count for item in data_gaps if item.status is not ObservationStatus.NOT_RECORDED)
    return min(1.0, lost / planned)


def _named_in(text: str, names: Iterable[EntityId]) -> list[EntityId]:
    lowered = text.lower()
    return [name for name in names if name.partition(":")[2].lower() in lowered]


def _change_of(
    ordered: Sequence[EntityId], cases: Mapping[EntityId, _Case], findings: Sequence[Finding], graph: Graph
) -> dict[EntityId, Finding]:
    """For the leading entity: the change that best explains it, on itself, what it calls or runs on, or unplaced."""
    if not ordered or cases[ordered[0]].score <= 0:
        return {}
    top = ordered[0]
    near = {top, *graph.downstream(top), EntityId("unknown:")}
    changes = [item for item in findings if item.family is FindingFamily.CHANGE]
    likely = [item for item in changes if item.strength > 0.5]
    placed = sorted(likely, key=lambda item: (item.entity not in near, -item.strength, item.key))
    best = max(likely, key=lambda item: (item.strength, item.key), default=None)
    if best is None:
        return {}
    local = placed[0]
    return {top: local if local.entity in near and local.strength >= best.strength - 0.15 else best}


def _hypothesis(
    number: int,
    name: EntityId | None,
    probability: float,
    *,
    case: _Case | None,
    change: Finding | None,
    graph: Graph,
    parameters: Parameters,
) -> Hypothesis:
    if name is None or case is None:
        return Hypothesis(
            rank=number,
            entity=None,
            fault_kind=FaultKind.UNKNOWN,
            mechanism="The cause lies outside of what was looked at, or nothing is wrong.",
            probability=rounded(probability),
        )
    kind = _kind(case, parameters)
    terms = sorted(case.terms, key=lambda term: (-abs(term[1]), term[0].key))[:CONTRIBUTIONS_KEPT]
    contributions = [
        Contribution(
            finding_key=item.key,
            log_odds=rounded(parameters.inverse_temperature * value),
            reason=f"{item.summary}{f' ({item.note})' if item.note else ''}{note}"[:400],
        )
        for item, value, note in terms
        if rounded(value) != 0
    ]
    return Hypothesis(
        rank=number,
        entity=name,
        fault_kind=kind,
        mechanism=_mechanism(name, kind, change, len(graph.upstream(name))),
        probability=rounded(probability),
        supporting=tuple(item for item in contributions if item.log_odds > 0),
        contradicting=tuple(item for item in contributions if item.log_odds < 0),
        change_id=change.signal if change else None,
    )


def _kinds(case: _Case, parameters: Parameters) -> dict[FaultKind, float]:
    """What the findings of one entity, and of its parts, say of the kind of its fault."""
    weights: dict[FaultKind, float] = defaultdict(float)
    for item, value, _ in case.terms:
        if item.family is not FindingFamily.CHANGE:
            for kind, weight in item.fault_kinds.items():
                specific = parameters.specific_kind if kind in SPECIFIC_KINDS else 1.0
                weights[kind] += max(0.0, value) * weight * specific
    for part in case.kinds_of_parts:
        for kind, weight in part.items():
            weights[kind] += weight / len(case.kinds_of_parts)
    return weights


def _kind(case: _Case, parameters: Parameters) -> FaultKind:
    weights = _kinds(case, parameters)
    known = sorted(kind for kind, weight in weights.items() if weight > 0 and kind is not FaultKind.UNKNOWN)
    return max(known, key=lambda kind: weights[kind], default=FaultKind.UNKNOWN)


SENTENCES: Mapping[FaultKind, str] = {
    FaultKind.CPU: "it runs short of processor time",
    FaultKind.MEMORY: "it runs out of memory",
    FaultKind.DISK: "its storage fails it",
    FaultKind.NETWORK: "requests to and from it are slow on the way",
    FaultKind.LATENCY: "it takes longer to do its own work",
    FaultKind.ERROR: "it fails requests by itself",
    FaultKind.CRASH: "it is gone, or does not answer",
    FaultKind.LOCK: "work waits for a lock in it",
    FaultKind.SATURATION: "something in it is used up and requests queue",
    FaultKind.BEHAVIOUR: "it takes other paths through its code than it used to",
    FaultKind.TRAFFIC: "its traffic changed",
    FaultKind.EXPIRY: "something it depends on reached its deadline",
    FaultKind.CONFIGURATION: "it was given something it cannot work with",
    FaultKind.UNKNOWN: "it behaves unusually",
}


def _mechanism(name: EntityId, kind: FaultKind, change: Finding | None, callers: int) -> str:
    reach = f", and {callers} that call it may feel it" if callers else ""
    since = f", since {change.signal}" if change else ""
    return f"{name}: {SENTENCES[kind]}{since}{reach}."
