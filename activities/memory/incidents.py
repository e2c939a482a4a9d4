"""Alerts become incidents, and incidents have at most one open investigation."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from activities.memory.inbox import claimed, end
from activities.memory.tables import (
    ALERT,
    DELIVERY,
    FEEDBACK,
    HISTORY,
    INCIDENT,
    INVESTIGATION,
    INVESTIGATION_END,
    PAST,
    REJECTED,
    REPORT,
)
from activities.memory.uuid7 import uuid7
from activities.safety.redaction import REDACTION_VERSION, Redactor
from workflows.contracts.alert import Alert
from workflows.contracts.identifiers import EntityId, IncidentId, InvestigationId, Tenant
from workflows.contracts.investigation import InvestigationRequest
from workflows.contracts.past_incident import PastIncident

Joined = Literal["opened", "new_alert", "repeat"]
RequestFor = Callable[[IncidentId, InvestigationId], InvestigationRequest]
PUBLISHED = "published"
EXCERPT_LIMIT = 4_000
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One delivery of an alert."""

    alert: Alert
    """Already redacted."""

    scope: str
    """Which incidents it may belong to: those of an environment, of recordings, or of one evaluation or replay run."""

    received_at: datetime
    quiet_time: timedelta
    """How long after a close a re-fire only counts."""

    engine_version: str
    """The version that will investigate."""

    request_for: RequestFor
    """Makes the request once the ids are known."""


@dataclass(frozen=True, kw_only=True)
class OpenedInvestigation:
    """Where an alert ended up."""

    request: InvestigationRequest
    joined: Joined
    """`opened`: it opened this investigation. `new_alert`: it joined as a further alert. `repeat`: it only counted."""

    open: bool
    """False when the investigation is already closed and the alert came within the quiet time."""

    alert_number: int
    """The alert's number within the investigation, starting at 1."""

    title: str = ""
    """Of the alert, redacted."""

    not_started: str = ""
    """Why its workflow does not run yet although the alert is recorded; it is started when Temporal takes it."""


def redacted_alert(alert: Alert, redactor: Redactor) -> Alert:
    """The alert as it may be stored: nothing in it holds a secret or personal datum, and it is within its bounds."""
    return Alert.model_validate(
        {
            **alert.model_dump(),
            "title": redactor.redact(storable(alert.title))[:1024],
            "labels": _bounded(redactor.redact_mapping(_storable_values(alert.labels))),
            "annotations": _bounded(redactor.redact_mapping(_storable_values(alert.annotations))),
            "entity": redactor.redact(storable(alert.entity))[:1024] if alert.entity else None,
            "fingerprint": _identity(storable(alert.fingerprint), redactor),
            "group_key": _identity(storable(alert.group_key), redactor) if alert.group_key else None,
        }
    )


def storable(text: str) -> str:
    """The text without what no database and no protocol takes: NUL characters and half surrogates are replaced."""
    return text.replace("\x00", REPLACEMENT).encode("utf-8", "replace").decode()


def _storable_values(values: dict[str, str]) -> dict[str, str]:
    return {storable(key): storable(value) for key, value in values.items()}


def _bounded(values: dict[str, str]) -> dict[str, str]:
    return {key[:512]: value[:4096] for key, value in values.items()}


def _identity(text: str, redactor: Redactor) -> str:
    """An identity that holds something to redact becomes a pseudonym: still the same for the same text."""
    return text if redactor.redact(text) == text else redactor.pseudonym("identity", text)


class Incidents:
    """The incidents of one tenant."""

    def __init__(self, engine: Engine, tenant: Tenant, redactor: Redactor) -> None:
        self._engine = engine
        self.redactor = redactor
        self._tenant = tenant

    def receive(self, delivery: Delivery) -> OpenedInvestigation:
        """Record one delivery of an alert and find or open its investigation, in one transaction."""
        with self._engine.begin() as connection:
            return self._received(connection, delivery)

    def dispatch(self, delivery: Delivery, inbox_id: str) -> OpenedInvestigation | None:
        """The same for a delivery that waits in the inbox, which is processed in the same transaction.

        Returns:
            None when it is somebody else's: processed already, or being processed.
        """
        with self._engine.begin() as connection:
            if not claimed(connection, self._tenant, inbox_id):
                return None
            opened = self._received(connection, delivery)
            investigation_id = opened.request.investigation_id
            end(
                connection,
                self._tenant,
                inbox_id,
                how=opened.joined,
                investigation_id=investigation_id,
                at=delivery.received_at,
            )
            return opened

    def _received(self, connection: Connection, delivery: Delivery) -> OpenedInvestigation:
        alert, received_at = delivery.alert, delivery.received_at
        incident_id = self._incident(connection, alert, delivery.scope, received_at)
        latest = self._latest(connection, incident_id)
        if latest is not None:
            quiet_until = self._quiet_until(connection, latest.investigation_id, delivery.quiet_time)
            if quiet_until is None or received_at < quiet_until:
                joined, number = self._deliver(connection, alert, latest.investigation_id, received_at)
                return OpenedInvestigation(
                    request=latest,
                    joined=joined,
                    open=quiet_until is None,
                    alert_number=number,
                    title=alert.title,
                )
        request = delivery.request_for(incident_id, InvestigationId(uuid7()))
        self._open(connection, request, latest, delivery.engine_version, received_at)
        _, number = self._deliver(connection, alert, request.investigation_id, received_at)
        return OpenedInvestigation(request=request, joined="opened", open=True, alert_number=number, title=alert.title)

    def open_of(self, alert: Alert, *, scope: str) -> InvestigationId | None:
        """The open investigation of the alert's incident, if there is one."""
        found = (
            select(INVESTIGATION.c.investigation_id)
            .join(
                INCIDENT,
                (INCIDENT.c.tenant == INVESTIGATION.c.tenant) & (INCIDENT.c.incident_id == INVESTIGATION.c.incident_id),
            )
            .where(
                INVESTIGATION.c.tenant == self._tenant,
                INCIDENT.c.scope == scope,
                INCIDENT.c.incident_key == alert.incident_key,
                ~select(INVESTIGATION_END.c.investigation_id)
                .where(
                    INVESTIGATION_END.c.tenant == INVESTIGATION.c.tenant,
                    INVESTIGATION_END.c.investigation_id == INVESTIGATION.c.investigation_id,
                )
                .exists(),
            )
            .order_by(INVESTIGATION.c.ordinal.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            value = connection.scalar(found)
        return None if value is None else InvestigationId(str(value))

    def end(self, investigation_id: InvestigationId, *, how: str, ended_at: datetime) -> None:
        """Mark an investigation ended; the first mark stays."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(INVESTIGATION_END)
                .values(tenant=self._tenant, investigation_id=investigation_id, how=how, ended_at=ended_at)
                .on_conflict_do_nothing()
            )

    def open_investigations(self, limit: int = 1_000) -> list[InvestigationRequest]:
        """Requests of the oldest investigations without an end."""
        ends = INVESTIGATION_END
        ended = (
            select(ends.c.investigation_id)
            .where(
                ends.c.tenant == INVESTIGATION.c.tenant,
                ends.c.investigation_id == INVESTIGATION.c.investigation_id,
            )
            .exists()
        )
        query = (
            select(INVESTIGATION.c.request)
            .where(INVESTIGATION.c.tenant == self._tenant, ~ended)
            .order_by(INVESTIGATION.c.investigation_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [InvestigationRequest.model_validate(row.request) for row in connection.execute(query)]

    def without_history(self, *, ended_after: datetime, limit: int = 100) -> list[InvestigationId]:
        """Investigations that ended since then and whose history is not kept yet, the oldest first."""
        kept = (
            select(HISTORY.c.investigation_id)
            .where(
                HISTORY.c.tenant == INVESTIGATION_END.c.tenant,
                HISTORY.c.investigation_id == INVESTIGATION_END.c.investigation_id,
            )
            .exists()
        )
        query = (
            select(INVESTIGATION_END.c.investigation_id)
            .where(INVESTIGATION_END.c.tenant == self._tenant, INVESTIGATION_END.c.ended_at >= ended_after, ~kept)
            .order_by(INVESTIGATION_END.c.ended_at)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [InvestigationId(str(found)) for found in connection.scalars(query)]

    def reject(self, *, source: str, reason: str, content: bytes, received_at: datetime) -> None:
        """Keep and count an input that could not be used; its excerpt is bounded and redacted."""
        excerpt = self.redactor.redact(storable(content[:EXCERPT_LIMIT].decode(errors="replace")))
        with self._engine.begin() as connection:
            connection.execute(
                insert(REJECTED).values(
                    tenant=self._tenant,
                    rejected_id=uuid7(),
                    source=source,
                    reason=self.redactor.redact(storable(reason)),
                    size=len(content),
                    excerpt=excerpt,
                    received_at=received_at,
                )
            )

    def rejected_count(self) -> int:
        """How many inputs were rejected."""
        with self._engine.connect() as connection:
            return int(
                connection.scalar(select(func.count()).select_from(REJECTED).where(REJECTED.c.tenant == self._tenant))
                or 0
            )

    def request(self, investigation_id: InvestigationId) -> InvestigationRequest | None:
        """The request of an investigation; None when there is none of that id."""
        query = select(INVESTIGATION.c.request).where(
            INVESTIGATION.c.tenant == self._tenant, INVESTIGATION.c.investigation_id == investigation_id
        )
        with self._engine.connect() as connection:
            stored = connection.scalar(query)
        return None if stored is None else InvestigationRequest.model_validate(stored)

    def published_among(self, investigation_ids: Sequence[InvestigationId]) -> set[InvestigationId]:
        """Those of these investigations whose report is published."""
        query = select(REPORT.c.investigation_id).where(
            REPORT.c.tenant == self._tenant, REPORT.c.investigation_id.in_(investigation_ids)
        )
        with self._engine.connect() as connection:
            return {InvestigationId(str(found)) for found in connection.scalars(query)}

    def past(
        self,
        *,
        scope: str,
        as_of: datetime,
        alerting: Sequence[EntityId] = (),
        judged_first: bool = False,
        limit: int = 20,
    ) -> list[PastIncident]:
        """Closed incidents of a memory scope that were known at `as_of`, the latest first.

        Args:
            scope: the memory.
            as_of: nothing later is known.
            alerting: incidents whose alerts were about one of these come before others.
            judged_first: those of which a person has said something come before all others.
            limit: at most so many.
        """
        judged = (
            select(FEEDBACK.c.feedback_id)
            .where(FEEDBACK.c.tenant == PAST.c.tenant, FEEDBACK.c.investigation_id == PAST.c.investigation_id)
            .exists()
        )
        before = [judged.desc()] if judged_first else []
        before += [PAST.c.alerting.overlap(list(alerting)).desc()] if alerting else []
        query = (
            select(PAST)
            .where(PAST.c.tenant == self._tenant, PAST.c.scope == scope, PAST.c.known_from <= as_of)
            .order_by(*before, PAST.c.known_from.desc(), PAST.c.investigation_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                PastIncident.model_validate({name: getattr(row, name) for name in PastIncident.model_fields})
                for row in connection.execute(query)
            ]

    def _incident(self, connection: Connection, alert: Alert, scope: str, received_at: datetime) -> IncidentId:
        """The alert's incident; the advisory lock makes concurrent deliveries of one incident take turns."""
        identity = json.dumps([self._tenant, scope, alert.incident_key])
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(identity, 0))))
        connection.execute(
            insert(INCIDENT)
            .values(
                tenant=self._tenant,
                incident_id=uuid7(),
                scope=scope,
                incident_key=alert.incident_key,
                title=alert.title,
                opened_at=received_at,
            )
            .on_conflict_do_nothing()
        )
        found = connection.scalar(
            select(INCIDENT.c.incident_id).where(
                INCIDENT.c.tenant == self._tenant,
                INCIDENT.c.scope == scope,
                INCIDENT.c.incident_key == alert.incident_key,
            )
        )
        return IncidentId(str(found))

    def _latest(self, connection: Connection, incident_id: IncidentId) -> InvestigationRequest | None:
        stored = connection.scalar(
            select(INVESTIGATION.c.request)
            .where(INVESTIGATION.c.tenant == self._tenant, INVESTIGATION.c.incident_id == incident_id)
            .order_by(INVESTIGATION.c.ordinal.desc())
            .limit(1)
        )
        return None if stored is None else InvestigationRequest.model_validate(stored)

    def _quiet_until(
        self, connection: Connection, investigation_id: InvestigationId, quiet_time: timedelta
    ) -> datetime | None:
        """Until when a re-fire only counts: a published report has its quiet time, a lost investigation has none."""
        row = connection.execute(
            select(INVESTIGATION_END.c.how, INVESTIGATION_END.c.ended_at).where(
                INVESTIGATION_END.c.tenant == self._tenant, INVESTIGATION_END.c.investigation_id == investigation_id
            )
        ).first()
        if row is None:
            return None
        ended_at: datetime = row.ended_at
        return ended_at + quiet_time if row.how == PUBLISHED else ended_at

    def _open(
        self,
        connection: Connection,
        request: InvestigationRequest,
        previous: InvestigationRequest | None,
        engine_version: str,
        at: datetime,
    ) -> None:
        ordinal = connection.scalar(
            select(func.coalesce(func.max(INVESTIGATION.c.ordinal), 0) + 1).where(
                INVESTIGATION.c.tenant == self._tenant, INVESTIGATION.c.incident_id == request.incident_id
            )
        )
        connection.execute(
            insert(INVESTIGATION).values(
                tenant=self._tenant,
                investigation_id=request.investigation_id,
                incident_id=request.incident_id,
                ordinal=ordinal,
                previous_id=previous.investigation_id if previous else None,
                request=request.model_dump(mode="json"),
                engine_version=engine_version,
                opened_at=at,
            )
        )

    def _deliver(
        self, connection: Connection, alert: Alert, investigation_id: InvestigationId, at: datetime
    ) -> tuple[Joined, int]:
        connection.execute(
            insert(DELIVERY).values(
                tenant=self._tenant,
                delivery_id=uuid7(),
                investigation_id=investigation_id,
                fingerprint=alert.fingerprint,
                received_at=at,
            )
        )
        of_investigation = (ALERT.c.tenant == self._tenant, ALERT.c.investigation_id == investigation_id)
        known = connection.scalar(
            select(ALERT.c.number).where(*of_investigation, ALERT.c.fingerprint == alert.fingerprint)
        )
        if known is not None:
            return "repeat", int(known)
        number = int(
            connection.scalar(select(func.coalesce(func.max(ALERT.c.number), 0) + 1).where(*of_investigation)) or 1
        )
        connection.execute(
            insert(ALERT).values(
                tenant=self._tenant,
                investigation_id=investigation_id,
                fingerprint=alert.fingerprint,
                number=number,
                body=alert.model_dump(mode="json"),
                redaction_version=REDACTION_VERSION,
                received_at=at,
            )
        )
        return "new_alert", number
