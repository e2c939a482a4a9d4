"""Facts that people know: which of today's symptoms they expect, and which weak points they know of."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from pydantic import ValidationError

from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.graph import Graph
from activities.analysis.recurrence import RecurrenceError, occurring
from activities.analysis.subjects import fits, is_pattern
from workflows.contracts.alert import Alert
from workflows.contracts.fact import Fact, FactEffect
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import AllOf, Occurred, RowCount, SeriesShift
from workflows.contracts.probe import Tool

FACTS: dict[Tool, list[str]] = {"facts": ["fact_id", "ts", "subject", "statement", "effect", "body"]}
SYMPTOMS_NOT = frozenset((FindingFamily.CHANGE, FindingFamily.MEMORY))


@dataclass(frozen=True)
class FactStanding:
    """A fact, and why it cannot be used."""

    fact: Fact
    problem: str
    """Empty when it can."""


def facts_in(rows: pl.DataFrame, as_of: datetime) -> list[FactStanding]:
    """The facts of an answer, each with what keeps it from being used at `as_of`; an unreadable one costs no other."""
    found: list[FactStanding] = []
    for body in rows["body"]:
        with suppress(ValidationError):
            found.append(_standing(Fact.model_validate_json(body), as_of))
    return found


def _standing(fact: Fact, as_of: datetime) -> FactStanding:
    problem = ""
    if fact.valid_from is not None and as_of < fact.valid_from:
        problem = f"it holds from {fact.valid_from:%Y-%m-%d %H:%M} on"
    elif fact.valid_until is not None and as_of >= fact.valid_until:
        problem = f"it expired on {fact.valid_until:%Y-%m-%d %H:%M}"
    elif fact.review_by is not None and as_of >= fact.review_by:
        problem = (
            f"its review is overdue since {fact.review_by:%Y-%m-%d}: ask {fact.owner or fact.author or 'its owner'}"
        )
    return FactStanding(fact, problem)


def concerns(fact: Fact, entity: EntityId, graph: Graph) -> bool:
    """Whether a fact is about an entity, or about the workload of which it is an instance."""
    return any(fits(fact.subject, name) for name in (entity, graph.workload_of(entity)))


def labelled(fact: Fact, alerts: Iterable[Alert]) -> bool:
    """Whether an alert carries the labels that a fact asks for."""
    wanted = fact.condition.labels.items()
    return not wanted or any(wanted <= alert.labels.items() for alert in alerts)


@evidence_family(needs=FACTS, reads_findings=True)
def find_facts(given: AnalysisInput) -> list[Finding]:
    """A finding for every fact that says something of this incident."""
    found: list[Finding] = []
    shown = _Shown(given)
    for answer in given.evidence.of("facts"):
        accepted = dict(zip(answer.rows["fact_id"], answer.rows["ts"], strict=True))
        for standing in facts_in(answer.rows, given.evidence.as_of):
            fact = standing.fact
            if standing.problem or not labelled(fact, given.evidence.alerts):
                continue
            symptoms = [item for item in shown.about(fact.subject) if _applies(fact, item, given)]
            if fact.effect is FactEffect.EXPECTED:
                mechanism = Mechanism.EXPECTED
            elif fact.effect is FactEffect.KNOWN_CAUSE:
                mechanism = Mechanism.KNOWN_CAUSE
            else:
                continue
            if not symptoms:
                continue
            found.append(
                given.factory.stated(
                    family=FindingFamily.MEMORY,
                    mechanism=mechanism,
                    entity=EntityId(fact.subject),
                    signal=fact.fact_id,
                    summary=f"{fact.owner or fact.author or 'somebody'} knows: {fact.statement}",
                    note=f"fact {fact.fact_id[:18]}",
                    direction=Direction.APPEARED,
                    strength=fact.confidence,
                    fault_kinds={},
                    predicate=Occurred(
                        probe_key=answer.probe.key,
                        select={"fact_id": fact.fact_id, "statement": fact.statement, "effect": fact.effect.value},
                        at=accepted[fact.fact_id],
                    ),
                    about=tuple(item.key for item in symptoms),
                )
            )
    return found


class _Shown:
    """Symptoms by the name of what shows them, and by that of its workload: facts are many."""

    def __init__(self, given: AnalysisInput) -> None:
        self._by_name: dict[EntityId, list[Finding]] = {}
        for item in given.found:
            if item.family not in SYMPTOMS_NOT:
                for name in {item.entity, given.evidence.graph.workload_of(item.entity)}:
                    self._by_name.setdefault(name, []).append(item)

    def about(self, subject: str) -> list[Finding]:
        """Each once, in the order in which they were found."""
        if not is_pattern(subject):
            return self._by_name.get(EntityId(subject), [])
        unique = {item.key: item for name, items in self._by_name.items() if fits(subject, name) for item in items}
        return list(unique.values())


def _applies(fact: Fact, item: Finding, given: AnalysisInput) -> bool:
    """Whether a fact holds for a symptom of its subject: its kind, moment and size."""
    graph = given.evidence.graph
    began = item.onset or given.evidence.alert_at
    return (
        _is_of_its_kind(fact, item)
        and _is_within_its_size(fact, item)
        and _recurs(fact, began)
        and _after_a_change(fact, began, given.found, graph)
    )


def _is_of_its_kind(fact: Fact, item: Finding) -> bool:
    return not fact.fault_kinds or not item.fault_kinds.keys().isdisjoint(fact.fault_kinds)


def _is_within_its_size(fact: Fact, item: Finding) -> bool:
    if fact.condition.up_to is None:
        return True
    share = failing_share(item)
    return share is not None and share <= fact.condition.up_to


def _recurs(fact: Fact, began: datetime) -> bool:
    try:
        return occurring(fact.condition, began)
    except RecurrenceError:  # by a rule that another version took
        return False


def _after_a_change(fact: Fact, began: datetime, found: Sequence[Finding], graph: Graph) -> bool:
    within = fact.condition.after_change
    if within is None:
        return True
    changes = [
        item.onset for item in found if item.family is FindingFamily.CHANGE and concerns(fact, item.entity, graph)
    ]
    return any(at is not None and at <= began < at + within for at in changes)


def failing_share(item: Finding) -> float | None:
    """Which share of requests a finding says to fail; None where it does not say."""
    stated = item.predicate
    if isinstance(stated, AllOf):
        counts = {part.column: part.at_least for part in stated.parts if isinstance(part, RowCount)}
        failed, whole = counts.get("originating_errors"), counts.get("count")
        return failed / whole if failed is not None and whole else None
    whole = {"ratio": 1.0, "%": 100.0}.get(item.unit)
    return stated.threshold / whole if whole and isinstance(stated, SeriesShift) else None
