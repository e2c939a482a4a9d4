"""An error of our own ends in a report that says so, and a database that is away only delays."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from temporalio.client import Client

import activities.analysis.findings
import activities.deliberation
import activities.diagnosis
import activities.evidence_loading
import activities.memory.steps
import activities.progress
import activities.step
import workers.commands
from activities.analysis.evidence import Evidence
from activities.analysis.findings import find
from activities.analysis.ranking import rank
from activities.memory.ledger import ANEW
from tests.conftest import recorded
from tests.running import finish, start
from workers.installation import Installation
from workflows.contracts.finding import Finding
from workflows.contracts.investigation import Budget
from workflows.contracts.report import Outcome, Report
from workflows.contracts.version import ENGINE_VERSION


def broken(*_args: Any, **_kwargs: Any) -> Any:
    raise RuntimeError("no such luck")


async def investigated(installation: Installation, case: str = "row_lock", rounds: int = 0) -> Report:
    client = await installation.client()
    async with installation.workers(client):
        begun = await start(installation, client, recorded(case), budget=Budget(rounds=rounds))
        return await finish(installation, client, begun)


Breaking = Callable[[pytest.MonkeyPatch], None]

DEFECTS: dict[str, tuple[str, Breaking]] = {
    "loading the answers": (
        "findings",
        lambda patch: patch.setattr(activities.diagnosis, "load_evidence", broken),
    ),
    "findings": ("findings", lambda patch: patch.setattr(activities.diagnosis, "find", broken)),
    "verification": ("findings", lambda patch: patch.setattr(activities.diagnosis, "claims_of", broken)),
    "ranking": ("rank", lambda patch: patch.setattr(activities.diagnosis, "rank", broken)),
    "description": ("conclude", lambda patch: patch.setattr(activities.diagnosis, "describe", broken)),
    "the run's figures": (
        "publish",
        lambda patch: patch.setattr(activities.memory.steps.MemoryActivities, "_run", broken),
    ),
}


async def test_a_defect_in_choosing_a_look_costs_the_look(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities.deliberation, "worth", broken)
    report = await investigated(installation, "bad_deploy", rounds=2)
    assert report.findings.verdict.entity == "service:payment", "what the first look found stands"
    assert report.run.rounds == 1
    assert [item.tool for item in report.findings.data_gaps if "RuntimeError" in item.reason] == ["deliberate"]


@pytest.mark.parametrize("name", DEFECTS)
async def test_a_defect_in_any_step_ends_in_a_report_that_names_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    step, break_it = DEFECTS[name]
    break_it(monkeypatch)
    report = await investigated(installation)
    if step == "publish":
        assert report.findings.verdict.entity == "database:shopdb", "what was concluded stands"
    else:
        assert report.findings.verdict.outcome is Outcome.INCONCLUSIVE
        assert report.findings.verdict.partial
        assert step in report.findings.verdict.sentence
    assert [item.tool for item in report.findings.data_gaps if "RuntimeError" in item.reason] == [step]
    if step != "publish":
        assert report.run.probes_answered > 20, "the answers are kept"
    if step in ("rank", "conclude"):
        assert report.findings.claims, "what was verified before is reported"
    if step == "conclude":
        assert report.findings.hypotheses[0].entity == "database:shopdb", "and so is the ranking"


async def test_a_defect_while_remembering_does_not_cost_the_report(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities.memory.steps.MemoryActivities, "_remember", broken)
    report = await investigated(installation)
    assert report.findings.verdict.entity == "database:shopdb"


async def test_a_defect_of_the_renderer_does_not_cost_the_report(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = await investigated(installation)
    monkeypatch.setattr(workers.commands, "render_page", broken)
    workers.commands.write_report(report, tmp_path)
    assert "inquest show" in capsys.readouterr().err
    assert (tmp_path / f"{report.run.investigation_id}.md").exists()


async def test_an_outage_of_the_database_only_delays(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 8

    def interrupted(evidence: Evidence, **kwargs: Any) -> list[Finding]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OperationalError("SELECT 1", {"body": "telemetry text"}, Exception("connection refused"))
        return find(evidence, **kwargs)

    monkeypatch.setattr(activities.diagnosis, "find", interrupted)
    client: Client = await installation.client()
    async with installation.workers(client):
        investigation_id = await start(installation, client, recorded("row_lock"))
        report = await finish(installation, client, investigation_id)
    assert report.findings.verdict.entity == "database:shopdb"
    history = (await client.get_workflow_handle(f"inv-{investigation_id}").fetch_history()).to_json()
    assert "telemetry text" not in history


async def test_work_that_hangs_is_begun_again_and_reported_when_it_hangs_for_good(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process lives and its thread beats; what tells is that nothing gets finished."""
    released, entered = threading.Event(), list[int]()

    def hanging(evidence: Evidence, **kwargs: Any) -> list[Finding]:
        entered.append(len(entered))
        while not released.is_set():
            time.sleep(0.01)
        return find(evidence, **kwargs)

    monkeypatch.setattr(activities.diagnosis, "find", hanging)
    monkeypatch.setattr(activities.progress, "STANDSTILL_TIMEOUTS", 2)
    client = await installation.client()
    async with installation.workers(client):
        investigation_id = await start(installation, client, recorded("row_lock"), heartbeat=timedelta(seconds=1))
        report = await finish(installation, client, investigation_id)
        released.set()
    assert len(entered) == 3, "the fourth attempt knows better"
    [gap] = [item for item in report.findings.data_gaps if item.tool == "findings"]
    assert "made no progress for 2 s" in gap.reason


async def test_what_another_version_computed_is_computed_anew(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade between two steps mixes nothing: the new version starts from the answers."""
    undisturbed = await investigated(installation)
    client = await installation.client()
    investigation_id = await start(installation, client, recorded("row_lock"))
    ledger = installation.ledger(investigation_id)

    def upgraded(*args: Any, **kwargs: Any) -> Any:
        for module in (activities.step, activities.diagnosis):
            monkeypatch.setattr(module, "ENGINE_VERSION", ENGINE_VERSION)
        monkeypatch.setattr(activities.diagnosis, "rank", rank)
        monkeypatch.setattr(activities.diagnosis, "find", find)
        raise OperationalError("SELECT 1", {}, Exception("the old worker is stopped here"))

    def worse(*args: Any, **kwargs: Any) -> list[Finding]:
        return find(*args, **kwargs)[:1]

    for module in (activities.step, activities.diagnosis):
        monkeypatch.setattr(module, "ENGINE_VERSION", "0.0.1")
    monkeypatch.setattr(activities.diagnosis, "find", worse)
    monkeypatch.setattr(activities.diagnosis, "rank", upgraded)
    async with installation.workers(client):
        report = await finish(installation, client, investigation_id)
    assert report.findings_sha256 == undisturbed.findings_sha256
    assert len(ledger.findings(0)) == 1
    assert ledger.concluded_round(0) == ANEW
    assert ledger.hypotheses(0) == []
    assert {item.engine_version for item in [report.findings]} == {ENGINE_VERSION}
