"""An error of our own ends in a report that says so, and a database that is away only delays."""

import pytest
from sqlalchemy.exc import OperationalError
from temporalio.client import Client

import activities.diagnosis
from activities.analysis.evidence import Evidence
from activities.analysis.findings import find
from tests.conftest import recorded
from tests.running import finish, start
from workers.installation import Installation
from workflows.contracts.finding import Finding
from workflows.contracts.report import Outcome


async def test_a_defect_in_the_analysis_ends_in_a_report(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_evidence: Evidence) -> list[Finding]:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(activities.diagnosis, "find", broken)
    client = await installation.client()
    async with installation.workers(client):
        investigation_id = await start(installation, client, recorded("row_lock"))
        report = await finish(installation, client, investigation_id)
    assert report.findings.verdict.outcome is Outcome.INCONCLUSIVE
    assert report.findings.verdict.partial
    assert [item.tool for item in report.findings.data_gaps] == ["analysis"]
    assert report.run.probes_asked > 20, "the answers are kept"


async def test_an_outage_of_the_database_only_delays(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 8

    def interrupted(evidence: Evidence) -> list[Finding]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OperationalError("SELECT 1", {"body": "telemetry text"}, Exception("connection refused"))
        return find(evidence)

    monkeypatch.setattr(activities.diagnosis, "find", interrupted)
    client: Client = await installation.client()
    async with installation.workers(client):
        investigation_id = await start(installation, client, recorded("row_lock"))
        report = await finish(installation, client, investigation_id)
    assert report.findings.verdict.entity == "database:shopdb"
    history = (await client.get_workflow_handle(f"inv-{investigation_id}").fetch_history()).to_json()
    assert "telemetry text" not in history
