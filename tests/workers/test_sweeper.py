"""What never started is started, what was ended is marked, and histories outlive Temporal's retention."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

import workers.alert_ingestion
from activities.memory.ledger import ArtifactLostError
from activities.memory.listing import list_investigations
from activities.telemetry.recorded import open_bundle
from infra.settings import Settings
from tests.conftest import own_data_dir, recorded
from tests.running import finish, options_for, quick_ingestion, start
from workers.codec import EncryptingCodec
from workers.doctor import examine
from workers.installation import Installation, open_installation
from workers.sweeper import GONE
from workflows.contracts.identifiers import InvestigationId
from workflows.investigation import Investigation

COMMAND = str(Path(sys.executable).parent / "inquest")


@pytest.fixture
def own_installation() -> Iterator[Installation]:
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as opened:
        yield opened


def state(installation: Installation, investigation_id: InvestigationId) -> str | None:
    rows = list_investigations(installation.engine, installation.tenant, limit=1_000)
    return next(row.ended for row in rows if row.investigation_id == investigation_id)


async def test_a_history_is_kept_encrypted_and_replays(own_installation: Installation) -> None:
    client = await own_installation.client()
    async with own_installation.workers(client):
        investigation_id = await start(own_installation, client, recorded("row_lock"))
        await finish(own_installation, client, investigation_id)
    ledger, sweeper = own_installation.ledger(investigation_id), own_installation.sweeper(client)
    await sweeper.sweep()
    kept = ledger.history()
    assert kept is not None
    assert b"row_lock" not in kept
    assert str(recorded("row_lock")).encode() not in kept
    await client.get_workflow_handle(f"inv-{investigation_id}").describe()
    codec = EncryptingCodec(own_installation.store.keys, texts=False)
    replayer = Replayer(workflows=[Investigation], data_converter=replace(pydantic_data_converter, payload_codec=codec))
    await replayer.replay_workflow(WorkflowHistory.from_json(f"inv-{investigation_id}", kept.decode()))
    printed = subprocess.run(
        [COMMAND, "history", investigation_id],
        env={**os.environ, "INQUEST_DATA_DIR": str(own_installation.settings.data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert printed.returncode == 0, printed.stderr
    first = json.loads(printed.stdout)["events"][0]["workflowExecutionStartedEventAttributes"]["input"]["payloads"][0]
    assert first["metadata"]["encoding"] == "anNvbi9wbGFpbg=="  # json/plain
    await Replayer(workflows=[Investigation], data_converter=pydantic_data_converter).replay_workflow(
        WorkflowHistory.from_json(f"inv-{investigation_id}", printed.stdout)
    )


async def test_what_was_ended_from_outside_is_marked_and_kept(own_installation: Installation) -> None:
    client = await own_installation.client()
    investigation_id = await start(own_installation, client, recorded("row_lock"))
    await client.get_workflow_handle(f"inv-{investigation_id}").terminate("by an operator")
    for _ in range(50):  # visibility may still call it running
        await own_installation.sweeper(client).sweep()
        if state(own_installation, investigation_id):
            break
    await own_installation.sweeper(client).sweep()
    assert state(own_installation, investigation_id) == "terminated"
    kept = own_installation.ledger(investigation_id).history()
    assert kept is not None
    assert b"EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED" in kept


async def test_what_no_worker_takes_ends_in_time(
    own_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.alert_ingestion, "LONGEST_INVESTIGATION", timedelta(seconds=1))
    client = await own_installation.client()
    investigation_id = await start(own_installation, client, recorded("row_lock"))
    with pytest.raises(WorkflowFailureError):
        await client.get_workflow_handle(f"inv-{investigation_id}").result()
    for _ in range(50):
        await own_installation.sweeper(client).sweep()
        if state(own_installation, investigation_id):
            break
    assert state(own_installation, investigation_id) == "timed_out"


async def test_what_was_only_recorded_is_started(own_installation: Installation) -> None:
    client = await own_installation.client()
    folder = recorded("row_lock")
    opened = await quick_ingestion(own_installation, client).record(open_bundle(folder).alert, options_for(folder))
    assert await own_installation.sweeper(client).sweep() == 1
    handle = client.get_workflow_handle(f"inv-{opened.request.investigation_id}")
    description = await handle.describe()
    assert description.status is WorkflowExecutionStatus.RUNNING
    assert await own_installation.sweeper(client).sweep() == 1, "sweeping again starts nothing twice"


async def test_what_waits_for_a_worker_is_said(own_installation: Installation) -> None:
    client = await own_installation.client()
    investigation_id = await start(own_installation, client, recorded("row_lock"))
    environment = {**os.environ, "INQUEST_DATA_DIR": str(own_installation.settings.data_dir), "COLUMNS": "160"}
    listed = subprocess.run([COMMAND, "list", "--replays"], env=environment, capture_output=True, text=True, timeout=60)
    assert f"{investigation_id[:18]}" in listed.stdout
    assert "waiting" in listed.stdout
    assert "no worker listens on investigations" in listed.stderr
    [sick] = [check for check in await asyncio.to_thread(examine, own_installation.settings) if check.name == "workers"]
    assert not sick.fine
    assert "1 open investigations" in sick.detail
    async with own_installation.workers(client):
        await finish(own_installation, client, investigation_id)
        [well] = [
            check for check in await asyncio.to_thread(examine, own_installation.settings) if check.name == "workers"
        ]
        assert well.fine, well


async def test_a_history_that_is_gone_is_noted_once(own_installation: Installation) -> None:
    client = await own_installation.client()
    folder = recorded("row_lock")
    opened = await quick_ingestion(own_installation, client).record(open_bundle(folder).alert, options_for(folder))
    await own_installation.sweeper(client).keep_history(opened.request.investigation_id)
    with pytest.raises(ArtifactLostError, match=GONE):
        own_installation.ledger(opened.request.investigation_id).history()
