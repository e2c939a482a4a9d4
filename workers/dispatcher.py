"""Takes accepted alerts out of the inbox and opens or joins their investigations. Any number of them may run."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import DBAPIError
from temporalio.service import RPCError

from activities.memory.inbox import Inbox, InboxItem
from activities.telemetry.environment import EnvironmentFileError, EnvironmentMissingError
from workers.alert_ingestion import AlertIngestion, InvestigationOptions

LOG = structlog.stdlib.get_logger(__name__)
PAUSE_S = 0.5
"""Between two looks at an inbox that was empty, or at servers that were away."""

AT_ONCE = 8
BROKEN_S = 5.0
"""After which an environment file that could not be used is looked at again."""


@dataclass
class Dispatched:
    """What one dispatcher has done."""

    opened: int = 0
    joined: int = 0
    other: int = 0
    """Resolved alerts, and those of environments that are no more."""


class Dispatcher:
    """Works on the inbox of one tenant."""

    def __init__(
        self, inbox: Inbox, ingestion: AlertIngestion, options_for: Callable[[str], InvestigationOptions]
    ) -> None:
        self._inbox = inbox
        self._ingestion = ingestion
        self._options_for = options_for
        self._wanted = asyncio.Event()
        self._broken: dict[str, float] = {}
        """Until when items of environments whose file cannot be used are left alone."""

        self.done = Dispatched()

    def wake(self) -> None:
        """Something has just been accepted: look now."""
        self._wanted.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Dispatch until the context ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                found = await self.dispatch()
            except (DBAPIError, RPCError) as error:
                LOG.warning("dispatch.interrupted", reason=type(error).__name__)
                found = 0
            if not found:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_S):
                        await self._wanted.wait()
                self._wanted.clear()

    async def dispatch(self) -> int:
        """Process what waits now; returns how many items that were. Of an environment whose file is broken, all wait.

        Raises:
            DBAPIError: the database does not answer.
            RPCError: Temporal does not answer.
        """
        now = asyncio.get_running_loop().time()
        self._broken = {name: until for name, until in self._broken.items() if until > now}
        items = await asyncio.to_thread(self._inbox.waiting, apart_from=tuple(self._broken))
        places = asyncio.Semaphore(AT_ONCE)

        async def one(item: InboxItem) -> bool:
            async with places:
                return await self._one(item)

        return sum(await asyncio.gather(*(one(item) for item in items)))

    async def _one(self, item: InboxItem) -> bool:
        """Process one item; False when it stays where it is."""
        try:
            options = await asyncio.to_thread(self._options_for, item.environment)
        except EnvironmentMissingError as error:
            LOG.warning("alert.without_environment", environment=item.environment, reason=str(error))
            how = f"no environment {item.environment}"
            await asyncio.to_thread(self._inbox.processed, item, how=how, at=datetime.now(UTC))
            self.done.other += 1
            return True
        except EnvironmentFileError as error:
            LOG.warning("alert.waits", environment=item.environment, reason=str(error))
            self._broken[item.environment] = asyncio.get_running_loop().time() + BROKEN_S
            return False
        opened = await self._ingestion.dispatch(item, options)
        if opened is None:
            self.done.other += 1
        elif opened.joined == "opened":
            self.done.opened += 1
        else:
            self.done.joined += 1
        return True
