"""The worker processes: which activities and workflows listen on which queue."""

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta
from enum import Enum

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Interceptor, Worker, WorkerDeploymentConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.deliberation import DeliberationActivities
from activities.diagnosis import DiagnosisActivities
from activities.inference.models_file import Models, no_models
from activities.memory.recall import CapturedFor, not_captured
from activities.memory.steps import MemoryActivities
from activities.memory.store import Store
from activities.telemetry.planning import MappingsFor, PlanningActivities
from activities.telemetry.steps import BackendFor, TelemetryActivities
from activities.turns import Turns
from workflows.contracts.environment import EntityMapping
from workflows.contracts.investigation import InvestigationRequest
from workflows.investigation import Investigation
from workflows.steps import ANALYSIS, INVESTIGATIONS, MEMORY, inference_queue, telemetry_queue

GRACE = timedelta(seconds=5)
STICKY_WAIT = timedelta(seconds=2)
"""How long an investigation waits for the worker that ran it last before any other takes it (Temporal's own: 10 s):
reading its history again costs milliseconds, and a worker that was killed costs that wait at each step."""

DEPLOYMENT = "inquest"
HELD_PER_THREAD = 4
"""Tasks that line up for a turn in this process, per thread: if none waits elsewhere, none is overtaken there."""


def no_mappings(_request: InvestigationRequest) -> tuple[EntityMapping, ...]:
    """Nobody said anything about who is who."""
    return ()


PASSED_THROUGH = ("workflows", "pydantic", "pydantic_core", "annotated_types")


class Work(Enum):
    """What a worker process does."""

    ALL = "all"
    LIGHT = "light"
    """Workflows and the memory steps: they wait more than they compute."""

    HEAVY = "heavy"
    """Collection and analysis: what keeps a core busy."""


@asynccontextmanager
async def running_workers(
    client: Client,
    store: Store,
    *,
    backends: dict[str, BackendFor],
    threads: int,
    mappings_for: MappingsFor = no_mappings,
    captured_for: CapturedFor = not_captured,
    models: Callable[[], Models] = no_models,
    at_once: int | None = None,
    interceptors: Sequence[Interceptor] = (),
    build: str | None = None,
    work: Work = Work.ALL,
) -> AsyncIterator[None]:
    """Run workers in this process until the context ends.

    Args:
        client: connected to Temporal.
        store: the ledger's database and the keys.
        backends: sources by name, each opened by a function of its own; each has a queue of its own.
        mappings_for: what people said about who is who in a request's environment.
        captured_for: what a captured investigation recalled.
        models: reads which language models there are; each endpoint of now gets a queue of its own.
        threads: activities that each queue runs at once; of those that line up for a turn it holds some more.
        at_once: how many of those of the analysis and of the backends compute at once; None: all of them.
        interceptors: passed to every worker.
        build: build id in the deployment `inquest`; None is unversioned. Open investigations go on with the current
            version: what changes in their commands is patched, so that every version replays all of them.
        work: which part of it this process does.
    """
    turns = None if at_once is None else Turns(at_once)
    queues: dict[str, list[Callable[..., object]]] = {}
    slots: dict[str, int] = {}
    deliberation = DeliberationActivities(store, models)
    if work is not Work.HEAVY:
        for endpoint in models().endpoints:
            queues[inference_queue(endpoint.name)] = [deliberation.deliberate]
            slots[inference_queue(endpoint.name)] = endpoint.at_once
        memory = MemoryActivities(store, captured_for)
        queues[MEMORY] = [memory.recall, memory.publish, memory.remember]
    if work is not Work.LIGHT:
        diagnosis = DiagnosisActivities(store, turns, captured_for)
        planning = PlanningActivities(store, mappings_for)
        queues[ANALYSIS] = [
            planning.plan,
            diagnosis.findings,
            diagnosis.rank,
            deliberation.deliberate,
            diagnosis.conclude,
        ]
        for name, backend_for in backends.items():
            telemetry = TelemetryActivities(store, backend_for, turns)
            queues[telemetry_queue(name)] = [
                telemetry.inventory,
                telemetry.scope,
                telemetry.collect,
                telemetry.collect_before_0_5,
            ]
    deployment = None
    if build is not None:
        deployment = WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=build),
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    with ExitStack() as pools:
        async with AsyncExitStack() as running:
            if work is not Work.HEAVY:
                await running.enter_async_context(
                    Worker(
                        client,
                        task_queue=INVESTIGATIONS,
                        workflows=[Investigation],
                        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
                        sticky_queue_schedule_to_start_timeout=STICKY_WAIT,
                        interceptors=interceptors,
                        graceful_shutdown_timeout=GRACE,
                        deployment_config=deployment,
                    )
                )
            for queue, activities in queues.items():
                # A pool of its own: a slow queue must not keep the tasks of another waiting without a heartbeat.
                held = threads if queue == MEMORY or turns is None else HELD_PER_THREAD * threads
                held = slots.get(queue, held)
                pool = pools.enter_context(ThreadPoolExecutor(held, thread_name_prefix=queue))
                await running.enter_async_context(
                    Worker(
                        client,
                        task_queue=queue,
                        activities=activities,
                        activity_executor=pool,
                        max_concurrent_activities=held,
                        interceptors=interceptors,
                        graceful_shutdown_timeout=GRACE,
                        deployment_config=deployment,
                    )
                )
            yield
