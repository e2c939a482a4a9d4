"""Facts that the product proposes: what people said in passing would otherwise be lost. Nothing of it is used until
somebody accepts it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from uuid import NAMESPACE_OID, uuid5

from activities.analysis.subjects import ANY
from activities.memory.facts import FactRecord
from activities.memory.store import Store
from workflows.contracts.fact import LONGEST_STATEMENT, Fact, FactDecision, FactState
from workflows.contracts.feedback import Feedback
from workflows.contracts.identifiers import EntityId, InvestigationId, Tenant

REVIEW_AFTER = timedelta(days=180)
"""When somebody has to look again at what nobody dated."""


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
    return propose(store.facts(tenant), noted, at=feedback.given_at)


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
