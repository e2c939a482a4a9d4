"""A backend that is away, and one that fails half-way: every query ends in a status."""

import asyncio
import time
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.telemetry.backend import Answer, TelemetryBackend
from activities.telemetry.exceptions import BackendUnavailableError, SlowBundleError
from activities.telemetry.recorded import RecordedBackend, open_bundle
from activities.telemetry.reduction import ReductionDatabase
from activities.telemetry.steps import BackendFor
from infra.settings import Settings
from tests.conftest import own_data_dir, recorded
from tests.running import finish, start
from workers.installation import RECORDED, Installation, open_installation
from workers.worker import running_workers
from workflows.contracts.investigation import InvestigationRequest
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import MetricProbe
from workflows.contracts.report import Outcome, Report


class LosesItsTongue(RecordedBackend):
    """Answers so many queries of metrics in all, and is away from then on."""

    answers_left = 3

    def _metrics(self, probe: MetricProbe) -> Answer:
        if type(self).answers_left <= 0:
            raise BackendUnavailableError("connection refused")
        type(self).answers_left -= 1
        return super()._metrics(probe)


class TakesItsTime(RecordedBackend):
    """Needs longer for its queries than a worker has to shut down."""

    def _metrics(self, probe: MetricProbe) -> Answer:
        time.sleep(4)
        return super()._metrics(probe)


def away(_request: InvestigationRequest, _who: object) -> TelemetryBackend:
    raise BackendUnavailableError("connection refused")


def half_way(_request: InvestigationRequest, _who: object) -> TelemetryBackend:
    return LosesItsTongue(open_bundle(recorded("row_lock")))


def slow(_request: InvestigationRequest, _who: object) -> TelemetryBackend:
    return TakesItsTime(open_bundle(recorded("row_lock")))


async def test_a_worker_that_goes_away_leaves_the_rest_to_the_next(installation: Installation) -> None:
    client = await installation.client()
    investigation_id = await start(installation, client, recorded("row_lock"))
    ledger = installation.ledger(investigation_id)
    async with running_workers(client, installation.store, backends={RECORDED: slow}, threads=4):
        while len(ledger.answered_keys(0)) < 3:
            await asyncio.sleep(0.1)
    early = ledger.observations()
    assert 3 <= len(early) < len(ledger.probes())
    async with installation.workers(client):
        report = await finish(installation, client, investigation_id)
        undisturbed = await finish(installation, client, await start(installation, client, recorded("row_lock")))
    assert not report.findings.verdict.partial
    assert report.findings_sha256 == undisturbed.findings_sha256
    assert all(ledger.observations()[key] == value for key, value in early.items()), "nothing was queried again"


async def investigated(installation: Installation, client: Client, backend_for: BackendFor) -> Report:
    investigation_id = await start(installation, client, recorded("row_lock"))
    async with running_workers(
        client,
        installation.store,
        backends={RECORDED: backend_for},
        threads=4,
    ):
        return await finish(installation, client, investigation_id)


@pytest.mark.parametrize("backend_for", [away, half_way], ids=["away", "half way"])
async def test_an_unreachable_backend_becomes_a_status(backend_for: BackendFor) -> None:
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as installation:
        report = await investigated(installation, await installation.client(), backend_for)
    assert report.run.probes_answered == report.run.probes_planned, "every query has a status"
    assert report.findings.verdict.partial
    lost = [item for item in report.findings.data_gaps if item.status is ObservationStatus.UNAVAILABLE]
    assert lost
    assert all("connection refused" in item.reason for item in lost)
    if backend_for is away:
        assert report.findings.verdict.outcome is Outcome.INCONCLUSIVE
    else:
        # Without what the database says of itself, a wait for it may also be one for its caller's pool.
        assert "database:shopdb" in [item.entity for item in report.findings.hypotheses[:2]]
        assert report.run.probes_by_status["unavailable"] == 6


def test_a_question_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    database = ReductionDatabase(tmp_path, scratch=tmp_path, threads=1, memory_mb=200, query_seconds=0.2)
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
    with pytest.raises(SlowBundleError, match="took longer"):
        database.fetch(endless, {}, file=tmp_path / "f.parquet")
    assert database.fetch("SELECT 1", {}, file=tmp_path)[0][0] == 1
    database.close()
