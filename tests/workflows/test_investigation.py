"""The workflow through its public face: budgets, stop, cancel, hints, size of its history, replay."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.safety.rule import TOKEN
from tests.conftest import recorded
from tests.running import finish, start
from workers.installation import Installation
from workflows.contracts.investigation import Budget, HintRef, Phase
from workflows.contracts.report import Report
from workflows.investigation import Investigation


@pytest.fixture
async def client(installation: Installation) -> AsyncIterator[Client]:
    connected = await installation.client()
    async with installation.workers(connected):
        yield connected


async def investigate(installation: Installation, client: Client, folder: Path, budget: Budget | None = None) -> Report:
    return await finish(installation, client, await start(installation, client, folder, budget=budget))


async def test_history_stays_small_and_tells_a_story(installation: Installation, client: Client) -> None:
    investigation_id = await start(installation, client, recorded("bad_deploy"))
    await finish(installation, client, investigation_id)
    handle = client.get_workflow_handle(f"inv-{investigation_id}")
    description = await handle.describe()
    history = await handle.fetch_history()
    assert description.status is WorkflowExecutionStatus.COMPLETED
    assert len(history.events) <= 120
    assert sum(event.ByteSize() for event in history.events) <= 100_000
    scheduled = [event for event in history.events if event.HasField("activity_task_scheduled_event_attributes")]
    assert len(scheduled) == 8
    assert all(event.user_metadata.HasField("summary") for event in scheduled)
    attributes = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert attributes["Tenant"] == "default"
    assert attributes["Service"] == "storefront"
    assert attributes["RootCause"] == "service:payment"
    assert attributes["Verdict"] == "cause_found"


async def test_budget_of_probes_gives_a_partial_report(installation: Installation, client: Client) -> None:
    whole = await investigate(installation, client, recorded("bad_deploy"))
    short = await investigate(installation, client, recorded("bad_deploy"), Budget(probes=6))
    assert short.findings.verdict.partial
    assert not whole.findings.verdict.partial
    assert short.run.stopped_by == "budget"
    assert short.run.probes_answered == 6
    assert sum(item.count for item in short.findings.data_gaps) == short.run.probes_planned - 6
    assert short.findings.verdict.probability < whole.findings.verdict.probability


async def test_budget_of_seconds_gives_a_partial_report(installation: Installation, client: Client) -> None:
    report = await investigate(installation, client, recorded("bad_deploy"), Budget(seconds=0))
    assert report.findings.verdict.partial
    assert report.run.probes_answered == 1, "the scope's own query"
    assert any("budget" in item.reason for item in report.findings.data_gaps)


async def test_cancel_gives_a_partial_report(installation: Installation) -> None:
    client = await installation.client()
    investigation_id = await start(installation, client, recorded("bad_deploy"))
    await client.get_workflow_handle(f"inv-{investigation_id}").cancel()
    async with installation.workers(client):
        report = await finish(installation, client, investigation_id)
    assert report.run.stopped_by == "cancel"
    assert report.findings.verdict.partial
    assert any("cancel" in item.reason for item in report.findings.data_gaps)


async def test_stop_gives_a_partial_report(installation: Installation) -> None:
    client = await installation.client()
    investigation_id = await start(installation, client, recorded("bad_deploy"))
    handle = client.get_workflow_handle_for(Investigation.run, f"inv-{investigation_id}")
    stopping = asyncio.ensure_future(handle.execute_update(Investigation.stop))
    await asyncio.sleep(0.5)
    async with installation.workers(client):
        assert await stopping
        report = await finish(installation, client, investigation_id)
        with pytest.raises(RPCError, match="already completed"):
            await handle.execute_update(Investigation.add_hint, HintRef(number=1))
        assert (await handle.query(Investigation.progress)).phase is Phase.DONE
    assert report.run.stopped_by == "person"
    assert report.findings.verdict.partial


async def test_hint_is_redacted_and_weighed(installation: Installation) -> None:
    client = await installation.client()
    plain_id = await start(installation, client, recorded("bad_deploy"))
    hinted_id = await start(installation, client, recorded("bad_deploy"))
    ledger = installation.ledger(hinted_id)
    text = "look at shipping, password=hunter2hunter2"
    with ledger.offered_hint(text, author="ann", at=datetime.now(UTC)) as number:
        pass
    handle = client.get_workflow_handle_for(Investigation.run, f"inv-{hinted_id}")
    hinting = asyncio.ensure_future(handle.execute_update(Investigation.add_hint, HintRef(number=number)))
    await asyncio.sleep(0.5)
    async with installation.workers(client):
        assert await hinting == 1
        plain = await finish(installation, client, plain_id)
        hinted = await finish(installation, client, hinted_id)
    assert TOKEN.sub("*", hinted.findings.hints[0]) == "look at shipping, password=*"
    history = await handle.fetch_history()
    assert "hunter2" not in history.to_json()

    def probability(report: Report) -> float:
        return next(item.probability for item in report.findings.hypotheses if item.entity == "service:shipping")

    assert probability(hinted) > probability(plain)


async def test_two_runs_of_one_bundle_are_two_investigations_with_equal_findings(
    installation: Installation, client: Client
) -> None:
    first = await investigate(installation, client, recorded("stopped_process"))
    second = await investigate(installation, client, recorded("stopped_process"))
    assert first.run.investigation_id != second.run.investigation_id
    assert first.findings_sha256 == second.findings_sha256
