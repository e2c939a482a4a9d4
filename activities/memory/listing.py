"""Finding earlier investigations again."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from activities.memory.tables import INCIDENT, INVESTIGATION, INVESTIGATION_END, REPORT
from workflows.contracts.identifiers import InvestigationId, Tenant
from workflows.contracts.report import ReportFindings


@dataclass(frozen=True, kw_only=True)
class InvestigationRow:
    """A line of `inquest list`."""

    investigation_id: InvestigationId
    incident_id: str
    title: str
    opened_at: datetime
    ended: str | None
    sentence: str | None
    previous_id: str | None


def list_investigations(engine: Engine, tenant: Tenant, *, limit: int) -> list[InvestigationRow]:
    """The latest investigations, newest first."""
    query = (
        select(
            INVESTIGATION.c.investigation_id,
            INVESTIGATION.c.incident_id,
            INVESTIGATION.c.previous_id,
            INVESTIGATION.c.opened_at,
            INCIDENT.c.title,
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
        .where(INVESTIGATION.c.tenant == tenant)
        .order_by(INVESTIGATION.c.investigation_id.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return [
            InvestigationRow(
                investigation_id=InvestigationId(row.investigation_id),
                incident_id=row.incident_id,
                title=row.title,
                opened_at=row.opened_at,
                ended=row.how,
                sentence=ReportFindings.model_validate_json(row.findings).verdict.sentence if row.findings else None,
                previous_id=row.previous_id,
            )
            for row in connection.execute(query)
        ]
