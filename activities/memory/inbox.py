"""The inbox: alerts that were accepted at the door and wait to be dispatched, each processed once.

Any number of dispatchers may work on it. Deliveries of one fingerprint are dispatched in the order in which they came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, Select, func, select
from sqlalchemy.dialects.postgresql import insert

from activities.memory.tables import INBOX, INBOX_END
from activities.memory.uuid7 import uuid7
from activities.safety.redaction import REDACTION_VERSION
from workflows.contracts.alert import Alert
from workflows.contracts.identifiers import InvestigationId, Tenant

AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class InboxItem:
    """One accepted delivery of an alert."""

    inbox_id: str
    environment: str
    alert: Alert
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class DeliveryOutcome:
    """What became of a delivery."""

    how: str
    """`opened`, `joined`, `resolved` and so on; empty while it waits."""

    investigation_id: InvestigationId | None


class Inbox:
    """The inbox of one tenant."""

    def __init__(self, engine: Engine, tenant: Tenant) -> None:
        self._engine = engine
        self._tenant = tenant

    def accept(self, alerts: Sequence[Alert], *, environment: str, received_at: datetime) -> list[str]:
        """Commit redacted alerts, all of them or none; returns the id of each delivery."""
        rows = [
            {
                "tenant": self._tenant,
                "inbox_id": uuid7(),
                "environment": environment,
                "fingerprint": alert.fingerprint,
                "body": alert.model_dump(mode="json"),
                "redaction_version": REDACTION_VERSION,
                "received_at": received_at,
                "claims": 0,
            }
            for alert in alerts
        ]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(insert(INBOX), rows)
        return [str(row["inbox_id"]) for row in rows]

    def outcome(self, inbox_id: str) -> "DeliveryOutcome | None":
        """What became of a delivery; None when there is none of that id."""
        query = (
            select(INBOX.c.inbox_id, INBOX_END.c.how, INBOX_END.c.investigation_id)
            .select_from(
                INBOX.outerjoin(
                    INBOX_END,
                    (INBOX_END.c.tenant == INBOX.c.tenant) & (INBOX_END.c.inbox_id == INBOX.c.inbox_id),
                )
            )
            .where(INBOX.c.tenant == self._tenant, INBOX.c.inbox_id == inbox_id)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        found = row.investigation_id
        return DeliveryOutcome(
            how=row.how or "", investigation_id=None if found is None else InvestigationId(str(found))
        )

    def waiting(self, limit: int = AT_ONCE, *, apart_from: Sequence[str] = ()) -> list[InboxItem]:
        """What can be dispatched now, the oldest first: of each fingerprint the first that is not processed.

        Args:
            limit: how many at most.
            apart_from: environments whose items are left out.
        """
        query = (
            select(INBOX)
            .where(
                INBOX.c.tenant == self._tenant,
                INBOX.c.environment.not_in(apart_from),
                ~_ended(INBOX.c.inbox_id),
                ~_has_earlier(self._tenant),
            )
            .order_by(INBOX.c.inbox_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                InboxItem(
                    inbox_id=str(row.inbox_id),
                    environment=row.environment,
                    alert=Alert.model_validate(row.body),
                    received_at=row.received_at,
                )
                for row in connection.execute(query)
            ]

    def waiting_count(self) -> int:
        """How many are not processed yet."""
        query = select(func.count()).select_from(INBOX).where(INBOX.c.tenant == self._tenant, ~_ended(INBOX.c.inbox_id))
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def processed(self, item: InboxItem, *, how: str, at: datetime) -> bool:
        """Mark an item that opens or joins nothing; False when somebody else has or had it."""
        with self._engine.begin() as connection:
            if not claimed(connection, self._tenant, item.inbox_id):
                return False
            end(connection, self._tenant, item.inbox_id, how=how, investigation_id=None, at=at)
            return True


def claimed(connection: Connection, tenant: Tenant, inbox_id: str) -> bool:
    """Lock an item for this transaction; False when another one has it, or has processed it."""
    locked = connection.scalar(
        select(INBOX.c.inbox_id)
        .where(INBOX.c.tenant == tenant, INBOX.c.inbox_id == inbox_id)
        .with_for_update(skip_locked=True)
    )
    if locked is None:
        return False
    # Looked at after the lock: whoever held it before has committed by now.
    return not connection.scalar(select(_ended(inbox_id)))


def end(
    connection: Connection,
    tenant: Tenant,
    inbox_id: str,
    *,
    how: str,
    investigation_id: InvestigationId | None,
    at: datetime,
) -> None:
    """Mark an item processed, in the transaction that processes it."""
    connection.execute(
        insert(INBOX_END).values(
            tenant=tenant, inbox_id=inbox_id, how=how, investigation_id=investigation_id, ended_at=at
        )
    )


def _ended(inbox_id: "ColumnElement[str] | str") -> ColumnElement[bool]:
    return select(INBOX_END.c.inbox_id).where(INBOX_END.c.inbox_id == inbox_id).exists()


def _has_earlier(tenant: Tenant) -> ColumnElement[bool]:
    earlier = INBOX.alias("earlier")
    found: Select[tuple[object]] = select(earlier.c.inbox_id).where(
        earlier.c.tenant == tenant,
        earlier.c.environment == INBOX.c.environment,
        earlier.c.fingerprint == INBOX.c.fingerprint,
        earlier.c.inbox_id < INBOX.c.inbox_id,
        ~_ended(earlier.c.inbox_id),
    )
    return found.exists()
