"""The vocabulary: every model that crosses a boundary (process, history, database, bundle, API).

Fields are only ever added; a reader ignores fields it does not know, and an enum that is read from outside
turns a member it does not know into `unknown`.
"""

from workflows.contracts.alert import Alert, AlertStatus, Severity
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.claim import Claim, ClaimState
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import Contribution, FaultKind, Hypothesis
from workflows.contracts.identifiers import (
    ClaimKey,
    Digest,
    EntityId,
    IncidentId,
    InvestigationId,
    ProbeKey,
    Tenant,
    workflow_id_of,
)
from workflows.contracts.investigation import (
    Budget,
    InvestigationRequest,
    InvestigationResult,
    Progress,
    Purpose,
)
from workflows.contracts.observation import Coverage, Observation, ObservationStatus
from workflows.contracts.predicate import Predicate
from workflows.contracts.probe import Probe, Window
from workflows.contracts.report import Report
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind, Topology

__all__ = [
    "Alert",
    "AlertStatus",
    "Budget",
    "Change",
    "ChangeKind",
    "Claim",
    "ClaimKey",
    "ClaimState",
    "Contribution",
    "Coverage",
    "Digest",
    "Direction",
    "Edge",
    "EdgeKind",
    "Entity",
    "EntityId",
    "EntityKind",
    "FaultKind",
    "Finding",
    "FindingFamily",
    "Hypothesis",
    "IncidentId",
    "InvestigationId",
    "InvestigationRequest",
    "InvestigationResult",
    "Mechanism",
    "Observation",
    "ObservationStatus",
    "Predicate",
    "Probe",
    "ProbeKey",
    "Progress",
    "Purpose",
    "Report",
    "Severity",
    "Tenant",
    "Topology",
    "Window",
    "workflow_id_of",
]
