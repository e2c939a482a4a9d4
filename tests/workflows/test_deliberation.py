"""The loop without a model: a cheap first look, then what tells the suspects apart, in rounds of the ledger."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.memory.ledger import Ledger
from activities.telemetry.recorded import open_bundle
from evals.capture import capture_investigation
from tests.conftest import recorded
from tests.running import finish, start
from workers.installation import Installation
from workers.replaying import replay
from workflows.contracts.identifiers import InvestigationId
from workflows.contracts.investigation import Budget, Purpose
from workflows.contracts.report import Report

LOOKS = Budget(rounds=3)
EVENTS_OF_A_ROUND = 30


@pytest.fixture
async def client(installation: Installation) -> AsyncIterator[Client]:
    connected = await installation.client()
    async with installation.workers(connected):
        yield connected


async def looked(
    installation: Installation, client: Client, name: str, budget: Budget
) -> tuple[InvestigationId, Report]:
    investigation_id = await start(installation, client, recorded(name), budget=budget)
    return investigation_id, await finish(installation, client, investigation_id)


def check_the_choice(ledger: Ledger) -> int:
    """Every look asks what its turn chose from the menu, once; returns how many looks there were after the first."""
    menu, turns = {probe.key for probe in ledger.menu()}, ledger.turns()
    chosen: set[str] = {probe.key for probe in ledger.probes(0)}
    for number, turn in enumerate(turns):
        keys = [item.probe_key for item in turn.chosen]
        assert turn.round == number
        assert [probe.key for probe in ledger.probes(number + 1)] == keys
        assert menu.issuperset(keys)
        assert chosen.isdisjoint(keys)
        assert [item.gain > 0 for item in turn.chosen] == [True] * len(keys)
        assert ledger.answered_keys(number + 1) == set(keys)
        chosen.update(keys)
    assert turns[-1].left == len(menu - chosen)
    return sum(bool(turn.chosen) for turn in turns)


@pytest.mark.parametrize("name", ["bad_deploy", "exhausted_pool"])
async def test_fewer_queries_end_in_the_same_root_cause(installation: Installation, client: Client, name: str) -> None:
    _, whole = await looked(installation, client, name, Budget())
    investigation_id, report = await looked(installation, client, name, LOOKS)
    assert report.findings.verdict.entity == whole.findings.verdict.entity
    assert report.findings.verdict.change_id == whole.findings.verdict.change_id
    assert not report.findings.verdict.partial, "what is not worth running is no data gap"
    assert report.run.probes_answered < 0.75 * whole.run.probes_answered
    assert report.run.probes_planned + report.run.probes_left_open == whole.run.probes_planned
    assert whole.run.probes_left_open == 0
    further = check_the_choice(installation.ledger(investigation_id))
    assert report.run.rounds == 1 + further
    assert report.findings.hypotheses == tuple(installation.ledger(investigation_id).hypotheses(further))
    history = await client.get_workflow_handle(f"inv-{investigation_id}").fetch_history()
    turns = len(installation.ledger(investigation_id).turns())
    assert len(history.events) <= 120 + EVENTS_OF_A_ROUND * turns
    assert sum(event.ByteSize() for event in history.events) <= 150_000


async def test_the_same_looks_are_taken_again(installation: Installation, client: Client, tmp_path: Path) -> None:
    investigation_id, report = await looked(installation, client, "exhausted_pool", LOOKS)
    folder, _ = capture_investigation(installation, investigation_id, tmp_path)
    opened = await replay(
        installation, client, open_bundle(folder), scope="captured", purpose=Purpose.REPLAY, budget=LOOKS
    )
    again = await finish(installation, client, opened.request.investigation_id)
    assert again.findings_sha256 == report.findings_sha256
    earlier, later = (installation.ledger(item.run.investigation_id).turns() for item in (report, again))
    assert later == earlier
    assert earlier[0].chosen


async def test_the_budget_of_queries_holds_over_all_looks(installation: Installation, client: Client) -> None:
    _, free = await looked(installation, client, "exhausted_pool", LOOKS)
    first = len(installation.ledger(free.run.investigation_id).probes(0))
    most = first + 2
    assert free.run.probes_planned > most
    _, report = await looked(installation, client, "exhausted_pool", Budget(rounds=3, probes=most))
    assert report.run.probes_answered == most
    assert report.run.probes_left_open > 0
