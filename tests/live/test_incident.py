"""End to end: a fault in a running shop, Alertmanager's own webhook, `inquest serve`, the report; then its replay."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from activities.telemetry.recorded import open_bundle
from activities.topology.dependencies import Reached
from evals.capture import capture_investigation
from evals.lab.faults import catalogue
from evals.lab.live import investigated, live_system, play
from evals.lab.shop import grown_shop, renamed
from evals.lab.stage import Stage
from tests.conftest import own_data_dir
from workers.installation import Installation
from workers.replaying import replay
from workflows.contracts.identifiers import EntityId, InvestigationId, workflow_id_of
from workflows.contracts.investigation import Budget, Purpose
from workflows.contracts.report import Report

QUIET_S, SEED, FAULT = 60, 4_711, "bad_deploy"


async def replayed(installation: Installation, folder: Path) -> Report:
    client = await installation.client()
    opened = await replay(
        installation, client, open_bundle(folder), scope="replay:live", purpose=Purpose.REPLAY, budget=Budget()
    )
    ledger = installation.ledger(opened.request.investigation_id)
    async with asyncio.timeout(120):
        while (report := ledger.report()) is None:
            await asyncio.sleep(0.2)
    return report


async def learned_from(
    installation: Installation, investigation_id: InvestigationId, entity: EntityId
) -> list[Reached]:
    """What the finished investigation has taught of what depends on an entity."""
    client = await installation.client()
    await client.get_workflow_handle(workflow_id_of(investigation_id)).result()
    request = installation.incidents().request(investigation_id)
    assert request is not None
    record = installation.store.topology(request.tenant)
    return record.dependents(request.environment, entity, at=request.as_of)


async def events_of(installation: Installation, investigation_id: InvestigationId) -> int:
    client = await installation.client()
    history = await client.get_workflow_handle(workflow_id_of(investigation_id)).fetch_history()
    return len(history.events)


@pytest.mark.timeout(300)
def test_from_alert_to_report_and_again(need: Callable[..., None]) -> None:
    need("prometheus", "alertmanager", "loki", "jaeger", "kube-apiserver", "etcd")
    stage = Stage(renamed(grown_shop(0, SEED), SEED), seed=SEED)
    fault = catalogue()[FAULT]
    service = stage.shop.service_for(fault.role)
    with own_data_dir() as folder:
        scratch = Path(tempfile.mkdtemp(prefix="inquest-live-"))
        try:
            with live_system(stage, folder / "live") as system:
                time.sleep(QUIET_S)
                injected, began = play(fault, service, system)
                investigation_id, report = investigated(system, began)
                learned = asyncio.run(learned_from(system.installation, investigation_id, injected.entity))
                bundle, notes = capture_investigation(system.installation, investigation_id, scratch)
                again = asyncio.run(replayed(system.installation, bundle))
                events = asyncio.run(events_of(system.installation, investigation_id))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    verdict, run = report.findings.verdict, report.run
    assert verdict.entity == injected.entity, verdict.sentence
    assert verdict.change_id is not None
    assert verdict.change_id.startswith("rollout-shop-"), "the rollout is a change that the cluster told of"
    assert learned, "what the sources said of who calls whom is kept"
    assert not notes
    assert again.findings_sha256 == report.findings_sha256
    assert not report.findings.data_gaps
    assert {use.source for use in run.sources} == {"lab-prometheus", "lab-loki", "lab-jaeger", "lab-kubernetes"}
    assert sum(use.bytes_received for use in run.sources) < 30_000_000
    assert events <= 120 + 30 * run.rounds, "four sources, and looks"
    assert run.finished_at - run.started_at < timedelta(seconds=60), "30 s where the machine is not busy with tests"
