"""The outcome: what was found (canonical, equal for equal evidence) and how the run went."""

from datetime import timedelta

from pydantic import Field

from workflows.contracts.alert import Severity
from workflows.contracts.claim import Claim
from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.finding import Finding
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.identifiers import Digest, EntityId, IncidentId, InvestigationId, ProbeKey, Tenant
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window


class Outcome(OpenEnum):
    CAUSE_FOUND = "cause_found"
    """One hypothesis stands well above all others."""

    CANDIDATES = "candidates"
    """A few hypotheses share the probability."""

    INCONCLUSIVE = "inconclusive"
    """Nothing rises above the noise, or too little could be looked at."""

    UNKNOWN = "unknown"


class Verdict(Contract):
    """The answer in one line."""

    outcome: Outcome
    entity: EntityId | None = None
    fault_kind: FaultKind = FaultKind.UNKNOWN
    probability: float = 0.0
    change_id: str | None = None
    sentence: str
    partial: bool = False
    """True when a budget, a person or an outage kept something from being looked at."""


class CausalStep(Contract):
    """One link from the cause to the symptom."""

    source: EntityId
    target: EntityId
    sentence: str
    findings: tuple[str, ...] = ()


class TimelineEntry(Contract):
    at: Instant
    entity: EntityId | None = None
    sentence: str
    findings: tuple[str, ...] = ()


class RuledOut(Contract):
    """An entity that was looked at and why it is not the cause."""

    entity: EntityId
    reason: str


class DataGap(Contract):
    """A question without an answer."""

    tool: str
    entity: EntityId | None = None
    status: ObservationStatus | None = None
    """None when it was never asked."""

    reason: str
    count: int = 1
    """How many questions share this reason."""


class ReportFindings(Contract):
    """The canonical part: the same evidence gives the same bytes."""

    verdict: Verdict
    hypotheses: tuple[Hypothesis, ...]
    claims: tuple[Claim, ...]
    """Verified claims only; the others stay in the ledger."""

    claims_refused: int = 0
    """How many claims did not hold when they were evaluated again."""

    findings: tuple[Finding, ...]
    causal_chain: tuple[CausalStep, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    blast_radius: tuple[EntityId, ...] = ()
    ruled_out: tuple[RuledOut, ...] = ()
    data_gaps: tuple[DataGap, ...] = ()
    hints: tuple[str, ...] = ()
    """What people said while it ran, redacted."""

    recalled: tuple[str, ...] = ()
    """Sentences of past incidents that memory brought up."""

    window: Window
    alert_title: str
    alert_at: Instant
    severity: Severity = Severity.UNKNOWN
    engine_version: str


class StepTiming(Contract):
    step: str
    duration: timedelta


class ReportRun(Contract):
    """How this run went: ids, times, cost. Differs between equal runs."""

    tenant: Tenant
    investigation_id: InvestigationId
    incident_id: IncidentId
    previous_investigation_id: InvestigationId | None = None
    workflow_id: str
    started_at: Instant
    finished_at: Instant
    alert_count: int = 1
    probes_planned: int = 0
    probes_asked: int = 0
    probes_by_status: dict[str, int] = Field(default_factory=dict)
    bytes_stored: int = 0
    tokens: int = 0
    retries: int = 0
    steps: tuple[StepTiming, ...] = ()
    stopped_by: str | None = None
    """`budget`, `person` or `cancel` when it ended early."""


class Report(Contract):
    """The outcome of one investigation."""

    schema_version: int = 1
    findings: ReportFindings
    findings_sha256: Digest
    run: ReportRun


class ObservationSummary(Contract):
    """One probe and what became of it, for lists."""

    probe_key: ProbeKey
    tool: str
    entity: EntityId | None
    status: ObservationStatus | None
    row_count: int
    artifact: Digest | None
    detail: str = ""
