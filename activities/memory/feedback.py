"""What people said of verdicts: kept word for word, redacted; the last word on an investigation counts."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from activities.memory.tables import FEEDBACK
from activities.memory.uuid7 import uuid7
from activities.safety.redaction import REDACTION_VERSION, Redactor
from workflows.contracts.feedback import Feedback
from workflows.contracts.identifiers import InvestigationId, Tenant

MOST = 10_000


class FeedbackRecord:
    """The feedback of one tenant's people."""

    def __init__(self, engine: Engine, tenant: Tenant, redactor: Redactor) -> None:
        self._engine = engine
        self._tenant = tenant
        self._redactor = redactor

    def give(self, investigation_id: InvestigationId, feedback: Feedback) -> None:
        """Keep what somebody says; it is redacted first."""
        said, author = self._redactor.redact_all([feedback.said, feedback.author])
        clean = feedback.model_copy(update={"said": said, "author": author})
        row = {
            "tenant": self._tenant,
            "feedback_id": str(uuid7()),
            "investigation_id": investigation_id,
            "judgement": clean.judgement.value,
            "body": clean.model_dump(mode="json"),
            "redaction_version": REDACTION_VERSION,
            "given_at": clean.given_at,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(FEEDBACK).values(row))

    def latest(self, investigations: Iterable[InvestigationId], *, until: datetime) -> dict[InvestigationId, Feedback]:
        """The last word on each of these investigations, as it was known at `until`."""
        query = (
            select(FEEDBACK.c.investigation_id, FEEDBACK.c.body)
            .where(
                FEEDBACK.c.tenant == self._tenant,
                FEEDBACK.c.investigation_id.in_(list(investigations)),
                FEEDBACK.c.given_at <= until,
            )
            .order_by(FEEDBACK.c.given_at.desc(), FEEDBACK.c.feedback_id.desc())
            .limit(MOST)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return {InvestigationId(str(row.investigation_id)): Feedback.model_validate(row.body) for row in reversed(rows)}
