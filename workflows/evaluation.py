"""A suite of replays: one investigation a case, a few at once, each finished case finished for good."""

import asyncio

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.contracts.evaluation import (
        MOST_CASES,
        CaseInput,
        CaseOutcome,
        EvaluationProgress,
        EvaluationRequest,
    )


@workflow.defn(name="evaluation", failure_exception_types=[ApplicationError])
class Evaluation:
    """Replays every case of a suite through the product's own door. A case that fails is a result."""

    @workflow.init
    def __init__(self, request: EvaluationRequest) -> None:
        self._planned = request.cases * request.repeat
        self._finished = 0
        self._failed = 0

    @workflow.run
    async def run(self, request: EvaluationRequest) -> EvaluationProgress:
        """Replay all cases, `request.jobs` at once, and close the evaluation."""
        if self._planned > MOST_CASES:
            raise ApplicationError(
                f"{self._planned} replays are over {MOST_CASES}: split the suite", non_retryable=True
            )
        places = asyncio.Semaphore(request.jobs)
        await asyncio.gather(
            *(
                self._case(request, places, number, repeat)
                for repeat in range(request.repeat)
                for number in range(request.cases)
            )
        )
        await workflow.execute_activity(
            steps.CLOSE_EVALUATION,
            CaseInput(tenant=request.tenant, evaluation_id=request.evaluation_id, number=0, repeat=0),
            start_to_close_timeout=steps.SHORT,
            retry_policy=self._retries(request),
            summary="every case has its outcome",
        )
        return self.progress()

    async def _case(self, request: EvaluationRequest, places: asyncio.Semaphore, number: int, repeat: int) -> None:
        async with places:
            outcome: CaseOutcome = await workflow.execute_activity(
                steps.REPLAY_CASE,
                CaseInput(tenant=request.tenant, evaluation_id=request.evaluation_id, number=number, repeat=repeat),
                result_type=CaseOutcome,
                start_to_close_timeout=steps.LONGEST_CASE,
                heartbeat_timeout=request.heartbeat_timeout,
                retry_policy=self._retries(request),
                summary=f"case {number + 1} of {request.cases}, repeat {repeat + 1}",
            )
        self._finished += 1
        self._failed += outcome.failed
        workflow.set_current_details(
            f"**{request.suite}** {self._finished} of {self._planned} replays finished, {self._failed} failed"
        )

    def _retries(self, request: EvaluationRequest) -> RetryPolicy:
        """Until it succeeds; the step itself gives up on a case that keeps failing, and says so in its outcome."""
        return RetryPolicy(initial_interval=request.retry_interval, maximum_attempts=0)

    @workflow.query
    def progress(self) -> EvaluationProgress:
        """How far it is."""
        return EvaluationProgress(planned=self._planned, finished=self._finished, failed=self._failed)
