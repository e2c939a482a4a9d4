"""Every activity's name, input, output, queue, time-outs and retry policy, in one place."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Generic, TypeVar

from temporalio.common import Priority, RetryPolicy

from workflows.contracts.alert import Severity
from workflows.contracts.contract import Contract
from workflows.contracts.investigation import (
    CollectResult,
    ConcludeResult,
    DeliberateResult,
    FindingsResult,
    InventoryResult,
    InvestigationRequest,
    PublishResult,
    RankResult,
    RecallResult,
    RememberResult,
    ScopeResult,
    StepInput,
)

INVESTIGATIONS = "investigations"
"""Queue of the workflow itself."""

LIVE = "live"
"""The backend of a request whose environment's sources are queried, each on its own queue."""

ANALYSIS = "analysis"
MEMORY = "memory"

NEVER_RETRIED = ("PayloadsTooLarge", "StepDefectError")
"""Failures that another attempt cannot mend."""

Output = TypeVar("Output", bound=Contract)


def telemetry_queue(source: str) -> str:
    """The queue of one configured source; all recordings have one together."""
    return f"telemetry-{source}"


def inference_queue(endpoint: str) -> str:
    """The queue of one endpoint of a model."""
    return f"inference-{endpoint}"


URGENCY = {Severity.CRITICAL: 0, Severity.INFO: 2}
"""Of an alert's severity, 0 the most urgent; 1 for all others."""

LEAST_URGENT = 5
"""Temporal's last priority key."""

FAIRNESS_KEY_LENGTH = 64
"""Bytes of a fairness key that Temporal takes."""


def _fairness_key(request: InvestigationRequest) -> str:
    whole = f"{request.tenant}/{request.service}".encode()
    return whole[:FAIRNESS_KEY_LENGTH].decode(errors="ignore")


@dataclass(frozen=True, kw_only=True)
class Step(Generic[Output]):
    """How one activity is called. Its input is always a `StepInput`."""

    name: str
    output: type[Output]
    queue: str | None
    """None: the queue of the source that it queries."""

    start_to_close: timedelta
    begins: bool = False
    """Whether it is the first step of an investigation on its queue: it waits until what has begun is finished."""

    stage: int = 0
    """How far an investigation is that gets here."""

    asks_model: bool = False
    """Whether it runs on the queue of the model's endpoint, where the request names one that can be asked."""

    computed: bool = False
    """Whether its result follows from stored answers alone, so that another version of the engine computes it anew."""

    def priority(self, request: InvestigationRequest) -> Priority:
        """Severe incidents first; of equally severe ones those that have begun; services take turns."""
        level = URGENCY.get(request.severity, 1)
        return Priority(
            priority_key=min(2 * level + (2 if self.begins else 1), LEAST_URGENT),
            fairness_key=_fairness_key(request),
        )

    def queue_for(self, given: StepInput) -> str:
        """The task queue this step runs on."""
        if self.asks_model and given.request.model and not given.without_model:
            return inference_queue(given.request.model)
        live = given.request.backend == LIVE
        return self.queue or telemetry_queue(given.source if live else given.request.backend)

    def key(self, given: StepInput) -> str:
        """Under which key its result is stored: one for each round and, where it queries one of several, source."""
        return f"{self.name}@{given.source}:{given.round}" if given.source else f"{self.name}:{given.round}"

    def retry_policy(self, request: InvestigationRequest) -> RetryPolicy:
        """Until it succeeds: exponential, from the request's first interval to half a minute."""
        return RetryPolicy(
            initial_interval=request.retry_interval,
            backoff_coefficient=2.0,
            maximum_interval=max(timedelta(seconds=30), request.retry_interval),
            maximum_attempts=0,
            non_retryable_error_types=list(NEVER_RETRIED),
        )


TELEMETRY_TRIES = 6
"""Times that a telemetry step tries an unreachable recording; then every unanswered probe gets a status."""

LIVE_TRIES = 3
"""The same for a source of a running system: while it is tried again, the report waits, and somebody for the report."""

LONGEST_INVESTIGATION = timedelta(days=7)
"""From start to end, outages and weekends included: after a week nobody waits for the answer."""

LONGEST_WORK = timedelta(hours=2)
"""Of one attempt, far above what the budgets allow; a worker that dies is noticed by its heartbeats, not by this."""

SCOPE = Step(name="scope", output=ScopeResult, queue=None, start_to_close=LONGEST_WORK, begins=True)
INVENTORY = Step(name="inventory", output=InventoryResult, queue=None, start_to_close=LONGEST_WORK, begins=True)
PLAN = Step(name="plan", output=ScopeResult, queue=ANALYSIS, start_to_close=LONGEST_WORK, stage=1)
RECALL = Step(name="recall", output=RecallResult, queue=MEMORY, start_to_close=timedelta(minutes=10))
COLLECT = Step(name="collect", output=CollectResult, queue=None, start_to_close=LONGEST_WORK, stage=1)
COLLECT_BEFORE_0_5 = replace(COLLECT, name="sweep")
"""Under which name investigations that began under 0.4 or older have scheduled it."""

FINDINGS = Step(
    name="findings", output=FindingsResult, queue=ANALYSIS, start_to_close=LONGEST_WORK, stage=2, computed=True
)
RANK = Step(name="rank", output=RankResult, queue=ANALYSIS, start_to_close=LONGEST_WORK, stage=3, computed=True)
DELIBERATE = Step(
    name="deliberate",
    output=DeliberateResult,
    queue=ANALYSIS,
    start_to_close=LONGEST_WORK,
    stage=3,
    asks_model=True,
)
MODEL_PATIENCE = timedelta(minutes=10)
"""How long an investigation waits for its turn at a model; then it goes on without."""

CONCLUDE = Step(
    name="conclude", output=ConcludeResult, queue=ANALYSIS, start_to_close=LONGEST_WORK, stage=4, computed=True
)
PUBLISH = Step(name="publish", output=PublishResult, queue=MEMORY, start_to_close=timedelta(minutes=10))
REMEMBER = Step(name="remember", output=RememberResult, queue=MEMORY, start_to_close=timedelta(minutes=10))

EVALUATIONS = "evaluations"
"""Queue of the evaluation workflow and its steps."""

REPLAY_CASE = "replay_case"
CLOSE_EVALUATION = "close_evaluation"
UPKEEP = "upkeep"
"""Queue of the workflow that looks after the library, and of its steps."""

REFRESH_LIBRARY = "refresh_library"
EMBED_LIBRARY = "embed_library"
UPKEEP_TRIES = 5
"""Of a step: after that the next turn of the schedule comes anyway."""

SHORT = timedelta(minutes=1)
LONGEST_CASE = timedelta(hours=2)
