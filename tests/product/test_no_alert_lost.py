"""A thousand alerts at the door while everything behind it is killed in turn: what was accepted is processed, once."""

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import urllib3
from sqlalchemy import func, select
from urllib3.exceptions import HTTPError

from activities.memory.inbox import Inbox
from activities.memory.listing import Wanted, list_investigations
from activities.memory.tables import ALERT, DELIVERY, INBOX, INBOX_END
from infra.settings import Settings
from tests.conftest import PROJECT, own_data_dir
from tests.product.test_survival import child_of
from tests.workers.test_gateway import DEAD, a_body, free_port
from workers.installation import Installation, open_installation

ALERTS, GROUPS, AT_ONCE = 1_000, 40, 8
VICTIMS = ("serve", "temporal", "serve", "postgres", "serve")
COMMAND = str(Path(sys.executable).parent / "inquest")


@pytest.fixture
def own_installation() -> Iterator[Installation]:
    with own_data_dir() as folder:
        files = folder / "environments"
        files.mkdir()
        (files / "prod.yaml").write_text(DEAD)
        given = Settings(data_dir=folder, environments_dir=files, gateway_address=f"127.0.0.1:{free_port()}")
        with open_installation(given) as opened:
            yield opened


@dataclass
class Door:
    """The gateway's process, which is started again each time it dies."""

    settings: Settings
    process: asyncio.subprocess.Process | None = None
    deaths: int = 0
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self) -> None:
        environment = {**os.environ, **self.settings.environment()}
        while not self.ending.is_set():
            self.process = await asyncio.create_subprocess_exec(
                *(COMMAND, "serve", "--no-workers"),
                cwd=PROJECT,
                env=environment,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            waiting = asyncio.ensure_future(self.process.wait())
            stopping = asyncio.ensure_future(self.ending.wait())
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self.process.returncode is None:
                self.process.terminate()
            await waiting
            stopping.cancel()
            self.deaths += not self.ending.is_set()


@asynccontextmanager
async def a_door(settings: Settings) -> AsyncIterator[Door]:
    door = Door(settings)
    keeping = asyncio.create_task(door.keep())
    try:
        yield door
    finally:
        door.ending.set()
        await keeping


async def send_all(url: str) -> int:
    """Send every alert again and again until it is accepted, as Alertmanager does; returns how often that was said."""
    pool, numbers, accepted = urllib3.PoolManager(retries=False, maxsize=AT_ONCE), itertools.count(), 0

    def send(number: int) -> bool:
        body = a_body(f"f{number}", group=f"g{number % GROUPS}")
        try:
            return pool.request("POST", url, body=body, timeout=10).status == 202
        except HTTPError:
            return False

    async def sender() -> None:
        nonlocal accepted
        while (number := next(numbers)) < ALERTS:
            while not await asyncio.to_thread(send, number):
                await asyncio.sleep(0.2)
            accepted += 1
            await asyncio.sleep(0.05)

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    pool.clear()
    return accepted


def counted(installation: Installation) -> tuple[int, int, int, int]:
    """(accepted, processed, deliveries, distinct alerts)."""
    with installation.engine.connect() as connection:
        rows = [
            int(connection.scalar(select(func.count()).select_from(t)) or 0)
            for t in (INBOX, INBOX_END, DELIVERY, ALERT)
        ]
    return rows[0], rows[1], rows[2], rows[3]


async def test_what_is_accepted_is_processed_once_whatever_dies(own_installation: Installation) -> None:
    settings, supervisor = own_installation.settings, own_installation.stack.supervisor_pid
    assert supervisor is not None
    url = f"http://{settings.gateway_address}/v1/alerts/alertmanager?environment=prod"
    async with a_door(settings) as door:
        sending = asyncio.create_task(send_all(url))
        for victim in VICTIMS:
            await asyncio.sleep(4)
            if victim == "serve":
                assert door.process is not None
                door.process.kill()
            else:
                os.kill(child_of(supervisor, victim), signal.SIGKILL)
        accepted = await asyncio.wait_for(sending, 200)
        assert accepted == ALERTS
        inbox = Inbox(own_installation.engine, own_installation.tenant)
        until = time.monotonic() + 60
        while inbox.waiting_count() and time.monotonic() < until:
            await asyncio.sleep(0.2)
    received, processed, deliveries, distinct = counted(own_installation)
    assert received >= ALERTS, "an answer that was lost is sent again, and then counts"
    assert processed == deliveries == received, "each once"
    assert distinct == ALERTS
    assert door.deaths >= 3
    rows = list_investigations(own_installation.engine, own_installation.tenant, limit=100, wanted=Wanted(live=True))
    assert len(rows) == GROUPS
    client = await own_installation.client()
    await own_installation.alert_ingestion(client).resume()
    async with asyncio.timeout(30):
        while True:
            running = [item async for item in client.list_workflows("ExecutionStatus = 'Running'")]
            if len(running) == GROUPS:
                break
            await asyncio.sleep(0.5)
