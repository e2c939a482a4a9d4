"""What a monitoring system said."""

from typing import Annotated

from pydantic import Field, StringConstraints

from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.identifiers import EntityName, Name

LabelValue = Annotated[str, StringConstraints(max_length=4096)]
Labels = Annotated[dict[Name, LabelValue], Field(max_length=128)]


class AlertStatus(OpenEnum):
    """Whether the source says that the symptom lasts."""

    FIRING = "firing"
    RESOLVED = "resolved"
    UNKNOWN = "unknown"


class Severity(OpenEnum):
    """How bad the source says it is."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    UNKNOWN = "unknown"


class Alert(Contract):
    """One notification from a monitoring system."""

    source: Name
    """Which system spoke, for instance `alertmanager`."""

    fingerprint: Name
    """The source's own identity of this alert; equal for every repeat."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """One line for people."""

    starts_at: Instant
    """When the symptom began to fire, by the source's clock."""

    status: AlertStatus = AlertStatus.FIRING
    severity: Severity = Severity.UNKNOWN

    group_key: Name | None = None
    """The source's grouping, when it has one: alerts with one key belong to one incident."""

    entity: EntityName | None = None
    """What the alert is about, when it says so."""

    labels: Labels = Field(default_factory=dict)
    annotations: Labels = Field(default_factory=dict)

    @property
    def incident_key(self) -> str:
        """What decides which incident this alert belongs to."""
        return f"group:{self.group_key}" if self.group_key else f"fingerprint:{self.source}:{self.fingerprint}"
