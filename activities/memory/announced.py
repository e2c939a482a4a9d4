"""Changes that pipelines announce at the gateway, kept for the investigations of an environment."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from activities.memory.tables import ANNOUNCED_CHANGE
from activities.safety.redaction import REDACTION_VERSION, Redactor
from workflows.contracts.change import Change
from workflows.contracts.identifiers import Tenant
from workflows.contracts.probe import Window


class AnnouncedChanges:
    """The announced changes of one tenant."""

    def __init__(self, engine: Engine, tenant: Tenant, redactor: Redactor) -> None:
        self._engine = engine
        self._tenant = tenant
        self._redactor = redactor

    def announce(self, changes: Sequence[Change], *, environment: str, received_at: datetime) -> int:
        """Commit changes, redacted; one of the same id is the same change. Returns how many were new."""
        redact = self._redactor.redact
        rows = [
            {
                "tenant": self._tenant,
                "environment": environment,
                "change_id": change.id,
                "at": change.at,
                "body": change.model_copy(
                    update={"title": redact(change.title)[:1_024], "detail": redact(change.detail)[:65_536]}
                ).model_dump(mode="json"),
                "redaction_version": REDACTION_VERSION,
                "received_at": received_at,
            }
            for change in changes
        ]
        with self._engine.begin() as connection:
            statement = insert(ANNOUNCED_CHANGE).on_conflict_do_nothing().returning(ANNOUNCED_CHANGE.c.change_id)
            return len(connection.execute(statement, rows).all()) if rows else 0

    def within(self, window: Window, *, environment: str, limit: int) -> list[Change]:
        """The changes of a window, the latest first."""
        query = (
            select(ANNOUNCED_CHANGE.c.body)
            .where(
                ANNOUNCED_CHANGE.c.tenant == self._tenant,
                ANNOUNCED_CHANGE.c.environment == environment,
                ANNOUNCED_CHANGE.c.at >= window.start,
                ANNOUNCED_CHANGE.c.at < window.end,
            )
            .order_by(ANNOUNCED_CHANGE.c.at.desc(), ANNOUNCED_CHANGE.c.change_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [Change.model_validate(body) for body in connection.scalars(query)]
