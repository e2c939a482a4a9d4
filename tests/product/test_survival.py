"""An investigation survives anything: killed workers, a killed Temporal, a killed Postgres."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from activities.memory.tables import DELIVERY, METADATA, OBSERVATION, PAST, PROBE, REPORT, STEP, TURN
from infra.settings import Settings
from tests.conftest import PROJECT, own_data_dir, recorded
from tests.running import finish, start
from tests.scripted_model import a_model, hostile
from workers.installation import Installation, open_installation
from workflows.contracts.identifiers import InvestigationId
from workflows.contracts.investigation import Budget
from workflows.contracts.report import Report

STEPS = ["scope", "recall", "collect", "findings", "rank", "deliberate", "conclude", "publish", "remember"]
LOOKS = Budget(rounds=2, tokens=20_000)
"""The first look and two more: what is killed in the first of them is finished in the next."""

HEARTBEAT = timedelta(seconds=1)
HOLD = """
import sys, time
from pathlib import Path
from infra.settings import Settings
from infra.stack import hold_stack
stack = hold_stack(Settings(data_dir=Path(sys.argv[1])))
print(stack.supervisor_pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a model was asked, in this test and in its worker processes."""
    with a_model(tmp_path, hostile, cleared="T5") as (path, asked):
        monkeypatch.setenv("INQUEST_MODELS_FILE", str(path))
        yield asked


@pytest.fixture
def own_installation(asked: list[dict[str, Any]]) -> Iterator[Installation]:
    """An installation of its own: no other test's workers serve its queues, and its servers may be killed."""
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as opened:
        yield opened


@asynccontextmanager
async def workers_that_die(installation: Installation, folder: Path, points: list[str]) -> AsyncIterator[list[int]]:
    """Keep a worker process running, starting it again each time it dies; yields the exit codes so far."""
    deaths: list[int] = []
    command = [sys.executable, "-m", "tests.faulty_worker", str(installation.settings.data_dir), str(folder), *points]
    ending = asyncio.Event()

    async def keep() -> None:
        while not ending.is_set():
            process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT)
            waiting = asyncio.ensure_future(process.wait())
            stopping = asyncio.ensure_future(ending.wait())
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if process.returncode is None:
                process.kill()
            deaths.append(await waiting)
            stopping.cancel()

    keeper = asyncio.ensure_future(keep())
    try:
        yield deaths
    finally:
        ending.set()
        await keeper


def check_written_once(installation: Installation, investigation_id: InvestigationId) -> None:
    """Nothing is missing and nothing is there twice."""
    with installation.engine.connect() as connection:

        def count(table: str) -> int:
            found = METADATA.tables[table]
            query = select(func.count()).select_from(found).where(found.c.investigation_id == investigation_id)
            return int(connection.scalar(query) or 0)

        looks = count(f"{TURN.schema}.{TURN.name}")
        assert looks, "it deliberated"
        in_each_look = ("collect", "findings", "rank", "deliberate")
        again = len(installation.ledger(investigation_id).turns()) - 1
        assert count(f"{STEP.schema}.{STEP.name}") >= len(STEPS) + again * len(in_each_look)
        assert count(f"{OBSERVATION.schema}.{OBSERVATION.name}") == count(f"{PROBE.schema}.{PROBE.name}")
        assert count(f"{REPORT.schema}.{REPORT.name}") == 1
        assert count(f"{PAST.schema}.{PAST.name}") == 1
        assert count(f"{DELIVERY.schema}.{DELIVERY.name}") == 1


def check_nothing_queried_again(log: Path) -> None:
    """No query whose answer was committed is run again."""
    committed: set[str] = set()
    for line in log.read_text().splitlines():
        what, key = line.split()
        if what == "query":
            assert key not in committed, f"{key} was queried again"
        else:
            committed.add(key)
    assert committed


async def undisturbed(installation: Installation) -> Report:
    client = await installation.client()
    async with installation.workers(client):
        return await finish(
            installation, client, await start(installation, client, recorded("exhausted_pool"), budget=LOOKS)
        )


@pytest.mark.timeout(600)
async def test_worker_killed_before_within_and_after_every_step(
    own_installation: Installation, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    points = [f"{when}:{step}" for step in STEPS for when in ("before", "middle", "after")] + ["middle:querying"]
    expected = await undisturbed(own_installation)
    turns = len(asked)
    assert turns == expected.run.models[0].calls > 0
    client = await own_installation.client()
    investigation_id = await start(
        own_installation, client, recorded("exhausted_pool"), budget=LOOKS, heartbeat=HEARTBEAT
    )
    async with workers_that_die(own_installation, tmp_path, points) as deaths:
        report = await asyncio.wait_for(finish(own_installation, client, investigation_id), 540)
        assert deaths == [-signal.SIGKILL] * len(points)
    assert report.findings_sha256 == expected.findings_sha256
    assert len(asked) == 2 * turns, "what the ledger has of a model is not asked again"
    assert report.run.models[0].calls == turns
    check_written_once(own_installation, investigation_id)
    check_nothing_queried_again(tmp_path / "queries")


def child_of(parent: int, name: str) -> int:
    """The process id of the child of `parent` whose program is `name`."""
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == name:
                return int(child)
    raise LookupError(f"process {parent} has no child {name}")


@pytest.mark.parametrize("server", ["temporal", "postgres", "supervisor"])
async def test_server_killed_in_the_middle(own_installation: Installation, tmp_path: Path, server: str) -> None:
    expected = await undisturbed(own_installation)
    client = await own_installation.client()
    supervisor = own_installation.stack.supervisor_pid
    assert supervisor is not None
    investigation_id = await start(
        own_installation, client, recorded("exhausted_pool"), budget=LOOKS, heartbeat=HEARTBEAT
    )
    async with workers_that_die(own_installation, tmp_path, []) as deaths:
        deadline = time.monotonic() + 60
        while not (tmp_path / "queries").exists() or len((tmp_path / "queries").read_text().splitlines()) < 10:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        os.kill(supervisor if server == "supervisor" else child_of(supervisor, server), signal.SIGKILL)
        async with asyncio.timeout(120):
            while report_of(own_installation, investigation_id) is None:
                await asyncio.sleep(0.2)
        report = report_of(own_installation, investigation_id)
        assert deaths == []
    assert report is not None
    assert report.findings_sha256 == expected.findings_sha256
    check_nothing_queried_again(tmp_path / "queries")


def report_of(installation: Installation, investigation_id: InvestigationId) -> Report | None:
    """The report, or None while the database is away or there is none."""
    try:
        return installation.ledger(investigation_id).report()
    except DBAPIError:
        return None


def test_a_command_whose_servers_do_not_come_back_ends_and_says_why(tmp_path: Path) -> None:
    with own_data_dir() as folder:
        environment = {**os.environ, "INQUEST_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
        up = subprocess.Popen(
            [str(Path(sys.executable).parent / "inquest"), "up"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert up.stdout is not None
            assert "workers are running" in up.stdout.readline()
            with open_installation(Settings(data_dir=folder)) as opened:
                supervisor = opened.stack.supervisor_pid
            assert supervisor is not None
            os.kill(supervisor, signal.SIGSTOP)
            (folder / "postgres" / "pgdata" / "global" / "pg_control").write_bytes(b"damaged")
            os.kill(supervisor, signal.SIGKILL)
            _, errors = up.communicate(timeout=120)
        finally:
            up.kill()
            up.wait()
        assert up.returncode == 1
        assert "Postgres did not come up" in errors
        assert "Traceback" not in errors


def test_no_process_outlives_the_last_lease() -> None:
    with own_data_dir() as folder:
        with open_installation(Settings(data_dir=folder)) as opened:
            supervisor = opened.stack.supervisor_pid
            assert supervisor is not None
            servers = [child_of(supervisor, "temporal"), child_of(supervisor, "postgres")]
            holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, cwd=PROJECT)
            assert holder.stdout is not None
            assert int(holder.stdout.readline()) == supervisor
        time.sleep(1)
        assert all(Path(f"/proc/{pid}").exists() for pid in servers), "the second holder still needs them"
        holder.kill()
        holder.wait()
        holder.stdout.close()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in [supervisor, *servers]):
            assert time.monotonic() < deadline, "a server outlived its last user"
            time.sleep(0.05)
