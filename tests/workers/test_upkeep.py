"""The library follows its sources by itself, by a schedule of Temporal's."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import ScheduleActionExecutionStartWorkflow, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.memory.knowledge.embedding import embedded
from activities.memory.knowledge.ingestion import ingest
from activities.memory.knowledge.library import Subject
from infra.settings import Settings
from tests.conftest import own_data_dir
from workers.installation import open_installation
from workers.upkeep import keep_schedule, running_upkeep, schedule_id


async def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_what_changes_is_taken_in_and_gets_its_vectors(tmp_path: Path) -> None:
    (tmp_path / "kept.md").write_text("# Kept\n\nRestart the consumer.")
    (tmp_path / "gone.md").write_text("# Gone\n\nSomething else.")
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as installation:
        tenant = installation.tenant
        library = installation.store.library(tenant)
        ingest(library, tmp_path, Subject(services=("mail",)), at=datetime.now(UTC))
        slow = next(item.model for item in embedded() if not item.immediate)
        assert library.without_vectors(slow) == 2
        (tmp_path / "gone.md").unlink()
        (tmp_path / "new.md").write_text("# New\n\nAdd a partition.")
        client = await installation.client()
        async with running_upkeep(client, installation.store):
            await keep_schedule(client, tenant, timedelta(hours=1))
            await until(lambda: {Path(item.location).name for item in library.documents()} == {"kept.md", "new.md"})
            await until(lambda: library.without_vectors(slow) == 0)
            assert {item.services for item in library.documents()} == {("mail",)}
            handle = client.get_schedule_handle(schedule_id(tenant))
            await handle.pause(note="by a person")
            await keep_schedule(client, tenant, timedelta(hours=2))
            described = await handle.describe()
            assert [item.every for item in described.schedule.spec.intervals] == [timedelta(hours=2)]
            assert described.schedule.state.paused, "what a person paused stays paused"
            [action] = described.info.recent_actions
            assert isinstance(action.action, ScheduleActionExecutionStartWorkflow)
            ran = client.get_workflow_handle(action.action.workflow_id)
            assert (await ran.describe()).status in (
                WorkflowExecutionStatus.RUNNING,
                WorkflowExecutionStatus.COMPLETED,
            )
            result = await ran.result()
            assert result["missing"] == 0
        await keep_schedule(client, tenant, timedelta(0))
        with pytest.raises(RPCError) as gone:  # the list of schedules lags behind
            await client.get_schedule_handle(schedule_id(tenant)).describe()
        assert gone.value.status is RPCStatusCode.NOT_FOUND
        await keep_schedule(client, tenant, timedelta(0))
