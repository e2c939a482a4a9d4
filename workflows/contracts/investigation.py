"""What goes into and comes out of the investigation workflow and its steps. References, never telemetry."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from workflows.contracts.alert import Severity
from workflows.contracts.contract import Contract, EvolvedContract, Instant
from workflows.contracts.environment import MOST_SOURCES, SourceRef
from workflows.contracts.identifiers import (
    DEFAULT_TENANT,
    Digest,
    EntityId,
    IncidentId,
    InvestigationId,
    Name,
    Tenant,
)


class Purpose(StrEnum):
    """Why an investigation is run."""

    LIVE = "live"
    EVALUATION = "evaluation"
    REPLAY = "replay"


MOST_ROUNDS = 20


class Budget(Contract):
    """What an investigation may spend."""

    probes: Annotated[int, Field(ge=0)] = 5_000
    seconds: Annotated[float, Field(ge=0)] = 600.0
    """Time in finished attempts of telemetry steps; down time does not count."""

    tokens: Annotated[int, Field(ge=0)] = 0
    rounds: Annotated[int, Field(ge=0, le=MOST_ROUNDS)] = 0
    """Further looks, each chosen by what the ranking so far leaves open; 0: everything planned is queried at once."""


class InvestigationRequest(Contract):
    """The workflow's input. Bounded and validated before the start: a bad input would block it for ever."""

    tenant: Tenant = DEFAULT_TENANT
    investigation_id: InvestigationId
    incident_id: IncidentId
    as_of: Instant
    """Every window, validity and recall is computed from this, never from the clock."""

    purpose: Purpose = Purpose.LIVE
    backend: Name
    """Who answers: `live` is the environment's sources, each on a queue of its own; another one is queried on
    `telemetry-<backend>`."""

    source: Annotated[str, Field(max_length=4096)] = ""
    """For the `recorded` backend: the registered recording; requests from before 0.6 name its folder. Empty for a live
    environment."""

    sources: Annotated[tuple[SourceRef, ...], Field(max_length=MOST_SOURCES)] = ()
    """Of a live environment, or of one that was captured: what is queried where. Empty: `backend` answers all."""

    memory_scope: Annotated[str, Field(min_length=1, max_length=256)] = "live"
    """Which past incidents it may recall and will add to: `live`, or one of its own per replay."""

    service: Annotated[str, Field(max_length=200)] = ""
    environment: Annotated[str, Field(max_length=200)] = ""
    """The environment's name; of a recording, what the alert's labels say."""

    severity: Severity = Severity.UNKNOWN
    model: Annotated[str, Field(max_length=63)] = ""
    """The endpoint in the models file that may see this workload; empty: none is asked."""

    budget: Budget = Budget()
    retry_interval: timedelta = timedelta(seconds=1)
    """First retry interval of every step; tests use milliseconds."""

    heartbeat_timeout: timedelta = timedelta(seconds=10)
    """After this long without a heartbeat a step's worker is taken for dead."""

    code: Annotated[str, Field(max_length=200)] = ""
    """What only who holds the installation's key can make over all the other fields; empty before 0.6."""


class StepInput(Contract):
    """What every step gets: the request, and what the workflow decided so far."""

    request: InvestigationRequest
    round: int = 0
    """Every row a step writes carries the round; the report reads the last one."""

    stopped_by: str | None = None
    hints: tuple[int, ...] = ()
    """References to hints in the ledger, by their number."""

    alerts: int = 1
    """How many distinct alerts had joined when the step was started."""

    failed_steps: tuple[str, ...] = ()
    """Steps that met a defect of ours; the report names them."""

    without_model: bool = False
    """Whether the model could not be waited for any longer."""

    source: str = ""
    """The one source of the environment that this step queries; empty for all others."""


class InventoryResult(Contract):
    names: int
    """Label sets by which the source knows what exists."""


class ScopeResult(Contract):
    entities: int
    probes_planned: int
    """Queries of the first look."""

    left_open: int = 0
    """Planned queries that are run only if a later look chooses them."""

    over_budget: int = 0
    """Probes that were dropped because the budget has no room for them."""


class RecallResult(Contract):
    """How much of what the organisation knows; all of it is in the ledger."""

    incidents: int = 0
    facts: int = 0
    passages: int = 0
    sentences: tuple[Annotated[str, Field(max_length=400)], ...] = ()
    """Verdicts of past incidents, in results of versions before 0.6 only."""


class CollectResult(EvolvedContract):
    earlier_names: ClassVar[Mapping[str, str]] = {"asked": "answered"}
    answered: int
    """Probes with a committed answer, earlier attempts included."""

    missing: int
    """Probes without any: budget, stop or an outage."""

    seconds: float
    """Time this attempt took."""

    statuses: dict[str, int] = Field(default_factory=dict)


class FindingsResult(Contract):
    findings: int
    families: dict[str, int] = Field(default_factory=dict)
    verified: int = 0
    rejected: int = 0
    """Findings whose statement did not hold when it was evaluated again."""

    telemetry_from: Instant | None = None
    """The earliest metric, line or span of all answers; None without any."""


class RankResult(Contract):
    hypotheses: int
    entity: EntityId | None = None
    fault_kind: str = "unknown"
    probability: float = 0.0


class DeliberateResult(Contract):
    """What one more look asks for; which queries these are is in the ledger."""

    chosen: int
    """Queries of the next round."""

    opinions: int = 0
    """Opinions of a model that the ranking does not know yet. Without them, and without queries, it is over."""

    sources: tuple[Name, ...] = ()
    """Which of the environment's sources they are put to."""


class ConcludeResult(EvolvedContract):
    earlier_names: ClassVar[Mapping[str, str]] = {"refused": "rejected"}
    verified: int
    rejected: int
    outcome: str
    sentence: str
    root_cause: str = ""
    """The suspected root cause, empty when there is none."""


class PublishResult(Contract):
    findings_sha256: Digest
    partial: bool = False


class RememberResult(Contract):
    remembered: bool


class Phase(StrEnum):
    """What an investigation is doing."""

    INVENTORY = "inventory"
    PLAN = "plan"
    SCOPE = "scope"
    RECALL = "recall"
    COLLECT = "collect"
    FINDINGS = "findings"
    RANK = "rank"
    DELIBERATE = "deliberate"
    CONCLUDE = "conclude"
    PUBLISH = "publish"
    REMEMBER = "remember"
    DONE = "done"


class Progress(EvolvedContract):
    """The workflow's own view of itself; live probe progress is read from the ledger."""

    earlier_names: ClassVar[Mapping[str, str]] = {"probes_asked": "probes_answered"}
    phase: Phase
    probes_planned: int = 0
    probes_answered: int = 0
    hints: int = 0
    stopped_by: str | None = None
    outcome: str = ""
    """The verdict's sentence once there is one."""


class HintRef(Contract):
    """Points at a hint in the ledger; the text itself never enters the history."""

    number: Annotated[int, Field(ge=1)]


class InvestigationResult(Contract):
    investigation_id: InvestigationId
    outcome: str
    sentence: str
    findings_sha256: Digest
    partial: bool = False
