"""The investigation: what happens, in which order, durably."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.contracts.contract import Contract
    from workflows.contracts.identifiers import InvestigationId, workflow_id_of
    from workflows.contracts.investigation import (
        CollectResult,
        ConcludeResult,
        DeliberateResult,
        FindingsResult,
        HintRef,
        InventoryResult,
        InvestigationRequest,
        InvestigationResult,
        Phase,
        Progress,
        PublishResult,
        RankResult,
        ScopeResult,
        StepInput,
    )
    from workflows.steps import Step

Output = TypeVar("Output", bound=Contract)
Result = TypeVar("Result")

ROOT_CAUSE = SearchAttributeKey.for_keyword("RootCause")
VERDICT = SearchAttributeKey.for_keyword("Verdict")
LONGEST_ATTRIBUTE = 200
MOST_HINTS = 100
TOO_LATE, TOO_MANY = "TooLate", "TooMany"
"""Types of the errors with which updates are rejected."""

COLLECT_RENAMED = "collect"
"""Patch of 0.5: the step that 0.4 and older called `sweep`."""


@workflow.defn(name="investigation", failure_exception_types=[ApplicationError])
class Investigation:
    """The durable investigation of one incident. Query `progress`; update with `add_hint` and `stop`."""

    @workflow.init
    def __init__(self, request: InvestigationRequest) -> None:
        self._request = request
        self._phase = Phase.SCOPE
        self._scope = ScopeResult(entities=0, probes_planned=0)
        self._answered = 0
        self._hints: list[int] = []
        self._alerts = 1
        self._resolved = 0
        self._stopped_by: str | None = None
        self._collecting = True
        self._failed_steps: list[str] = []
        self._sentence = ""
        self._collections: list[workflow.ActivityHandle[CollectResult]] = []
        self._round = 0
        self._planned = 0
        self._ranked: StepInput | None = None
        self._without_model = False
        self._rank = RankResult(hypotheses=0)

    @workflow.run
    async def run(self, request: InvestigationRequest) -> InvestigationResult:
        """Scope, recall, then collect, findings and rank, once and once more for each further look that is worth it,
        then conclude, publish, remember.

        A cancel, a stop or a spent budget ends the collection, never the report; nor does a defect of any step.
        """
        if workflow.info().workflow_id != workflow_id_of(InvestigationId(request.investigation_id)):
            raise ApplicationError("the workflow id is not the investigation's", non_retryable=True)
        self._scope = await self._undisturbed(self._scoping())
        self._planned = self._scope.probes_planned
        await self._undisturbed(self._recalling())
        if self._stopped_by is None:
            self._answered = await self._undisturbed(self._collect(self._first_sources()))
        await self._undisturbed(self._deliberating())
        self._collecting = False
        return await self._undisturbed(self._reporting())

    async def _scoping(self) -> ScopeResult:
        if self._request.sources:
            return await self._planning()
        try:
            return await self._step(steps.SCOPE, f"what to query {self._request.backend} for")
        except ActivityError:
            self._stopped_by = self._stopped_by or "outage"
            return self._scope

    async def _recalling(self) -> None:
        """Memory helps, and its failure costs nothing else."""
        with suppress(ActivityError):
            await self._step(steps.RECALL, "recall past incidents")

    async def _planning(self) -> ScopeResult:
        """Which names each source knows, then who is who and what to query; a source that is away costs its own."""
        await asyncio.gather(*(self._inventory(source.name) for source in self._request.sources if source.knows_names))
        try:
            return await self._step(steps.PLAN, f"who is who, and what to query {self._about} for")
        except ActivityError:
            self._stopped_by = self._stopped_by or "outage"
            return self._scope

    async def _inventory(self, source: str) -> InventoryResult:
        try:
            return await self._step(steps.INVENTORY, f"what {source} knows", self._input(source))
        except ActivityError:
            self._failed_steps.append(f"{steps.INVENTORY.name} of {source}")
            return InventoryResult(names=0)

    def _first_sources(self) -> list[tuple[Step[CollectResult], str]]:
        """Who is queried in the first look, and by which step."""
        if self._request.sources:
            return [(steps.COLLECT, source.name) for source in self._request.sources]
        return [(steps.COLLECT if workflow.patched(COLLECT_RENAMED) else steps.COLLECT_BEFORE_0_5, "")]

    async def _deliberating(self) -> None:
        """Rank what is known and look once more, for as long as a look is worth it and the budget has room for it."""
        while self._round < self._request.budget.rounds and self._stopped_by is None:
            chosen = await self._next_look()
            if not (chosen.chosen or chosen.opinions) or self._stopped_by is not None:
                return
            self._round += 1
            if not chosen.chosen:
                continue
            self._planned += chosen.chosen
            planned = [(steps.COLLECT, source) for source in chosen.sources or ("",)]
            self._answered += await self._collect(planned)

    async def _next_look(self) -> DeliberateResult:
        """What the ranking so far leaves open; nothing where a step of it fails.

        The conclusion meets a defect of findings or ranking again; one of choosing is named here.
        """
        given = self._input()
        try:
            findings = await self._step(steps.FINDINGS, f"what {self._answered} answers say", given)
            self._rank = await self._step(steps.RANK, f"which root cause explains {findings.verified} findings", given)
            self._ranked = given
        except ActivityError:
            return DeliberateResult(chosen=0)
        try:
            return await self._deliberate(given)
        except ActivityError:
            self._failed_steps.append(steps.DELIBERATE.name)
            return DeliberateResult(chosen=0)

    async def _deliberate(self, given: StepInput) -> DeliberateResult:
        """Choose what to look at next, with the model unless it keeps us waiting or a defect stands in the way."""
        if self._request.model and not self._without_model:
            summary = f"what to look at next, with the model {self._request.model}"
            try:
                return await self._step(steps.DELIBERATE, summary, given, patience=steps.MODEL_PATIENCE)
            except ActivityError:
                self._without_model = True
        return await self._step(
            steps.DELIBERATE, "what to look at next", given.model_copy(update={"without_model": self._without_model})
        )

    async def _collect(self, planned: list[tuple[Step[CollectResult], str]]) -> int:
        self._enter(Phase.COLLECT)
        self._collections = [self._start_collection(step, source) for step, source in planned]
        if self._stopped_by is not None:
            for collection in self._collections:
                collection.cancel()
        results = await asyncio.gather(*self._collections, return_exceptions=True)
        answered = 0
        for result, (_, source) in zip(results, planned, strict=True):
            if isinstance(result, CollectResult):
                answered += result.answered
                if result.missing and self._stopped_by is None:
                    self._stopped_by = "budget"
            elif not isinstance(result, ActivityError):
                raise result
            elif source:
                self._failed_steps.append(f"{steps.COLLECT.name} of {source}")
            else:
                self._stopped_by = self._stopped_by or "outage"
        return answered

    def _start_collection(self, step: Step[CollectResult], source: str) -> workflow.ActivityHandle[CollectResult]:
        given = self._input(source)
        whom = source or self._request.backend
        return workflow.start_activity(
            step.name,
            given,
            result_type=CollectResult,
            task_queue=step.queue_for(given),
            start_to_close_timeout=step.start_to_close,
            heartbeat_timeout=self._request.heartbeat_timeout,
            retry_policy=step.retry_policy(self._request),
            priority=step.priority(self._request),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"query {whom}" if source else f"run {self._planned - self._answered} queries on {whom}",
        )

    async def _reporting(self) -> InvestigationResult:
        conclude = await self._analysing()
        self._sentence = conclude.sentence
        workflow.upsert_search_attributes(
            [
                ROOT_CAUSE.value_set(conclude.root_cause[:LONGEST_ATTRIBUTE]),
                VERDICT.value_set(conclude.outcome),
            ]
        )
        published = await self._publishing(conclude.sentence[:LONGEST_ATTRIBUTE])
        with suppress(ActivityError):  # the report is out; that it cannot be remembered costs nothing else
            await self._step(steps.REMEMBER, "keep it for later incidents")
        self._enter(Phase.DONE)
        return InvestigationResult(
            investigation_id=self._request.investigation_id,
            outcome=conclude.outcome,
            sentence=conclude.sentence,
            findings_sha256=published.findings_sha256,
            partial=published.partial,
        )

    async def _analysing(self) -> ConcludeResult:
        """From answers to a verdict, all on one input: what arrives meanwhile is for the next investigation."""
        if self._ranked is not None and self._ranked.round == self._round and self._heard_since(self._ranked):
            self._round += 1
        given = self._input()
        step: Step[FindingsResult] | Step[RankResult] | Step[ConcludeResult] = steps.FINDINGS
        try:
            if self._ranked is None or self._ranked.round != self._round:
                findings = await self._step(steps.FINDINGS, f"what {self._answered} answers say", given)
                step = steps.RANK
                self._rank = await self._step(
                    steps.RANK, f"which root cause explains {findings.verified} findings", given
                )
            step = steps.CONCLUDE
            return await self._step(steps.CONCLUDE, f"describe {self._rank.entity or 'no root cause'}", given)
        except ActivityError:
            self._failed_steps.append(step.name)
            sentence = f"The step {step.name} failed; the answers are in the ledger."
            return ConcludeResult(verified=0, rejected=0, outcome="inconclusive", sentence=sentence)

    def _heard_since(self, ranked: StepInput) -> bool:
        """Whether people or alerts said something that this ranking does not know."""
        return ranked.hints != tuple(self._hints) or ranked.alerts != self._alerts

    async def _publishing(self, summary: str) -> PublishResult:
        """Write the report out; where that fails by a defect, once more with as little as can fail."""
        try:
            return await self._step(steps.PUBLISH, summary)
        except ActivityError:
            self._failed_steps.append(steps.PUBLISH.name)
            return await self._step(steps.PUBLISH, "the least that can be reported")

    async def _step(
        self,
        step: Step[Output],
        summary: str,
        given: StepInput | None = None,
        *,
        patience: timedelta | None = None,
    ) -> Output:
        self._enter(Phase(step.name))
        given = given or self._input()
        result: Output = await workflow.execute_activity(
            step.name,
            given,
            result_type=step.output,
            task_queue=step.queue_for(given),
            schedule_to_start_timeout=patience,
            start_to_close_timeout=step.start_to_close,
            heartbeat_timeout=self._request.heartbeat_timeout,
            retry_policy=step.retry_policy(self._request),
            priority=step.priority(self._request),
            summary=summary,
        )
        return result

    async def _undisturbed(self, work: Coroutine[None, None, Result]) -> Result:
        """Finish `work` whatever is cancelled; a cancel is noted and ends the collection."""
        task = asyncio.ensure_future(work)
        while True:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise
                self._end_collection("cancel")

    def _end_collection(self, by: str) -> None:
        if not self._collecting:
            return
        self._stopped_by = self._stopped_by or by
        for collection in self._collections:
            if not collection.done():
                collection.cancel()

    @property
    def _about(self) -> str:
        """Who is queried."""
        return self._request.environment if self._request.sources else self._request.backend

    def _input(self, source: str = "") -> StepInput:
        return StepInput(
            request=self._request,
            round=self._round,
            source=source,
            stopped_by=self._stopped_by,
            hints=tuple(self._hints),
            alerts=self._alerts,
            failed_steps=tuple(self._failed_steps),
        )

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        lines = [
            f"**Phase** {phase.value}",
            f"**Answered** {self._answered} of {self._planned} queries on `{self._about}`",
        ]
        if self._scope.over_budget:
            lines.append(f"**Left out** {self._scope.over_budget} queries over the budget")
        if self._resolved:
            lines.append(f"**Resolved** {self._resolved} of its alerts no longer fire")
        if self._stopped_by:
            lines.append(f"**Ended early** by {self._stopped_by}")
        if self._failed_steps:
            lines.append(f"**Failed** {', '.join(self._failed_steps)}, by a defect of Inquest")
        if self._sentence:
            lines.append(f"**Verdict** {self._sentence}")
        workflow.set_current_details("\n\n".join(lines))

    @workflow.query
    def progress(self) -> Progress:
        """Where the investigation is."""
        return Progress(
            phase=self._phase,
            probes_planned=self._planned,
            probes_answered=self._answered,
            hints=len(self._hints),
            stopped_by=self._stopped_by,
            outcome=self._sentence,
        )

    @workflow.signal
    def alert_joined(self, number: int) -> None:
        """A further alert of the incident arrived; `number` refers to it in the ledger."""
        self._alerts = max(self._alerts, number)

    @workflow.signal
    def alert_resolved(self) -> None:
        """An alert of the incident no longer fires. What led to it is still looked for."""
        self._resolved += 1

    @workflow.update
    def add_hint(self, hint: HintRef) -> int:
        """Take a person's hint into account; the text is in the ledger. Returns how many there are."""
        if hint.number not in self._hints:
            self._hints.append(hint.number)
        return len(self._hints)

    @add_hint.validator
    def _can_take_hint(self, hint: HintRef) -> None:  # noqa: ARG002 - the update's own signature
        if not self._collecting:
            raise ApplicationError("too late for a hint: the conclusion is being drawn", type=TOO_LATE)
        if len(self._hints) >= MOST_HINTS:
            raise ApplicationError(f"an investigation takes at most {MOST_HINTS} hints", type=TOO_MANY)

    @workflow.update
    def stop(self) -> bool:
        """End the collection and report what is known. Returns True."""
        self._end_collection("person")
        return True

    @stop.validator
    def _can_stop(self) -> None:
        if not self._collecting:
            raise ApplicationError(
                "nothing to stop: everything was queried and the conclusion is being drawn", type=TOO_LATE
            )
