"""A closed investigation, as later ones recall it."""

from typing import Annotated

from pydantic import Field

from workflows.contracts.contract import Contract, Instant
from workflows.contracts.finding import Mechanism
from workflows.contracts.identifiers import EntityName, InvestigationId


class Sign(Contract):
    """One symptom of an incident: which entity showed what."""

    entity: EntityName
    """The workload, where all that an instance's name adds is which one it was."""

    mechanism: Mechanism
    strength: Annotated[float, Field(ge=0, le=1)]


class PastIncident(Contract):
    """What an investigation found."""

    investigation_id: InvestigationId | None = None
    """None in captures of versions before 0.6."""

    known_from: Instant
    title: str
    entity: EntityName | None = None
    """The verdict's root cause."""

    fault_kind: str
    probability: float
    sentence: str
    """The verdict."""

    alerting: tuple[EntityName, ...] = ()
    """What its alerts were about."""

    signs: tuple[Sign, ...] = ()
    """In the order in which they began; none before 0.6."""
