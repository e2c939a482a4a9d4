"""Worker processes: collection and analysis in several of them, because one Python process keeps one core busy."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from infra.settings import Settings
from infra.stack import modules_path

LOG = structlog.stdlib.get_logger(__name__)
PAUSE_S = 1.0
"""Before a process that died is started again."""


@asynccontextmanager
async def worker_processes(settings: Settings) -> AsyncIterator[None]:
    """Keep as many processes running as these settings say, until the context ends."""
    ending = asyncio.Event()
    count = settings.worker_processes
    keepers = [asyncio.create_task(_keep(count, _environment(settings, count), ending)) for _ in range(count)]
    try:
        yield
    finally:
        ending.set()
        await asyncio.gather(*keepers)


async def _keep(count: int, environment: dict[str, str], ending: asyncio.Event) -> None:
    stopping = asyncio.create_task(ending.wait())
    while not ending.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "workers.worker_process", str(count)),
            stdin=asyncio.subprocess.PIPE,
            cwd="/",
            env=environment,
        )
        assert process.stdin is not None
        waiting = asyncio.create_task(process.wait())
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        process.stdin.close()
        code = await waiting
        if not ending.is_set():
            LOG.warning("worker.died", exit_code=code)
            await asyncio.wait({stopping}, timeout=PAUSE_S)


def _environment(settings: Settings, count: int) -> dict[str, str]:
    """Of one of `count` processes: they share the cores."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    rooms = modules_path(os.environ.get("PYTHONPATH"))
    few = {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads}
    return {**few, **os.environ, **settings.environment(), "PYTHONPATH": rooms}
