"""Running an evaluation: its workflow, the workers for it, and the file it ends in."""

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.memory.evaluations import Evaluations, Standing
from activities.memory.uuid7 import uuid7
from evals.baselines import NOTES
from evals.meter import Meter
from evals.plan import Plan
from evals.replay import ReplayActivities
from evals.results import CaseResult, EvaluationFile
from evals.scoring import score
from workers.installation import Installation
from workers.worker import PASSED_THROUGH
from workflows.contracts.evaluation import EvaluationId, EvaluationRequest, evaluation_workflow_id
from workflows.contracts.version import ENGINE_VERSION
from workflows.evaluation import Evaluation
from workflows.steps import EVALUATIONS


class EvaluationEndedError(Exception):
    """An evaluation's workflow was ended before every case had its outcome; give the command again to begin anew."""


class Running:
    """An evaluation under way. As a context manager it runs the workers and gives a task with the results."""

    def __init__(self, installation: Installation, plan: Plan, evaluation_id: EvaluationId) -> None:
        self.plan = plan
        self.planned = len(plan.cases) * plan.repeat
        self._installation = installation
        self._id = evaluation_id
        self._store = Evaluations(installation.engine, installation.tenant)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> asyncio.Task[EvaluationFile]:
        client = await self._installation.client()
        meter = Meter()
        self._stack.enter_context(meter.sampling())
        await self._stack.enter_async_context(self._installation.workers(client))
        replaying = ReplayActivities(self._installation, client, meter)
        restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
        await self._stack.enter_async_context(
            Worker(
                client,
                task_queue=EVALUATIONS,
                workflows=[Evaluation],
                activities=[replaying.replay, replaying.close],
                max_concurrent_activities=max(2, self.plan.jobs),
                workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
            )
        )
        await self._start(client)
        return asyncio.create_task(self._results(client))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def standing(self) -> Standing:
        """How many cases are finished."""
        return await asyncio.to_thread(self._store.standing, self._id)

    def delivered(self) -> None:
        """Note that somebody has the results; until then the same command fetches them again."""
        self._store.end(self._id, at=datetime.now(UTC))

    async def _start(self, client: Client) -> None:
        request = EvaluationRequest(
            tenant=self._installation.tenant,
            evaluation_id=self._id,
            suite=self.plan.suite,
            cases=len(self.plan.cases),
            repeat=self.plan.repeat,
            jobs=self.plan.jobs,
        )
        # Where it ran before and closed, only its results are still to be fetched.
        with suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(
                Evaluation.run,
                request,
                id=evaluation_workflow_id(self._id),
                task_queue=EVALUATIONS,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"evaluation of {self.plan.suite}",
            )

    async def _results(self, client: Client) -> EvaluationFile:
        try:
            await client.get_workflow_handle(evaluation_workflow_id(self._id)).result()
        except WorkflowFailureError as error:
            await asyncio.to_thread(self.delivered)
            raise EvaluationEndedError(f"evaluation {self._id} was ended from outside: {error.cause}") from error
        started_at, outcomes = await asyncio.to_thread(
            lambda: (self._store.started_at(self._id), self._store.outcomes(self._id))
        )
        cases = tuple(CaseResult.model_validate(item.body) for item in outcomes)
        finished_at = datetime.now(UTC)
        return EvaluationFile(
            evaluation_id=self._id,
            suite=self.plan.suite,
            engine_version=ENGINE_VERSION,
            blind=self.plan.blind,
            repeat=self.plan.repeat,
            jobs=self.plan.jobs,
            visible_for_seconds=self.plan.visible_for.total_seconds() if self.plan.visible_for else None,
            started_at=started_at,
            finished_at=finished_at,
            wall_seconds=(finished_at - started_at).total_seconds(),
            cpu_count=os.cpu_count() or 1,
            baseline_notes=NOTES if self.plan.baselines else {},
            cases=cases,
            scores=None if self.plan.blind else score(cases),
        )


def begin_or_resume(installation: Installation, plan: Plan, *, fresh: bool) -> Running:
    """The unfinished evaluation of an equal plan and engine, else a new one."""
    store = Evaluations(installation.engine, installation.tenant)
    known = None if fresh else store.unfinished(plan.key(), ENGINE_VERSION)
    if known is None:
        known = EvaluationId(uuid7())
        store.begin(
            known,
            plan_key=plan.key(),
            plan=plan.model_dump(mode="json"),
            engine_version=ENGINE_VERSION,
            at=datetime.now(UTC),
        )
    return Running(installation, plan, known)
