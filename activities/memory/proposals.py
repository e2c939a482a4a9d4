"""Facts that the product proposes: what people said in passing would otherwise be lost. Nothing of it is used until
somebody accepts it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from uuid import NAMESPACE_OID, uuid5

from activities.analysis.subjects import ANY
from activities.memory.facts import REVIEW_AFTER, FactRecord
from activities.memory.recall import confirmed_cause
from activities.memory.store import Store
from workflows.contracts.fact import LONGEST_STATEMENT, Fact, FactDecision, FactEffect, FactState
from workflows.contracts.feedback import Feedback
from workflows.contracts.identifiers import EntityId, InvestigationId, Tenant

RECURS_FROM = 3
"""Incidents with one confirmed root cause from which on a weak point is proposed."""

LOOKED_BACK = 1_000
"""Judged incidents that are counted, the latest."""


class NotJudgedError(Exception):
    """Feedback on an investigation without a verdict."""


EVERYTHING = EntityId(ANY)
"""The subject of what was said of nothing in particular: whoever accepts it sees so."""


def from_hints(
    hints: Sequence[str], *, investigation_id: InvestigationId, subject: EntityId | None, at: datetime
) -> Iterator[Fact]:
    """A note for each hint that people gave during an investigation."""
    for number, text in enumerate(hints, start=1):
        yield _note(text, f"hint {number} of investigation {investigation_id}", subject, at=at)


def from_feedback(feedback: Feedback, *, investigation_id: InvestigationId, suspect: EntityId | None) -> Iterator[Fact]:
    """A note for what somebody said of a verdict; none where they said nothing."""
    if feedback.said.strip():
        source = f"feedback on investigation {investigation_id}"
        yield _note(feedback.said, source, feedback.cause or suspect, at=feedback.given_at, author=feedback.author)


def keep_feedback(store: Store, tenant: Tenant, investigation_id: InvestigationId, feedback: Feedback) -> int:
    """Keep what somebody says of a verdict, and propose their note as a fact; returns how many facts are proposed.

    Raises:
        NotJudgedError: there is no verdict yet.
    """
    report = store.ledger(tenant, investigation_id).report()
    if report is None:
        raise NotJudgedError("it has no report yet: there is nothing to judge")
    store.feedback(tenant).give(investigation_id, feedback)
    noted = from_feedback(feedback, investigation_id=investigation_id, suspect=report.findings.verdict.entity)
    recurring = from_what_recurs(_confirmed_causes(store, tenant, investigation_id, feedback), at=feedback.given_at)
    return propose(store.facts(tenant), chain(noted, recurring), at=feedback.given_at)


def from_what_recurs(causes: Mapping[EntityId, int], *, at: datetime) -> Iterator[Fact]:
    """A weak point for each entity that was the root cause of several incidents, as people confirmed; once.

    Args:
        causes: incidents by their confirmed root cause.
        at: when.
    """
    for entity, count in sorted(causes.items()):
        if count < RECURS_FROM:
            continue
        source = f"confirmed root causes of {entity}"
        yield Fact(
            fact_id=str(uuid5(NAMESPACE_OID, source)),
            subject=entity,
            statement=f"was the root cause of {count} incidents that people have judged",
            effect=FactEffect.KNOWN_CAUSE,
            review_by=at + REVIEW_AFTER,
            source=source,
            added_at=at,
        )


def _confirmed_causes(
    store: Store, tenant: Tenant, investigation_id: InvestigationId, feedback: Feedback
) -> Counter[EntityId]:
    """Incidents by the root cause that people confirmed, in the memory of one investigation."""
    request = store.incidents(tenant).request(investigation_id)
    if request is None:
        return Counter()
    known = max(feedback.given_at, request.as_of)
    past = store.incidents(tenant).past(scope=request.memory_scope, as_of=known, judged_first=True, limit=LOOKED_BACK)
    ids = [item.investigation_id for item in past if item.investigation_id is not None]
    said = store.feedback(tenant).latest(ids, until=feedback.given_at)
    causes = (confirmed_cause(item, said.get(item.investigation_id)) for item in past if item.investigation_id)
    return Counter(EntityId(cause) for cause in causes if cause is not None)


def propose(record: FactRecord, facts: Iterator[Fact], *, at: datetime) -> int:
    """Keep proposals; one that was made before stays what people made of it. Returns how many are new."""
    waiting = FactDecision(state=FactState.PROPOSED, decided_at=at)
    return sum(record.add(fact, waiting) for fact in facts)


def _note(text: str, source: str, subject: EntityId | None, *, at: datetime, author: str = "") -> Fact:
    return Fact(
        fact_id=str(uuid5(NAMESPACE_OID, f"{source}\x1f{text}")),
        subject=subject or EVERYTHING,
        statement=text.strip()[:LONGEST_STATEMENT],
        review_by=at + REVIEW_AFTER,
        source=source,
        author=author,
        added_at=at,
    )
