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
MOST_ENDS = 3
"""Times in a row that a process may end by itself."""

PAUSE_S = 1.0
"""Before a process that died is started again."""


class WorkerProcessError(RuntimeError):
    """Worker processes end as soon as they begin; the message says how, and they have said why."""


@asynccontextmanager
async def worker_processes(settings: Settings) -> AsyncIterator[None]:
    """Keep as many processes running as these settings say, until the context ends.

    Raises:
        WorkerProcessError: one ends by itself again and again.
    """
    ending = asyncio.Event()
    count = settings.worker_processes
    try:
        async with asyncio.TaskGroup() as keepers:
            for _ in range(count):
                keepers.create_task(_keep(count, _environment(settings, count), ending))
            try:
                yield
            finally:
                ending.set()
    except* WorkerProcessError as errors:
        raise errors.exceptions[0] from None


async def _keep(count: int, environment: dict[str, str], ending: asyncio.Event) -> None:
    ended_by_itself = 0
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
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            process.stdin.close()
            code = await waiting
        if ending.is_set():
            return
        LOG.warning("worker.died", exit_code=code)
        ended_by_itself = ended_by_itself + 1 if code >= 0 else 0  # a signal is somebody else's doing
        if ended_by_itself >= MOST_ENDS:
            raise WorkerProcessError(f"worker processes end as soon as they begin, with exit code {code}: see above")
        await asyncio.wait({stopping}, timeout=PAUSE_S)


def _environment(settings: Settings, count: int) -> dict[str, str]:
    """Of one of `count` processes: they share the cores."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    rooms = modules_path(os.environ.get("PYTHONPATH"))
    few = {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads}
    return {**few, **os.environ, **settings.environment(), "PYTHONPATH": rooms}
