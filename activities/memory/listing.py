"""Finding earlier investigations again."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, select

from activities.memory.tables import INCIDENT, INVESTIGATION, INVESTIGATION_END, REPORT
from workflows.contracts.identifiers import InvestigationId, Tenant
from workflows.contracts.investigation import Purpose
from workflows.contracts.report import ReportFindings


@dataclass(frozen=True, kw_only=True)
class InvestigationRow:
    """A line of `inquest list`."""

    investigation_id: InvestigationId
    incident_id: str
    title: str
    service: str
    severity: str
    opened_at: datetime
    ended: str | None
    sentence: str | None
    previous_id: str | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which investigations are listed; all of them unless something is said."""

    service: str | None = None
    opened_after: datetime | None = None
    live: bool | None = None
    """True: of live alerts. False: replays and evaluations."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """For the query."""
        found: list[ColumnElement[bool]] = []
        if self.service is not None:
            found.append(INVESTIGATION.c.request["service"].astext == self.service)
        if self.opened_after is not None:
            found.append(INVESTIGATION.c.opened_at >= self.opened_after)
        if self.live is not None:
            is_live = INVESTIGATION.c.request["purpose"].astext == Purpose.LIVE.value
            found.append(is_live if self.live else ~is_live)
        return found


def list_investigations(
    engine: Engine, tenant: Tenant, *, limit: int, wanted: Wanted | None = None
) -> list[InvestigationRow]:
    """The latest investigations, newest first."""
    query = (
        select(
            INVESTIGATION.c.investigation_id,
            INVESTIGATION.c.incident_id,
            INVESTIGATION.c.previous_id,
            INVESTIGATION.c.opened_at,
            INCIDENT.c.title,
            INVESTIGATION.c.request["service"].astext.label("service"),
            INVESTIGATION.c.request["severity"].astext.label("severity"),
            INVESTIGATION_END.c.how,
            REPORT.c.findings,
        )
        .join(
            INCIDENT,
            (INCIDENT.c.tenant == INVESTIGATION.c.tenant) & (INCIDENT.c.incident_id == INVESTIGATION.c.incident_id),
        )
        .outerjoin(
            INVESTIGATION_END,
            (INVESTIGATION_END.c.tenant == INVESTIGATION.c.tenant)
            & (INVESTIGATION_END.c.investigation_id == INVESTIGATION.c.investigation_id),
        )
        .outerjoin(
            REPORT,
            (REPORT.c.tenant == INVESTIGATION.c.tenant)
            & (REPORT.c.investigation_id == INVESTIGATION.c.investigation_id),
        )
        .where(INVESTIGATION.c.tenant == tenant, *(wanted or Wanted()).conditions())
        .order_by(INVESTIGATION.c.investigation_id.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return [
            InvestigationRow(
                investigation_id=InvestigationId(row.investigation_id),
                incident_id=row.incident_id,
                title=row.title,
                service=row.service or "",
                severity=row.severity or "",
                opened_at=row.opened_at,
                ended=row.how,
                sentence=ReportFindings.model_validate_json(row.findings).verdict.sentence if row.findings else None,
                previous_id=row.previous_id,
            )
            for row in connection.execute(query)
        ]
