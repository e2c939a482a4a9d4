"""Records histories anew into this folder: `python -m tests.histories.record NAME ...`.

A new history is added under a new name when the workflow's commands change on purpose; an old one is never replaced.
"""

import asyncio
import json
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from temporalio.client import WorkflowHistory

from activities.telemetry.recorded import open_bundle
from evals.evaluation import begin_or_resume
from evals.plan import Plan
from infra.settings import Settings
from tests.conftest import own_data_dir, recorded
from tests.faulty_server import Call, Reply, faulty_server, json_reply
from tests.running import an_alert, finish, start
from tests.scripted_model import a_model, hostile
from workers.installation import Installation, open_installation
from workers.replaying import replay
from workers.upkeep import running_upkeep
from workflows.contracts.evaluation import EvaluationId, evaluation_workflow_id
from workflows.contracts.identifiers import workflow_id_of
from workflows.contracts.investigation import Budget, HintRef, Purpose
from workflows.contracts.knowledge import UpkeepInput
from workflows.investigation import Investigation
from workflows.steps import UPKEEP
from workflows.upkeep import LibraryUpkeep

FOLDER = Path(__file__).parent
VERSION = 2
"""Of the workflow's commands: one more for every change that needs a patch."""

SOURCES = """
sources:
  - {{name: prod-prometheus, backend: prometheus, url: "{url}"}}
  - {{name: prod-jaeger, backend: jaeger, url: "{url}"}}
"""
NOTHING = {"vector": "/query", "matrix": "/query_range"}
_IDENTITY = re.compile(r'"identity": "[^"]*"')
_MACHINE = re.compile(r'"(?:binaryChecksum|workerInstanceKey|buildId)": "[^"]*",?\s*')


def written(history: WorkflowHistory) -> str:
    """The history as JSON, without the names of this machine and its processes."""
    text = _IDENTITY.sub('"identity": "recorder"', json.dumps(json.loads(history.to_json()), indent=1))
    return _MACHINE.sub("", text) + "\n"


async def normal(installation: Installation, bundle: Path) -> str:
    """From start to end, undisturbed."""
    client = await installation.client()
    async with installation.workers(client):
        investigation_id = await start(installation, client, bundle)
        await finish(installation, client, investigation_id)
    return workflow_id_of(investigation_id)


async def cancelled(installation: Installation, bundle: Path) -> str:
    """Cancelled before any worker took it up."""
    client = await installation.client()
    investigation_id = await start(installation, client, bundle)
    await client.get_workflow_handle(f"inv-{investigation_id}").cancel()
    async with installation.workers(client):
        await finish(installation, client, investigation_id)
    return workflow_id_of(investigation_id)


async def spoken_to(installation: Installation, bundle: Path) -> str:
    """A hint, a further alert and a stop."""
    client = await installation.client()
    investigation_id = await start(installation, client, bundle)
    handle = client.get_workflow_handle_for(Investigation.run, f"inv-{investigation_id}")
    with installation.ledger(investigation_id).offered_hint("look at payment", author="recorder", at=datetime.now(UTC)):
        pass
    await handle.signal(Investigation.alert_joined, 2)
    hint = asyncio.ensure_future(handle.execute_update(Investigation.add_hint, HintRef(number=1)))
    stop = asyncio.ensure_future(handle.execute_update(Investigation.stop))
    await asyncio.sleep(0.5)
    async with installation.workers(client):
        await asyncio.gather(hint, stop)
        await finish(installation, client, investigation_id)
    return workflow_id_of(investigation_id)


async def evaluation(installation: Installation, bundle: Path) -> str:
    """Two replays of one case."""
    suite = bundle.parent / f"{bundle.name}-suite"
    shutil.copytree(bundle, suite / "bundles" / bundle.name, dirs_exist_ok=True)
    plan = Plan(suite=str(suite), cases=(bundle.name,), repeat=2, blind=True)
    async with begin_or_resume(installation, plan, fresh=True) as results:
        found = await results
    shutil.rmtree(suite)
    return evaluation_workflow_id(EvaluationId(found.evaluation_id))


def _knows_nothing(call: Call) -> Reply:
    """Prometheus and Jaeger, of a system that has just been started."""
    kind = next((kind for kind, end in NOTHING.items() if call.path.endswith(end)), None)
    if kind is not None:
        return json_reply({"status": "success", "data": {"resultType": kind, "result": []}})
    return json_reply({"status": "success", "data": []})


async def live(installation: Installation, _bundle: Path) -> str:
    """A running system of two sources that know nothing, and a signal that the alert is resolved."""
    files = installation.settings.environments_dir
    files.mkdir()
    with faulty_server(_knows_nothing) as server:
        (files / "prod.yaml").write_text(SOURCES.format(url=server.url))
        client = await installation.client()
        opened = await installation.alert_ingestion(client).receive(an_alert(), installation.live_options("prod"))
        workflow_id = workflow_id_of(opened.request.investigation_id)
        await client.get_workflow_handle_for(Investigation.run, workflow_id).signal(Investigation.alert_resolved)
        async with installation.workers(client):
            await finish(installation, client, opened.request.investigation_id)
    return workflow_id


async def upkeep(installation: Installation, _bundle: Path) -> str:
    """A library with nothing in it."""
    client = await installation.client()
    async with running_upkeep(client, installation.store):
        workflow_id = "library-recorded"
        given = UpkeepInput(tenant=installation.tenant)
        await client.execute_workflow(LibraryUpkeep.run, given, id=workflow_id, task_queue=UPKEEP)
    return workflow_id


async def deliberated(installation: Installation, bundle: Path) -> str:
    """Several looks, each chosen with a model."""
    with a_model(installation.settings.data_dir, hostile, cleared="T5") as (path, _):
        settings = installation.settings.model_copy(update={"models_file": path})
        own = replace(installation, settings=settings)
        client = await own.client()
        budget = Budget(rounds=2, tokens=20_000)
        async with own.workers(client):
            opened = await replay(
                own, client, open_bundle(bundle), scope="history", purpose=Purpose.REPLAY, budget=budget
            )
            await finish(own, client, opened.request.investigation_id)
    return workflow_id_of(opened.request.investigation_id)


RECORDINGS = {
    "deliberated": deliberated,
    "live": live,
    "normal": normal,
    "cancelled": cancelled,
    "spoken_to": spoken_to,
    "evaluation": evaluation,
    "upkeep": upkeep,
}


async def record(installation: Installation, names: list[str]) -> None:
    """Play and write the named histories."""
    client = await installation.client()
    bundle = Path(tempfile.gettempdir()) / "inquest-history-bundle"
    shutil.copytree(recorded("bad_deploy"), bundle, dirs_exist_ok=True)
    for name in names:
        path = FOLDER / f"{name}_v{VERSION}.json"
        if path.exists():
            raise FileExistsError(f"{path} exists; a recorded history is never replaced")
        workflow_id = await RECORDINGS[name](installation, bundle)
        path.write_text(written(await client.get_workflow_handle(workflow_id).fetch_history()))
    shutil.rmtree(bundle)


if __name__ == "__main__":
    with (
        own_data_dir() as folder,
        open_installation(
            Settings(data_dir=folder, environments_dir=folder / "environments", temporal_encryption="off")
        ) as opened,
    ):
        asyncio.run(record(opened, sys.argv[1:] or sorted(RECORDINGS)))
