"""The outcome: what was found (canonical, equal for equal evidence) and how the run went."""

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from workflows.contracts.alert import Severity
from workflows.contracts.claim import Claim
from workflows.contracts.contract import Contract, EvolvedContract, Instant, OpenEnum
from workflows.contracts.finding import Finding
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.identifiers import Digest, EntityId, IncidentId, InvestigationId, ProbeKey, Tenant
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window


class Outcome(OpenEnum):
    CAUSE_FOUND = "cause_found"
    """One entity is likely, and clearly more so than any other."""

    CANDIDATES = "candidates"
    """Several entities share the probability, or one is likely and not clearly so."""

    INCONCLUSIVE = "inconclusive"
    """Nothing rises above the noise, or too little could be looked at."""

    NO_FAULT_FOUND = "no_fault_found"
    """What alerts was looked at, and nothing that people feel is out of its usual range."""

    RECOVERED = "recovered"
    """The symptom has ended, and no root cause was identified."""

    UNKNOWN = "unknown"


class ClaimCounts(Contract):
    """Claims by what became of them when code evaluated them again."""

    verified: int = 0
    contradicted: int = 0
    unsupported: int = 0

    @property
    def rejected(self) -> int:
        """How many did not hold."""
        return self.contradicted + self.unsupported


class Verdict(Contract):
    """The answer in one line."""

    outcome: Outcome
    entity: EntityId | None = None
    fault_kind: FaultKind = FaultKind.UNKNOWN
    fault_kind_probability: float = 0.0
    """How probable the kind is, given the entity."""

    probability: float = 0.0
    """How probable it is that the entity is the root cause."""

    change_id: str | None = None
    sentence: str
    recovered_at: Instant | None = None
    """When the symptom ended, where that can be seen; whatever the outcome."""

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
    """An entity that shows something and is hardly probable as root cause, and why."""

    entity: EntityId
    reason: str


class DataGap(Contract):
    """A query without an answer, and why."""

    tool: str
    entity: EntityId | None = None
    status: ObservationStatus | None = None
    """None when it was never run."""

    reason: str
    count: int = 1
    """How many queries share this reason."""


class RecalledPassage(Contract):
    """A passage of a document that fits the alerts, or what was found."""

    title: str
    heading: str = ""
    location: str
    text: str
    why: str = ""
    """How it was found."""


class Owner(Contract):
    """Who is to be told: somebody who owns what the incident touches."""

    owner: EntityId
    owns: tuple[EntityId, ...]
    """The suspect if it is theirs, then what alerts, then what else is affected."""


class ReportedFact(Contract):
    """Something that people know about what the incident touches."""

    fact_id: str
    subject: str
    statement: str
    owner: str = ""
    review_by: Instant | None = None
    used: bool
    """Whether it changed anything."""

    why: str
    """What it changed, or why it did not."""


class ReportFindings(EvolvedContract):
    """The canonical part: the same evidence gives the same bytes."""

    earlier_names: ClassVar[Mapping[str, str]] = {"unseen": "data_gaps"}
    verdict: Verdict
    hypotheses: tuple[Hypothesis, ...]
    claims: tuple[Claim, ...]
    """Verified claims only; the others stay in the ledger."""

    claim_counts: ClaimCounts = ClaimCounts()
    """All claims that were made, reported or not."""

    findings: tuple[Finding, ...]
    """Every finding that another part of the report refers to, and the strongest of the others."""

    findings_omitted: int = 0
    """Verified findings that are not listed here; they are in the ledger."""

    causal_chain: tuple[CausalStep, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    timeline_omitted: int = 0
    """Findings with a time that the timeline leaves out."""

    blast_radius: tuple[EntityId, ...] = ()
    owners: tuple[Owner, ...] = ()
    """The suspect's first."""

    ruled_out: tuple[RuledOut, ...] = ()
    data_gaps: tuple[DataGap, ...] = ()
    hints: tuple[str, ...] = ()
    """What people said while it ran, redacted."""

    recalled: tuple[str, ...] = ()
    """Past incidents that are alike, and why, the most alike first."""

    passages: tuple[RecalledPassage, ...] = ()
    """What the organisation has written down: about what was found, then about the alert, each the best first."""

    facts: tuple[ReportedFact, ...] = ()
    """What people know of what the incident touches, those that changed something first."""

    next_steps: tuple[str, ...] = ()
    """What to look at next, the most useful first."""

    window: Window
    alert_title: str
    alert_at: Instant
    severity: Severity = Severity.UNKNOWN
    engine_version: str


class StepTiming(Contract):
    step: str
    duration: timedelta


class SourceUse(Contract):
    """What an investigation has cost one source of its environment."""

    source: str
    queries: int
    bytes_received: int
    """Over the network, as compressed as the server sent them."""


class ModelUse(Contract):
    """What one language model was asked."""

    endpoint: str
    model: str
    fingerprint: str = ""
    """The server's own; empty where it gives none."""

    calls: int
    tokens: int
    seconds: float
    problems: dict[str, int] = Field(default_factory=dict)
    """Answers that counted for nothing, by why."""


class ReportRun(EvolvedContract):
    """How this run went: ids, times, cost. Differs between equal runs."""

    earlier_names: ClassVar[Mapping[str, str]] = {"probes_asked": "probes_answered"}
    tenant: Tenant
    investigation_id: InvestigationId
    incident_id: IncidentId
    previous_investigation_id: InvestigationId | None = None
    workflow_id: str
    started_at: Instant
    finished_at: Instant
    alert_count: int = 1
    probes_planned: int = 0
    """Queries that were to be run in all looks."""

    probes_left_open: int = 0
    """Queries that nothing chose: they were hardly expected to tell the suspects apart."""

    rounds: int = 1
    """Looks, the first included."""

    probes_answered: int = 0
    probes_by_status: dict[str, int] = Field(default_factory=dict)
    bytes_stored: int = 0
    tokens: int = 0
    retries: int = 0
    steps: tuple[StepTiming, ...] = ()
    sources: tuple[SourceUse, ...] = ()
    models: tuple[ModelUse, ...] = ()
    """Which language models were asked; empty when none was."""

    model_problem: str = ""
    """Why the model that the request names had no say in the last turn; empty when it had, or none is named."""

    """Empty where a recording answered."""

    stopped_by: str | None = None
    """`budget`, `person` or `cancel` when it ended early."""


class Report(Contract):
    """The outcome of one investigation."""

    schema_version: int = 2
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
