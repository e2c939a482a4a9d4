"""One calculation over all verified findings: which root cause explains them, with every term of it in plain sight."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from activities.analysis.context import IncidentContext
from activities.analysis.graph import Graph
from activities.analysis.parameters import DEFAULT, LIMITS, Parameters
from activities.analysis.shared_host import says_down
from activities.analysis.subjects import fits
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import Contribution, ContributionTerm, FaultKind, Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.report import DataGap

SPECIFIC_KINDS = frozenset(
    (FaultKind.CPU, FaultKind.MEMORY, FaultKind.DISK, FaultKind.LOCK, FaultKind.EXPIRY, FaultKind.NETWORK)
)
"""Kinds that say why; the others say how it shows."""

INHERITED_KINDS = frozenset(
    (FaultKind.ERROR, FaultKind.LATENCY, FaultKind.SATURATION, FaultKind.TRAFFIC, FaultKind.BEHAVIOUR)
)
"""Kinds that a caller shows when something it calls is at fault."""

UNSURE = frozenset(
    (
        Mechanism.SLOW_REQUESTS,
        Mechanism.FAILED_REQUESTS,
        Mechanism.LATE_ANSWERS,
        Mechanism.LOGGED_FAILED_CALLS,
    )
)
"""Losses that may as well be those of a callee: of one that has evidence of its own, they are."""

PASSED_ON = frozenset((FaultKind.LATENCY, FaultKind.ERROR))
"""Symptoms that a caller shows in the same metric terms as what it calls: slow when that is slow, failing when it
fails."""

SLOW, FAILURE, SURGE, STRUCTURE, METRIC, CLUSTER, CHANGE = (
    "slow",
    "failure",
    "surge",
    "structure",
    "metric",
    "cluster",
    "change",
)
GROUPS: Mapping[Mechanism, str] = {
    Mechanism.SELF_TIME_RISE: SLOW,
    Mechanism.NETWORK_TIME_RISE: SLOW,
    Mechanism.ORIGINATING_ERRORS: FAILURE,
    Mechanism.SLOW_REQUESTS: SLOW,
    Mechanism.FAILED_REQUESTS: FAILURE,
    Mechanism.LATE_ANSWERS: FAILURE,
    Mechanism.LOGGED_FAILED_CALLS: FAILURE,
    Mechanism.LOAD_SURGE: SURGE,
    Mechanism.MISSING_CALL: STRUCTURE,
    Mechanism.EXTRA_CALL: STRUCTURE,
    Mechanism.NEW_TEMPLATE: STRUCTURE,
    Mechanism.MISSING_TEMPLATE: STRUCTURE,
    Mechanism.TEMPLATE_RATE: STRUCTURE,
    Mechanism.METRIC_DEVIATION: METRIC,
    Mechanism.FIRING_ALERT: METRIC,
    Mechanism.SATURATION: METRIC,
    Mechanism.TREND: METRIC,
    Mechanism.EXPIRY: METRIC,
    Mechanism.CONDITION: CLUSTER,
    Mechanism.DEAD_HOST: CLUSTER,
    Mechanism.CHANGE: CHANGE,
}
"""Signs of one group say the same in several ways; groups fail independently."""


OF_LOAD = frozenset(
    (FaultKind.CPU, FaultKind.DISK, FaultKind.LATENCY, FaultKind.NETWORK, FaultKind.SATURATION, FaultKind.TRAFFIC)
)
"""Kinds of signs that a system shows which serves far more requests than usual."""


@dataclass
class _Case:
    """What speaks for one entity, in parts of the score before the inverse temperature."""

    terms: list[tuple[Finding, float, str]] = field(default_factory=list)
    """(finding, what it adds, why it was discounted)."""

    alert: float = 0.0
    hint: float = 0.0
    expected: list[tuple[Finding, float]] = field(default_factory=list)
    """(fact, what the symptoms that it expects count less); not above zero."""

    known: list[tuple[Finding, float]] = field(default_factory=list)
    """(what somebody knows, what it adds): a weak point, the confirmed cause of a similar incident."""

    opinion: float = 0.0
    """What a language model thinks of it, at most the bound either way."""

    said: str = ""
    """Its reason."""

    instances: float = 0.0
    """What all instances of this workload show alike."""

    workload: float = 0.0
    """Not above zero: what this instance shows that all others show as well."""

    kinds_of_instances: list[dict[FaultKind, float]] = field(default_factory=list)

    @property
    def score(self) -> float:
        shown = sum(value for _, value, _ in self.terms) + sum(value for _, value in self.expected)
        told = sum(value for _, value in self.known) + self.alert + self.hint + self.opinion
        return shown + told + self.instances + self.workload


def rank(
    findings: Sequence[Finding], context: IncidentContext, *, parameters: Parameters = DEFAULT
) -> list[Hypothesis]:
    """Hypotheses with calibrated probabilities, best first; ties by entity; never empty.

    An entity's score is the sum of its groups' evidence, less what a callee with the same symptom explains. The
    probability is the share of its odds, with "no root cause identified" as a candidate of fixed score; data gaps
    move probability to that.

    Args:
        findings: verified ones only.
        context: alerts, topology, hints and data gaps of the incident.
        parameters: numbers of the engine.
    """
    cases = _cases(findings, context, parameters)
    contributions = {name: _contributions(case, parameters) for name, case in cases.items()}
    scores = {name: _sum(terms) for name, terms in contributions.items()}
    # An entity without evidence has next to no odds, so that a probability does not depend on how many stand by.
    odds = {name: _odds(score, parameters) for name, score in scores.items()}
    threshold = round(parameters.inverse_temperature * parameters.abstention_threshold, LIMITS.log_odds_digits)
    answered = 1 - parameters.data_gap_discount * _data_gap_share(context.data_gaps, context.probes_planned)
    whole = sum(odds.values()) + _odds(threshold, parameters)
    probability = {name: value / whole * answered for name, value in odds.items()}
    ordered = sorted(cases, key=lambda name: (-rounded(probability[name]), name))[: LIMITS.hypotheses - 1]
    rows: list[tuple[EntityId | None, float]] = [(name, probability[name]) for name in ordered]
    rows.append((None, max(0.0, 1 - sum(value for _, value in rows))))
    rows.sort(key=lambda row: (-rounded(row[1]), row[0] or "~"))
    change = _change_of(ordered, cases, findings, context, parameters)
    found = []
    for number, (name, value) in enumerate(rows, start=1):
        if name is None:
            found.append(_no_root_cause(number, value, threshold))
            continue
        found.append(
            _hypothesis(
                number,
                name,
                value,
                cases[name],
                contributions[name],
                change=change if name == ordered[0] else None,
                graph=context.graph,
                parameters=parameters,
            )
        )
    return found


def _cases(findings: Sequence[Finding], context: IncidentContext, parameters: Parameters) -> dict[EntityId, _Case]:
    by_entity: dict[EntityId, list[Finding]] = defaultdict(list)
    remembered = [item for item in findings if item.family is FindingFamily.MEMORY]
    for item in findings:
        if item.family is not FindingFamily.MEMORY:
            by_entity[item.entity].append(item)
    own = {name: _own_evidence(items) for name, items in by_entity.items()}
    failed = {
        name: max((item.strength for item in items if _is_down(item)), default=0.0) for name, items in by_entity.items()
    }
    graph = context.graph
    known = {name for name in (*graph.kinds, *by_entity) if not name.startswith(("team:", "unknown:"))}
    alike: dict[tuple[EntityId, str], float] = defaultdict(float)
    for item in findings:
        if item.family is FindingFamily.METRIC and _may_be_inherited(item):
            alike[item.entity, _symptom(item)] = max(alike[item.entity, _symptom(item)], item.strength)
    surge = {
        name: max((item.strength for item in items if item.mechanism is Mechanism.LOAD_SURGE), default=0.0)
        for name, items in by_entity.items()
    }
    rarity = _rarity(by_entity, graph)
    cases = {
        name: _case(
            name,
            by_entity.get(name, []),
            own,
            alike=alike,
            rarity=rarity,
            beneath=max((failed.get(host, 0.0) for host in graph.beneath(name)), default=0.0),
            loaded=max((surge.get(other, 0.0) for other in graph.upstream(name)), default=0.0),
            graph=graph,
            parameters=parameters,
        )
        for name in sorted(known)
    }
    for case in cases.values():
        _expect(case, remembered)
    _share_with_workloads(cases, graph, parameters)
    for name, case in cases.items():
        case.known = _known(name, remembered, parameters)
    _hear(cases, context, parameters)
    return cases


def _hear(cases: Mapping[EntityId, _Case], context: IncidentContext, parameters: Parameters) -> None:
    """What alerts, a model and people say of entities."""
    for name in context.alerting & cases.keys():
        cases[name].alert = parameters.weight_alert
    for opinion in context.opinions:
        if opinion.entity in cases:
            cases[opinion.entity].opinion = parameters.weight_opinion * opinion.weight
            cases[opinion.entity].said = opinion.reason
    for text in context.hints:
        for name in _named_in(text, cases):
            cases[name].hint = parameters.weight_hint


def _odds(score: float, parameters: Parameters) -> float:
    return parameters.base_rate + math.expm1(max(0.0, score))


def _case(
    name: EntityId,
    items: list[Finding],
    own: Mapping[EntityId, float],
    *,
    alike: Mapping[tuple[EntityId, str], float],
    rarity: Mapping[tuple[EntityId, str], float],
    beneath: float,
    loaded: float,
    graph: Graph,
    parameters: Parameters,
) -> _Case:
    """The terms of one entity's score; what may be inherited counts less where a callee has evidence of its own, being
    down where that on which it runs is down, and being busy or slow where far more requests enter above it.
    """
    behind = max((own.get(other, 0.0) for other in graph.downstream(name)), default=0.0)
    kept = 1 - parameters.explained * behind**2
    case = _Case()
    groups: dict[str, list[Finding]] = defaultdict(list)
    for item in items:
        groups[group_of(item)].append(item)
    weights = {METRIC: parameters.weight_metric, CHANGE: 0.0}
    for group, members in sorted(groups.items()):
        strengths = {
            item.key: item.strength
            * ((1 - behind) ** 2 if item.mechanism in UNSURE else 1.0)
            * rarity.get((name, item.key), 1.0)
            * (1 - parameters.explained * beneath**2 if _is_down(item) else 1.0)
            * (1 - parameters.explained * loaded**2 if _is_of_load(item) else 1.0)
            * _kept(item, name, kept, alike=alike, graph=graph, parameters=parameters)
            for item in members
        }
        if group == FAILURE:
            strengths = _once_a_caller(members, strengths, graph)
        shown = [strengths[item.key] for item in members]
        total = weights.get(group, 1.0) * (_slowness(shown) if group == SLOW else _either(shown, parameters))
        whole = sum(strengths.values())
        for item in members:
            inherited = _may_be_inherited(item) and behind > parameters.explained_from
            note = " (partly explained by what it calls)" if inherited else ""
            if whole > 0:
                case.terms.append((item, total * strengths[item.key] / whole, note))
    gained = case.score
    best = max((item for item in groups.get(CHANGE, [])), key=lambda item: item.strength, default=None)
    if best is not None and gained > 0:
        case.terms.append((best, parameters.weight_change * (2 * best.strength - 1) * min(1.0, gained), ""))
    return case


def _rarity(by_entity: Mapping[EntityId, Sequence[Finding]], graph: Graph) -> dict[tuple[EntityId, str], float]:
    """How far each finding tells its entity from others: in full where nobody else shows it, hardly where all do.

    That is the inverse document frequency (Spärck Jones 1972) over workloads: log((1 + N) / n) / log(1 + N), N those
    with any finding and n those that show the same. What calls the entity may show it for that very reason and is not
    counted; parts of one excess add up to one anyway.
    """
    showing: dict[tuple[str, ...], set[EntityId]] = defaultdict(set)
    for name, items in by_entity.items():
        for item in items:
            showing[_shown(item)].add(name)
    workloads = {graph.workload_of(name) for name, items in by_entity.items() if items}
    whole = math.log(1 + len(workloads))
    found: dict[tuple[EntityId, str], float] = {}
    for name, items in by_entity.items():
        calling = graph.upstream(graph.workload_of(name))
        for item in items:
            if group_of(item) in (METRIC, STRUCTURE, CLUSTER):
                others = {graph.workload_of(other) for other in showing[_shown(item)]} - calling
                found[name, item.key] = math.log((1 + len(workloads)) / max(1, len(others))) / whole
    return found


def _shown(item: Finding) -> tuple[str, ...]:
    return item.mechanism.value, item.direction.value, item.signal


def _expect(case: _Case, remembered: Sequence[Finding]) -> None:
    """What somebody expects counts by what is missing to their certainty; of several facts the surest one counts."""
    facts = sorted(
        (item for item in remembered if item.mechanism is Mechanism.EXPECTED),
        key=lambda item: (-item.strength, item.key),
    )
    less: dict[str, float] = defaultdict(float)
    for item, value, _ in case.terms:
        fact = next((fact for fact in facts if item.key in fact.about), None)
        if fact is not None and value > 0:
            less[fact.key] -= fact.strength * value
    case.expected = [(fact, less[fact.key]) for fact in facts if fact.key in less]


def _known(name: EntityId, remembered: Sequence[Finding], parameters: Parameters) -> list[tuple[Finding, float]]:
    """The strongest fact, and every incident of which a person confirmed this cause: each adds a part of what is left
    to the bound (a noisy or, as of independent witnesses), so that several say more than one and none says too much.
    """
    facts = [item for item in remembered if item.mechanism is Mechanism.KNOWN_CAUSE and fits(item.entity, name)]
    found = [(item, parameters.weight_fact * item.strength) for item in sorted(facts, key=_by_strength)[:1]]
    left = 1.0
    confirmed = [item for item in remembered if item.mechanism is Mechanism.CONFIRMED_CAUSE and item.entity == name]
    for item in sorted(confirmed, key=_by_strength):
        said = left * parameters.past_confirmation * item.strength
        found.append((item, parameters.weight_past * said))
        left -= said
    return found


def _by_strength(item: Finding) -> tuple[float, str]:
    return (-item.strength, item.key)


def _share_with_workloads(cases: Mapping[EntityId, _Case], graph: Graph, parameters: Parameters) -> None:
    """What the instances of a workload show alike speaks for the workload; what one shows speaks for that instance.

    An instance is alike that shows a sign of the strongest one, by its score; they are as alike as the mean of the
    others against that one: where one of two shows nothing, or something else, they are not alike at all.
    """
    own = {name: max(0.0, case.score) for name, case in cases.items()}
    signs = {name: _signs_of(case) for name, case in cases.items()}
    for workload, instances in graph.instances.items():
        members = sorted((name for name in instances if name in cases), key=lambda name: (-own[name], name))
        if workload not in cases or len(members) < 2 or own[members[0]] <= 0:
            continue
        first, *others = members
        alike = {name: own[name] for name in others if signs[name] & signs[first]}
        share = sum(alike.values()) / len(others) / own[first]
        cases[workload].instances = share * own[first]
        cases[workload].kinds_of_instances = [_kinds(cases[name], parameters) for name in members]
        for name in (first, *alike):
            cases[name].workload = min(cases[name].workload, -parameters.explained * share * own[name])


def _signs_of(case: _Case) -> set[tuple[Mechanism, Direction, str]]:
    """What an entity shows, by mechanism, direction and symptom."""
    terms = [item for item, value, _ in case.terms if value > 0 and item.fault_kinds]
    return {(item.mechanism, item.direction, _symptom(item)) for item in terms}


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


def group_of(item: Finding) -> str:
    """The group of signs that a finding belongs to."""
    return GROUPS.get(item.mechanism, item.family.value)


def _slowness(strengths: Iterable[float]) -> float:
    """Self time and network time are parts of one excess: their strengths are roots of shares."""
    return min(1.0, math.sqrt(sum(value**2 for value in strengths)))


def _either(strengths: Iterable[float], parameters: Parameters) -> float:
    """At least one of several independent signs."""
    missing = 1.0
    for strength in strengths:
        missing *= 1 - parameters.sign_certainty * strength
    return 1 - missing


def _is_down(item: Finding) -> bool:
    """Whether it says that something is down or unhealthy, as everything is that runs on what is."""
    return group_of(item) == CLUSTER or says_down(item)


def _once_a_caller(members: Sequence[Finding], strengths: Mapping[str, float], graph: Graph) -> dict[str, float]:
    """The strengths, of what one caller's spans and log lines say of the same failing calls only the strongest."""
    strongest: dict[EntityId, str] = {}
    for item in sorted(members, key=lambda item: (-strengths[item.key], item.key)):
        if item.caller is not None:
            strongest.setdefault(graph.workload_of(item.caller), item.key)
    told = set(strongest.values())
    return {item.key: strengths[item.key] if item.caller is None or item.key in told else 0.0 for item in members}


def _is_of_load(item: Finding) -> bool:
    """Whether more requests than usual are enough to bring it about."""
    if item.mechanism is Mechanism.LOAD_SURGE or group_of(item) not in (SLOW, METRIC, STRUCTURE):
        return False
    return OF_LOAD.issuperset(item.fault_kinds)


def _may_be_inherited(item: Finding) -> bool:
    """Whether a caller would show this for no other reason than that something it calls is at fault."""
    if group_of(item) == STRUCTURE:
        return True
    return group_of(item) == METRIC and INHERITED_KINDS.issuperset(item.fault_kinds)


def _own_evidence(items: Iterable[Finding]) -> float:
    """How strongly an entity shows something that it cannot have inherited."""
    listed = list(items)
    rest = [item.strength for item in listed if group_of(item) not in (SLOW, CHANGE) and not _may_be_inherited(item)]
    return max([_slowness(item.strength for item in listed if group_of(item) == SLOW), *rest], default=0.0)


def _data_gap_share(data_gaps: Sequence[DataGap], planned: int) -> float:
    """Part of the queries that should have brought something; what was never recorded hides nothing new."""
    if planned == 0:
        return 1.0
    lost = sum(item.count for item in data_gaps if item.status is not ObservationStatus.NOT_RECORDED)
    return min(1.0, lost / planned)


def _named_in(text: str, names: Iterable[EntityId]) -> list[EntityId]:
    lowered = text.lower()
    return [name for name in names if name.partition(":")[2].lower() in lowered]


def _change_of(
    ordered: Sequence[EntityId],
    cases: Mapping[EntityId, _Case],
    findings: Sequence[Finding],
    context: IncidentContext,
    parameters: Parameters,
) -> Finding | None:
    """The change that best explains the leading entity: on itself, what it calls or runs on, or without a target.

    What a language model thinks of a candidate counts beside its strength, within a bound.
    """
    if not ordered or cases[ordered[0]].score <= 0:
        return None
    top = ordered[0]
    near = {top, *context.graph.downstream(top), EntityId("unknown:")}
    said = {item.change_id: parameters.weight_change_opinion * item.weight for item in context.change_opinions}
    changes = {
        item.key: (item.strength + said.get(item.signal, 0.0), item)
        for item in findings
        if item.family is FindingFamily.CHANGE
    }
    likely = [(strength, item) for strength, item in changes.values() if strength > parameters.change_likely]
    if not likely:
        return None
    placed = sorted(likely, key=lambda row: (row[1].entity not in near, -row[0], row[1].key))
    strongest, best = max(likely, key=lambda row: (row[0], row[1].key))
    strength, local = placed[0]
    return local if local.entity in near and strength >= strongest - parameters.change_local else best


def _contributions(case: _Case, parameters: Parameters) -> list[Contribution]:
    """Every term of the score in log-odds, rounded; small findings are one term together."""

    def log_odds(value: float) -> float:
        return round(parameters.inverse_temperature * value, LIMITS.log_odds_digits)

    terms = sorted(case.terms, key=lambda term: (-abs(term[1]), term[0].key))
    listed, smaller = terms[: LIMITS.contributions], terms[LIMITS.contributions :]
    found = [
        Contribution(
            term=ContributionTerm.CHANGE if item.family is FindingFamily.CHANGE else ContributionTerm.FINDING,
            finding_key=item.key,
            log_odds=log_odds(value),
            reason=f"{item.summary}{f' ({item.note})' if item.note else ''}{note}"[:400],
        )
        for item, value, note in listed
    ]
    found += [
        Contribution(
            term=ContributionTerm.PAST if item.mechanism is Mechanism.CONFIRMED_CAUSE else ContributionTerm.FACT,
            finding_key=item.key,
            log_odds=log_odds(value),
            reason=f"{'expected: ' if value < 0 else ''}{item.summary} ({item.note})"[:400],
        )
        for item, value in (*case.expected, *case.known)
    ]
    others = (
        (ContributionTerm.SMALLER, sum(value for _, value, _ in smaller), f"{len(smaller)} smaller findings"),
        (ContributionTerm.INSTANCES, case.instances, "all of its instances show the same"),
        (ContributionTerm.WORKLOAD, case.workload, "the other instances of its workload show the same"),
        (ContributionTerm.ALERT, case.alert, "an alert is about it"),
        (ContributionTerm.HINT, case.hint, "a person named it"),
        (ContributionTerm.OPINION, case.opinion, f"the model's opinion: {case.said}"),
    )
    found += [Contribution(term=term, log_odds=log_odds(value), reason=reason) for term, value, reason in others]
    return [item for item in found if item.log_odds != 0]


def _sum(terms: Iterable[Contribution]) -> float:
    return round(sum(item.log_odds for item in terms), LIMITS.log_odds_digits)


def _no_root_cause(number: int, probability: float, threshold: float) -> Hypothesis:
    reason = "the score that an entity has to pass"
    return Hypothesis(
        rank=number,
        entity=None,
        fault_kind=FaultKind.UNKNOWN,
        score=threshold,
        mechanism="The root cause lies outside of what was looked at, or nothing is wrong.",
        probability=rounded(probability),
        supporting=(Contribution(term=ContributionTerm.THRESHOLD, log_odds=threshold, reason=reason),),
    )


def _hypothesis(
    number: int,
    name: EntityId,
    probability: float,
    case: _Case,
    contributions: list[Contribution],
    *,
    change: Finding | None,
    graph: Graph,
    parameters: Parameters,
) -> Hypothesis:
    kind, certainty = _kind(case, parameters)
    return Hypothesis(
        rank=number,
        entity=name,
        fault_kind=kind,
        fault_kind_probability=rounded(certainty),
        score=_sum(contributions),
        mechanism=_mechanism(name, kind, change, len(graph.upstream(name))),
        probability=rounded(probability),
        supporting=tuple(item for item in contributions if item.log_odds > 0),
        contradicting=tuple(item for item in contributions if item.log_odds < 0),
        change_id=change.signal if change else None,
    )


def _kinds(case: _Case, parameters: Parameters) -> dict[FaultKind, float]:
    """What the findings of one entity, and of its instances, say of the kind of its fault."""
    weights: dict[FaultKind, float] = defaultdict(float)
    for item, value, _ in case.terms:
        if item.family is not FindingFamily.CHANGE:
            for kind, weight in item.fault_kinds.items():
                specific = parameters.specific_kind if kind in SPECIFIC_KINDS else 1.0
                weights[kind] += max(0.0, value) * weight * specific
    for part in case.kinds_of_instances:
        for kind, weight in part.items():
            weights[kind] += weight / len(case.kinds_of_instances)
    return weights


def _kind(case: _Case, parameters: Parameters) -> tuple[FaultKind, float]:
    """The likeliest kind of fault and its share of what was said of kinds; ties by name."""
    weights = {kind: weight for kind, weight in _kinds(case, parameters).items() if kind is not FaultKind.UNKNOWN}
    whole = sum(weights.values())
    if whole <= 0:
        return FaultKind.UNKNOWN, 0.0
    best = max(sorted(weights), key=lambda kind: weights[kind])
    return best, weights[best] / whole


SENTENCES: Mapping[FaultKind, str] = {
    FaultKind.CPU: "it runs short of processor time",
    FaultKind.MEMORY: "it runs out of memory",
    FaultKind.DISK: "its disk is full or failing",
    FaultKind.NETWORK: "requests to and from it wait in the network or in a queue",
    FaultKind.LATENCY: "it takes longer for its own work",
    FaultKind.ERROR: "requests fail with an error originating there",
    FaultKind.CRASH: "it is down, or does not answer",
    FaultKind.LOCK: "work waits for a lock in it",
    FaultKind.SATURATION: "a resource in it is exhausted and requests queue",
    FaultKind.BEHAVIOUR: "it takes other paths through its code than it used to",
    FaultKind.TRAFFIC: "its traffic changed",
    FaultKind.EXPIRY: "something it depends on has expired",
    FaultKind.CONFIGURATION: "it is misconfigured",
    FaultKind.UNKNOWN: "it behaves unusually",
}


def _mechanism(name: EntityId, kind: FaultKind, change: Finding | None, callers: int) -> str:
    reach = f"; {callers} of its callers may feel it" if callers else ""
    since = f", introduced by {change.signal}" if change else ""
    return f"{name}: {SENTENCES[kind]}{since}{reach}."
