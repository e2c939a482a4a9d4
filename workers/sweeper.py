"""What is done again and again beside the work: start what never started, mark what was ended, keep histories.

Any number of processes may sweep at once; each write happens once.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import structlog
from google.protobuf.json_format import MessageToJson, Parse
from google.protobuf.message import Message
from sqlalchemy.exc import DBAPIError
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.history.v1 import History
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.converter import PayloadCodec
from temporalio.service import RPCError, RPCStatusCode

from activities.memory.incidents import Incidents
from activities.memory.store import Store
from workers.alert_ingestion import AlertIngestion
from workflows.contracts.identifiers import InvestigationId, Tenant, workflow_id_of
from workflows.steps import ANALYSIS, INVESTIGATIONS, MEMORY, inference_queue, telemetry_queue

LOG = structlog.stdlib.get_logger(__name__)
EVERY_S = 30.0
HISTORIES_AT_ONCE = 4
QUICK = timedelta(seconds=10)
GONE = "Temporal does not have it any more"


class Sweeper:
    """Looks after the investigations of one tenant."""

    def __init__(
        self,
        client: Client,
        store: Store,
        tenant: Tenant,
        ingestion: AlertIngestion,
        *,
        backends: Sequence[str],
        retention: timedelta,
    ) -> None:
        """Look after what `ingestion` recorded.

        Args:
            client: connected to Temporal.
            store: where investigations are recorded and histories are kept.
            tenant: whose.
            ingestion: starts what has no workflow.
            backends: whose queues need a worker.
            retention: how long Temporal keeps closed workflows; older ones are not looked for.
        """
        self._client = client
        self._store = store
        self._tenant = tenant
        self._ingestion = ingestion
        self._backends = backends
        self._retention = retention
        self._incidents: Incidents = store.incidents(tenant)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep at once and then again and again, until the context ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        sweeps = 0
        while True:
            try:
                if await self.sweep() and sweeps:  # at first the workers may just be starting
                    await self._warn_of_missing_workers()
            except (RPCError, DBAPIError) as error:
                LOG.warning("sweep.interrupted", reason=type(error).__name__)
            sweeps += 1
            await asyncio.sleep(EVERY_S)

    async def _warn_of_missing_workers(self) -> None:
        for queue in await unattended(self._client, self._backends):
            LOG.warning("queue.without_worker", queue=queue)

    async def sweep(self) -> int:
        """Do all of it once; returns how many investigations are open.

        Raises:
            RPCError: Temporal does not answer.
            DBAPIError: the database does not answer.
        """
        still_open = await self._ingestion.resume()
        since = datetime.now(UTC) - self._retention
        missing = await asyncio.to_thread(self._incidents.without_history, ended_after=since)
        places = asyncio.Semaphore(HISTORIES_AT_ONCE)

        async def keep(investigation_id: InvestigationId) -> None:
            async with places:
                await self.keep_history(investigation_id)

        await asyncio.gather(*(keep(item) for item in missing))
        return still_open

    async def keep_history(self, investigation_id: InvestigationId) -> None:
        """Store what Temporal wrote down of an investigation whose workflow is closed; of another one, nothing.

        Payloads stay as they are: encrypted, with the keys of the installation.
        """
        handle = self._client.get_workflow_handle(workflow_id_of(investigation_id))
        ledger = self._store.ledger(self._tenant, investigation_id)
        try:
            if (await handle.describe(rpc_timeout=QUICK)).status is WorkflowExecutionStatus.RUNNING:
                return
            history = await handle.fetch_history()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await asyncio.to_thread(ledger.history_is_gone, GONE, at=datetime.now(UTC))
            return
        content = MessageToJson(History(events=history.events), indent=None).encode()
        await asyncio.to_thread(ledger.store_history, content, at=datetime.now(UTC))


async def unattended(client: Client, backends: Sequence[str]) -> list[str]:
    """Task queues of investigations that no worker listens on."""
    found = []
    for queue, kind in _queues(backends):
        answer = await _described(client, queue, kind)
        recent = datetime.now(UTC) - timedelta(minutes=2)
        if not any(poller.last_access_time.ToDatetime(UTC) > recent for poller in answer.pollers):
            found.append(queue)
    return found


async def backlogs(client: Client, backends: Sequence[str], endpoints: Sequence[str] = ()) -> dict[str, int]:
    """Tasks that wait on each queue of investigations, as Temporal approximates them.

    Args:
        client: connected to Temporal.
        backends: sources that have a queue.
        endpoints: of language models; each has a queue as well.

    Raises:
        RPCError: Temporal does not answer.
    """
    models = [(inference_queue(name), TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY) for name in endpoints]
    queues = [*_queues(backends), *models]
    answers = {queue: await _described(client, queue, kind) for queue, kind in queues}
    return {queue: answer.stats.approximate_backlog_count for queue, answer in answers.items()}


def _queues(backends: Sequence[str]) -> list[tuple[str, TaskQueueType.ValueType]]:
    activities = (MEMORY, ANALYSIS, *map(telemetry_queue, backends))
    return [
        (INVESTIGATIONS, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
        *((queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY) for queue in activities),
    ]


async def _described(client: Client, queue: str, kind: TaskQueueType.ValueType) -> DescribeTaskQueueResponse:
    return await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=kind,
            report_stats=True,
        ),
        timeout=QUICK,
    )


async def readable_history(content: bytes, codec: PayloadCodec | None) -> str:
    """A stored history with its payloads decrypted, as JSON that Temporal's tools and replayers read."""
    history = Parse(content, History())
    if codec is not None:
        await _decrypt(history, codec)
    return str(MessageToJson(history))


async def _decrypt(message: Message, codec: PayloadCodec) -> None:
    """Decrypt every payload below `message`, in place."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        items = value.values() if hasattr(value, "values") else value if field.is_repeated else [value]
        for item in items:
            if isinstance(item, Payload):
                [plain] = await codec.decode([item])
                item.CopyFrom(plain)
            elif isinstance(item, Message):
                await _decrypt(item, codec)
