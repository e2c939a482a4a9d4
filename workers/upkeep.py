"""The library's upkeep: its schedule in Temporal, and the worker that does it."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.memory.knowledge.upkeep import UpkeepActivities
from activities.memory.store import Store
from workers.worker import GRACE, PASSED_THROUGH
from workflows.contracts.identifiers import Tenant
from workflows.contracts.knowledge import UpkeepInput
from workflows.steps import UPKEEP
from workflows.upkeep import LibraryUpkeep

LOG = structlog.stdlib.get_logger(__name__)


def schedule_id(tenant: Tenant) -> str:
    """Under which name Temporal keeps a tenant's schedule."""
    return f"library-{tenant}"


async def keep_schedule(client: Client, tenant: Tenant, every: timedelta) -> None:
    """See to it that the library is looked after so often; with no time at all, that it is not.

    Whoever may not make schedules on a cluster has none, which the log says: `inquest knowledge refresh` is left.
    """
    try:
        if not every:
            with suppress(RPCError):
                await client.get_schedule_handle(schedule_id(tenant)).delete()
            return
        wanted = _schedule(tenant, every)
        try:
            await client.create_schedule(schedule_id(tenant), wanted, trigger_immediately=True)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(schedule_id(tenant)).update(lambda known: _updated(known, wanted))
    except RPCError as error:
        if error.status is RPCStatusCode.CANCELLED:
            raise
        LOG.warning("library.not_scheduled", reason=error.message)


def _schedule(tenant: Tenant, every: timedelta) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            LibraryUpkeep.run,
            UpkeepInput(tenant=tenant),
            id=f"library-{tenant}",
            task_queue=UPKEEP,
            static_summary="look after the library",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        # After a night without workers once, not once for every hour of it.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=max(every, timedelta(seconds=10))),
    )


def _updated(known: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate | None:
    """Nothing where it says the same; paused by a person, it stays so."""
    found = known.description.schedule
    if [item.every for item in found.spec.intervals] == [item.every for item in wanted.spec.intervals]:
        return None
    wanted.state = found.state
    return ScheduleUpdate(schedule=wanted)


@asynccontextmanager
async def running_upkeep(client: Client, store: Store) -> AsyncIterator[None]:
    """One worker for the queue of the upkeep, in this process, until the context ends."""
    upkeep = UpkeepActivities(store)
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    with ThreadPoolExecutor(1, thread_name_prefix=UPKEEP) as pool:
        async with Worker(
            client,
            task_queue=UPKEEP,
            workflows=[LibraryUpkeep],
            activities=[upkeep.refresh, upkeep.embed],
            workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
            activity_executor=pool,
            max_concurrent_activities=1,
            graceful_shutdown_timeout=GRACE,
        ):
            yield
