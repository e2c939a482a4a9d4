"""One of several worker processes: `python -m workers.worker_process COUNT`, started by `workers.processes`.

It ends when its standard input closes, which the end of whoever started it does, however it ends.
"""

import asyncio
import gc
import os
import signal
import sys

import typer

from infra.settings import Settings
from workers.installation import Installation, open_installation
from workers.invocation import handle_known_errors, read_settings
from workers.worker import Work

NICENESS = 5
"""What computes for seconds lets those pass that answer in milliseconds: workflows, Temporal, Postgres."""

RARE_COLLECTIONS = (20_000, 20, 50)
"""Of garbage: an analysis makes many small objects that all live until its end."""


async def _work(installation: Installation, count: int) -> None:
    client = await installation.client()
    async with installation.workers(client, work=Work.HEAVY, processes=count):
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        loop.add_signal_handler(signal.SIGTERM, reader.feed_eof)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await reader.read()


@handle_known_errors
def _run(settings: Settings, count: int) -> None:
    with open_installation(settings) as installation:
        asyncio.run(installation.guarded(_work(installation, count)))


def main() -> None:
    """Be one worker process. Ctrl-C is for the command that started it, which closes standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    gc.freeze()
    gc.set_threshold(*RARE_COLLECTIONS)
    code = 0
    try:
        _run(read_settings(), int(sys.argv[1]))
    except typer.Exit as ended:
        code = ended.exit_code
    sys.stderr.flush()
    os._exit(code)  # all is closed; libraries that take stock of what is left would write it to the terminal


if __name__ == "__main__":
    main()
