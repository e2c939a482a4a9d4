"""A source that fails in the middle of an investigation: the report comes in time and names what is missing."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.conftest import own_data_dir
from tests.faulty_server import Call, Reply, faulty_server, json_reply
from tests.running import an_alert, finish
from workers.environment_commands import GROUP
from workers.installation import Installation
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import MetricProbe, entity_of
from workflows.contracts.report import Report

BUDGET = timedelta(seconds=45)
"""From alert to report, whatever a source does, on a busy machine."""

SOURCES = """
sources:
  - {{name: bad, backend: prometheus, url: "{bad}", limits: {{query_timeout: 1}}}}
  - {{name: good, backend: prometheus, url: "{good}", limits: {{query_timeout: 1}}}}
"""


def well(call: Call) -> Reply:
    """A Prometheus that has scraped one service for a while."""
    now = datetime.now(UTC).timestamp()
    labels = {"__name__": "up", "app": "checkout", "inquest_metric": "up"}
    if call.path.endswith("/query_range"):
        values = [[now - 5 * n, "1"] for n in range(100, 0, -1)]
        return vector("matrix", [{"metric": labels, "values": values}])
    if call.path.endswith("/query"):
        counted = call.parameters["query"].startswith("count_over_time")
        return vector("vector", [{"metric": labels, "value": [now, "4" if counted else "1"]}])
    return json_reply({"status": "success", "data": {"groups": []} if call.path.endswith("rules") else {}})


def vector(kind: str, result: list[dict[str, Any]]) -> Reply:
    return json_reply({"status": "success", "data": {"resultType": kind, "result": result}})


def in_the_middle(worse: Callable[[Call], Reply | None]) -> Callable[[Call], Reply | None]:
    """Well while names are asked for, and from the collection on no longer."""
    begun: list[bool] = []

    def handle(call: Call) -> Reply | None:
        if "count_over_time" in call.parameters.get("query", ""):
            begun.append(True)
        return worse(call) if begun else well(call)

    return handle


def flapping() -> Callable[[Call], Reply | None]:
    numbers = itertools.count()
    return lambda call: None if next(numbers) % 2 else well(call)


FAULTS: dict[str, tuple[Callable[[Call], Reply | None], set[ObservationStatus]]] = {
    "dead": (in_the_middle(lambda _call: None), {ObservationStatus.UNAVAILABLE}),
    "hanging": (in_the_middle(lambda _call: Reply(wait_s=30)), {ObservationStatus.TIMEOUT}),
    "rate-limited": (
        in_the_middle(lambda _call: Reply(429, b"slower", {"Retry-After": "1"})),
        {ObservationStatus.UNAVAILABLE},
    ),
    "another version": (
        in_the_middle(lambda _call: json_reply({"status": "success", "data": {"resultType": "table", "rows": []}})),
        {ObservationStatus.ERROR},
    ),
    "flapping": (flapping(), {ObservationStatus.UNAVAILABLE, ObservationStatus.ERROR}),
    "closed to us": (in_the_middle(lambda _call: Reply(401, b"token expired")), {ObservationStatus.FORBIDDEN}),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of an environment that no other test has."""
    return tmp_path / f"{tmp_path.name.replace('_', '-')}.yaml"


@pytest.fixture
def watched(installation: Installation, file: Path) -> Callable[[str, str], Installation]:
    """The shared servers, with an environment of this test's own."""

    def environment(bad: str, good: str) -> Installation:
        file.write_text(SOURCES.format(bad=bad, good=good))
        return replace(
            installation, settings=installation.settings.model_copy(update={"environments_dir": file.parent})
        )

    return environment


async def investigated(installation: Installation) -> Report:
    client = await installation.client()
    [environment] = (path.stem for path in installation.settings.environments_dir.glob("*.yaml"))
    async with installation.workers(client):
        alert = an_alert(environment, labels={"app": "checkout", "alertname": "A"}, starts_at=datetime.now(UTC))
        opened = await installation.alert_ingestion(client).receive(alert, installation.live_options(environment))
        return await finish(installation, client, opened.request.investigation_id)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_report_comes_in_time_and_names_the_gap(
    fault: str, watched: Callable[[str, str], Installation]
) -> None:
    worse, statuses = FAULTS[fault]
    with faulty_server(worse) as bad, faulty_server(well) as good:
        report = await investigated(watched(bad.url, good.url))
    assert report.run.finished_at - report.run.started_at < BUDGET
    gaps = {gap.status for gap in report.findings.data_gaps}
    assert gaps & statuses, [gap.model_dump(mode="json") for gap in report.findings.data_gaps]
    assert report.run.probes_by_status.get("ok", 0) >= 2, "the other source costs nothing"
    assert {use.source for use in report.run.sources} == {"bad", "good"}
    assert all(use.queries > 0 for use in report.run.sources)


async def test_who_is_who_stays_what_it_was_when_the_plan_was_made(
    watched: Callable[[str, str], Installation], file: Path
) -> None:
    """A mapping that is removed while a source is queried again changes no name of this investigation."""

    def handle(call: Call) -> Reply | None:
        if call.path.endswith("/query_range") and "mappings" in file.read_text():
            file.write_text(file.read_text().partition("mappings")[0])
            return None
        return well(call)

    with faulty_server(handle) as bad, faulty_server(well) as good:
        installation = watched(bad.url, good.url)
        mapping = "mappings: [{entity: 'service:till', labels: {app: checkout}}]"
        file.write_text(f"{file.read_text()}\n{mapping}\n")
        report = await investigated(installation)
        assert "mappings" not in file.read_text()
        ledger = installation.ledger(report.run.investigation_id)
        rows = {
            (probe.backend, entity_of(probe)): ledger.observations()[probe.key].row_count
            for probe in ledger.probes()
            if isinstance(probe, MetricProbe)
        }
    assert rows["bad", EntityId("service:till")] > 0, rows


def test_the_commands_of_a_running_system(tmp_path: Path) -> None:
    with faulty_server(well) as server, own_data_dir() as folder:
        (tmp_path / "prod.yaml").write_text(f"sources: [{{name: prom, backend: prometheus, url: '{server.url}'}}]")
        environment = {
            **os.environ,
            "INQUEST_DATA_DIR": str(folder),
            "INQUEST_ENVIRONMENTS_DIR": str(tmp_path),
            "COLUMNS": "160",
        }

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            command = [str(Path(sys.executable).with_name("inquest")), *words]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)

        def look(*words: str) -> Result:
            return CliRunner().invoke(GROUP, words, env=environment)

        done = run("environment", "check", "prod")
        assert (done.returncode, done.stdout.split()[:2]) == (0, ["ok", "prom"]), done.stderr
        assert "service:checkout" in look("entities", "prod").stdout
        assert "metrics" in look("coverage", "prod").stdout
        assert "# prometheus: GET" in look("permissions", "prod").stdout
        assert "there are prod" in " ".join(look("check", "nowhere").stderr.split())
        for wrong in (
            ("--environment", "prod"),
            ("--service", "x"),
            ("--environment", "prod", "--alert", "/nonexistent"),
        ):
            assert run("investigate", *wrong).returncode == 2
        found = run("investigate", "--environment", "prod", "--service", "checkout", "--json")
        assert found.returncode == 0, found.stderr
        report = Report.model_validate_json(found.stdout)
        assert report.findings.alert_title == "look at checkout in prod"
        assert [use.source for use in report.run.sources] == ["prom"]
        shown = run("show", "--full", report.run.investigation_id).stdout
        assert f"prom: {report.run.sources[0].queries} queries" in " ".join(shown.split())
    with own_data_dir() as folder:
        environment |= {"INQUEST_DATA_DIR": str(folder)}
        assert CliRunner().invoke(GROUP, ["check", "prod"], env=environment).exit_code == 1, "the server is gone"


async def test_a_slow_source_is_waited_for(watched: Callable[[str, str], Installation]) -> None:
    def slow(call: Call) -> Reply:
        reply = well(call)
        reply.wait_s = 0.3
        return reply

    with faulty_server(slow) as bad, faulty_server(well) as good:
        report = await investigated(watched(bad.url, good.url))
    assert not report.findings.data_gaps, json.dumps([gap.model_dump(mode="json") for gap in report.findings.data_gaps])
    assert report.run.finished_at - report.run.started_at < BUDGET
