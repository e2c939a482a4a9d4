"""What a memory does to the ranking: each case again with the other cases of its system in mind.

The findings of a case are computed once. Then it is ranked with an empty memory, with the others unjudged, with the
others and their true causes confirmed, and with the others and one wrong cause confirmed for all of them. Beside it a
plain counter: the most frequent cause of the others.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from activities.analysis.context import IncidentContext
from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.family import AnalysisInput
from activities.analysis.findings import find
from activities.analysis.parameters import DEFAULT
from activities.analysis.past_incidents import find_past_incidents
from activities.analysis.ranking import rank
from activities.analysis.signs import signs_of
from activities.analysis.verification import claims_of, verified
from activities.answers import COLUMNS, encode
from evals.bundles import Root, Truth
from evals.offline import evidence_of
from evals.results import Interval, Ranked
from evals.scoring import accuracy_at, interval, names_root, ranks
from evals.suites import Suite
from workflows.contracts.canonical import digest_of
from workflows.contracts.feedback import Judgement
from workflows.contracts.finding import Finding
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.past_incident import Sign
from workflows.contracts.probe import PastIncidentsProbe, Window

EMPTY, UNJUDGED, CONFIRMED, POISONED, COUNTER = "empty", "unjudged", "confirmed", "poisoned", "most frequent cause"
MEMORIES = (EMPTY, UNJUDGED, CONFIRMED, POISONED, COUNTER)


@dataclass(frozen=True, kw_only=True)
class RememberedCase:
    """A case as it is ranked, and as others remember it."""

    name: str
    system: str
    roots: tuple[Root, ...]
    findings: tuple[Finding, ...]
    """Verified ones."""

    signs: tuple[Sign, ...]
    evidence: Evidence
    """Without the answers: alerts, time and topology."""

    context: IncidentContext


@dataclass(frozen=True, kw_only=True)
class MemoryScore:
    """AC@1 with one memory, over all cases and over those whose root cause another case of the system has."""

    system: str
    memory: str
    all_cases: Interval
    repeated: Interval | None


def remembered_case(suite: Suite, name: str, scratch: Path) -> RememberedCase | None:
    """A case of a suite; None where nobody says which entity was at fault.

    Raises:
        CorpusError: it cannot be read.
    """
    truth: Truth = suite.truth(name)
    if not truth.roots:
        return None
    evidence, planned = evidence_of(suite.bundle(name, scratch))
    found = find(evidence)
    holding = verified(found, claims_of(found, evidence.frames()))
    return RememberedCase(
        name=name,
        system=suite.system(name),
        roots=truth.roots,
        findings=tuple(holding),
        signs=signs_of(holding, evidence.graph),
        context=IncidentContext.of(evidence, probes_planned=planned),
        evidence=replace(evidence, answers=()),
    )


def score_memories(cases: Sequence[RememberedCase]) -> list[MemoryScore]:
    """AC@1 of every system with every memory."""
    by_system: dict[str, list[RememberedCase]] = defaultdict(list)
    for case in cases:
        by_system[case.system].append(case)
    found = []
    for system, listed in sorted(by_system.items()):
        right: dict[str, list[float]] = {
            memory: [_accuracy(_ranked(case, listed, memory), case.roots) for case in listed] for memory in MEMORIES
        }
        again = [number for number, case in enumerate(listed) if _is_repeated(case, listed)]
        for memory, values in right.items():
            repeated = interval([values[number]] for number in again) if again else None
            found.append(
                MemoryScore(
                    system=system, memory=memory, all_cases=interval([value] for value in values), repeated=repeated
                )
            )
    return found


def _ranked(case: RememberedCase, cases: Sequence[RememberedCase], memory: str) -> list[Ranked]:
    others = [other for other in cases if other.name != case.name]
    causes = [other.roots[0].entity for other in others]
    if memory == COUNTER:
        counted = Counter(causes).most_common(1)
        return [Ranked(entity=name, fault_kind=FaultKind.UNKNOWN, probability=1.0) for name, _ in counted]
    said: Mapping[str, Callable[[RememberedCase], str]] = {
        UNJUDGED: lambda _: "",
        CONFIRMED: lambda other: other.roots[0].entity,
        POISONED: lambda _: _innocent(case),
    }
    findings = list(case.findings)
    if memory != EMPTY:
        findings += _recalled(case, ((other, said[memory](other)) for other in others))
    return [_entry(item) for item in rank(findings, case.context) if item.entity is not None]


def _entry(item: Hypothesis) -> Ranked:
    assert item.entity is not None
    return Ranked(entity=item.entity, fault_kind=item.fault_kind, probability=item.probability)


def _recalled(case: RememberedCase, others: Iterable[tuple[RememberedCase, str]]) -> list[Finding]:
    """What the family of past incidents makes of the others, verified."""
    as_of = case.evidence.as_of
    rows = [
        {
            "investigation_id": other.name,
            "ts": as_of - timedelta(days=1),
            "title": other.name,
            "entity": other.roots[0].entity,
            "fault_kind": other.roots[0].fault_kind.value,
            "sentence": f"{other.roots[0].entity} is the root cause",
            "judgement": Judgement.RIGHT.value if cause else "",
            "cause": cause,
            "alerting": sorted(other.evidence.alerting),
            "signs": [sign.model_dump(mode="json") for sign in other.signs],
        }
        for other, cause in others
    ]
    frame = pl.DataFrame(rows, schema=COLUMNS["past_incidents"])
    probe = PastIncidentsProbe(backend="memory", window=Window(start=as_of, end=as_of), scope="live")
    answer = AnsweredProbe(probe=probe, artifact=digest_of(encode(frame)), rows=frame)
    evidence = replace(case.evidence, answers=(answer,))
    found = list(find_past_incidents(AnalysisInput(evidence, DEFAULT, list(case.findings))))
    return verified(found, claims_of(found, evidence.frames()))


def _innocent(case: RememberedCase) -> EntityId:
    """The entity that the poison names: the first by name that is no root of the case."""
    roots = {name for root in case.roots for name in (root.entity, *root.aliases)}
    return min((name for name in case.context.graph.kinds if name not in roots), default=EntityId("service:none"))


def _is_repeated(case: RememberedCase, cases: Sequence[RememberedCase]) -> bool:
    roots = {root.entity for root in case.roots}
    return any(other.name != case.name and other.roots[0].entity in roots for other in cases)


def _accuracy(ranking: Sequence[Ranked], roots: Sequence[Root]) -> float:
    return accuracy_at(1, ranks(ranking, roots, names_root))
