"""The inquiry: what happens, in which order, durably."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.contracts.contract import Contract
    from workflows.contracts.identifiers import InvestigationId, workflow_id_of
    from workflows.contracts.investigation import (
        ConcludeResult,
        HintRef,
        InvestigationRequest,
        InvestigationResult,
        Phase,
        Progress,
        ScopeResult,
        StepInput,
        SweepResult,
    )
    from workflows.steps import Step

Output = TypeVar("Output", bound=Contract)
Result = TypeVar("Result")

ROOT_CAUSE = SearchAttributeKey.for_keyword("RootCause")
VERDICT = SearchAttributeKey.for_keyword("Verdict")
LONGEST_ATTRIBUTE = 200
ANALYSIS_FAILED = "The analysis failed; the answers are in the ledger."


@workflow.defn(name="investigation", failure_exception_types=[ApplicationError])
class Investigation:
    """One inquiry into one incident. A person may query `progress`, and update with `add_hint` and `stop`."""

    @workflow.init
    def __init__(self, request: InvestigationRequest) -> None:
        self._request = request
        self._phase = Phase.SCOPE
        self._scope = ScopeResult(entities=0, probes_planned=0)
        self._asked = 0
        self._hints: list[int] = []
        self._alerts = 1
        self._stopped_by: str | None = None
        self._asking = True
        self._sentence = ""
        self._sweep: workflow.ActivityHandle[SweepResult] | None = None

    @workflow.run
    async def run(self, request: InvestigationRequest) -> InvestigationResult:
        """Scope, recall, sweep, findings, rank, conclude, publish, remember.

        A cancel, a stop or a spent budget ends the asking, never the report.
        """
        if workflow.info().workflow_id != workflow_id_of(InvestigationId(request.investigation_id)):
            raise ApplicationError("the workflow id is not the investigation's", non_retryable=True)
        self._scope = await self._undisturbed(self._scoping())
        await self._undisturbed(self._recalling())
        if self._stopped_by is None:
            self._asked = await self._undisturbed(self._sweeping())
        self._asking = False
        return await self._undisturbed(self._reporting())

    async def _scoping(self) -> ScopeResult:
        try:
            return await self._step(steps.SCOPE, f"what to ask {self._request.backend}")
        except ActivityError:
            self._stopped_by = self._stopped_by or "outage"
            return self._scope

    async def _recalling(self) -> None:
        """Memory helps, and its failure costs nothing else."""
        with suppress(ActivityError):
            await self._step(steps.RECALL, "recall past incidents")

    async def _sweeping(self) -> int:
        self._enter(Phase.SWEEP)
        summary = f"ask {self._request.backend} {self._scope.probes_planned} questions"
        self._sweep = workflow.start_activity(
            steps.SWEEP.name,
            self._input(),
            result_type=SweepResult,
            task_queue=steps.SWEEP.queue_for(self._request),
            start_to_close_timeout=steps.SWEEP.start_to_close,
            heartbeat_timeout=self._request.heartbeat_timeout,
            retry_policy=steps.SWEEP.retry_policy(self._request),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        )
        if self._stopped_by is not None:
            self._sweep.cancel()
        try:
            result = await self._sweep
        except ActivityError:
            self._stopped_by = self._stopped_by or "outage"
            return 0
        if result.missing and self._stopped_by is None:
            self._stopped_by = "budget"
        return result.asked

    async def _reporting(self) -> InvestigationResult:
        given = self._input()
        try:
            conclude = await self._analysing(given)
        except ActivityError:
            conclude = ConcludeResult(verified=0, refused=0, outcome="inconclusive", sentence=ANALYSIS_FAILED)
        self._sentence = conclude.sentence
        workflow.upsert_search_attributes(
            [
                ROOT_CAUSE.value_set(conclude.root_cause[:LONGEST_ATTRIBUTE]),
                VERDICT.value_set(conclude.outcome),
            ]
        )
        published = await self._step(steps.PUBLISH, conclude.sentence[:LONGEST_ATTRIBUTE], given)
        await self._step(steps.REMEMBER, "keep it for later incidents", given)
        self._enter(Phase.DONE)
        return InvestigationResult(
            investigation_id=self._request.investigation_id,
            outcome=conclude.outcome,
            sentence=conclude.sentence,
            findings_sha256=published.findings_sha256,
            partial=published.partial,
        )

    async def _analysing(self, given: StepInput) -> ConcludeResult:
        """From answers to a verdict, all on one input: what arrives meanwhile is for the next investigation."""
        findings = await self._step(steps.FINDINGS, f"what {self._asked} answers say", given)
        rank = await self._step(steps.RANK, f"which cause explains {findings.findings} findings", given)
        about = f"verify what is claimed about {rank.entity or 'no entity'}"
        return await self._step(steps.CONCLUDE, about, given)

    async def _step(self, step: Step[Output], summary: str, given: StepInput | None = None) -> Output:
        self._enter(Phase(step.name))
        result: Output = await workflow.execute_activity(
            step.name,
            given or self._input(),
            result_type=step.output,
            task_queue=step.queue_for(self._request),
            start_to_close_timeout=step.start_to_close,
            heartbeat_timeout=self._request.heartbeat_timeout,
            retry_policy=step.retry_policy(self._request),
            summary=summary,
        )
        return result

    async def _undisturbed(self, work: Coroutine[None, None, Result]) -> Result:
        """Finish `work` whatever is cancelled; a cancel is noted and ends the asking."""
        task = asyncio.ensure_future(work)
        while True:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise
                self._end_asking("cancel")

    def _end_asking(self, by: str) -> None:
        if not self._asking:
            return
        self._stopped_by = self._stopped_by or by
        if self._sweep is not None and not self._sweep.done():
            self._sweep.cancel()

    def _input(self) -> StepInput:
        return StepInput(
            request=self._request, stopped_by=self._stopped_by, hints=tuple(self._hints), alerts=self._alerts
        )

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        lines = [
            f"**Phase** {phase.value}",
            f"**Asked** {self._asked} of {self._scope.probes_planned} questions to `{self._request.backend}`",
        ]
        if self._scope.over_budget:
            lines.append(f"**Left out** {self._scope.over_budget} questions over the budget")
        if self._stopped_by:
            lines.append(f"**Ended early** by {self._stopped_by}")
        if self._sentence:
            lines.append(f"**Verdict** {self._sentence}")
        workflow.set_current_details("\n\n".join(lines))

    @workflow.query
    def progress(self) -> Progress:
        """Where the inquiry is."""
        return Progress(
            phase=self._phase,
            probes_planned=self._scope.probes_planned,
            probes_asked=self._asked,
            hints=len(self._hints),
            stopped_by=self._stopped_by,
            outcome=self._sentence,
        )

    @workflow.signal
    def alert_joined(self, number: int) -> None:
        """A further alert of the incident arrived; `number` refers to it in the ledger."""
        self._alerts = max(self._alerts, number)

    @workflow.update
    def add_hint(self, hint: HintRef) -> int:
        """Take a person's hint into account; the text is in the ledger. Returns how many there are."""
        if hint.number not in self._hints:
            self._hints.append(hint.number)
        return len(self._hints)

    @add_hint.validator
    def _can_take_hint(self, hint: HintRef) -> None:  # noqa: ARG002 - the update's own signature
        if not self._asking:
            raise ApplicationError("too late for a hint: the conclusion is being drawn")

    @workflow.update
    def stop(self) -> bool:
        """End the asking and report what is known. Returns True."""
        self._end_asking("person")
        return True

    @stop.validator
    def _can_stop(self) -> None:
        if not self._asking:
            raise ApplicationError("nothing to stop: everything was asked and the conclusion is being drawn")
