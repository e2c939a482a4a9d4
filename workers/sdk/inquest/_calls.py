"""How every call to the servers is made: bounded in time, outages ridden out, errors in our own words."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from temporalio.client import RPCTimeoutOrCancelledError, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from activities.memory.session import is_outage
from infra.stack import Stack, StackError
from inquest.exceptions import RejectedError, UnavailableError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
_AWAY = frozenset(
    (
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
    )
)
_TRANSLATED = (
    RPCError,
    RPCTimeoutOrCancelledError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    SQLAlchemyError,
    ValidationError,
    UnicodeError,
)
Returned = TypeVar("Returned")


class Calls:
    """The calls of one connection."""

    def __init__(self, stack: Stack) -> None:
        self._ended: str | None = None
        if stack.lease is not None:
            stack.lease.on_loss(self._lose)

    def close(self) -> None:
        """Refuse every further call."""
        self._ended = "the connection is closed: make calls inside of `async with Inquest.connect()`"

    def _lose(self, error: StackError) -> None:
        self._ended = str(error)

    def require_open(self) -> None:
        """Raise where calls cannot succeed any more.

        Raises:
            UnavailableError: the connection is closed, or its servers are gone for good.
        """
        if self._ended is not None:
            raise UnavailableError(self._ended)

    async def make(self, what: str, work: Callable[[], Awaitable[Returned]], timeout: timedelta) -> Returned:
        """Do `work`, again and again while a server is away, for at most `timeout`.

        Raises:
            UnavailableError: time is up, or the connection is closed.
            RejectedError: a server does not take what was given.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + timeout.total_seconds(), FIRST_PAUSE_S
        last: Exception | None = None
        while True:
            self.require_open()
            try:
                async with asyncio.timeout_at(deadline):
                    return await work()
            except TimeoutError as error:
                raise self._too_long(what, timeout, last) from (last or error)
            except _TRANSLATED as error:
                rejection = _rejection(what, error)
                if rejection is not None:
                    raise rejection from error
                last = error
            if loop.time() + pause >= deadline:
                raise self._too_long(what, timeout, last) from last
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _too_long(self, what: str, timeout: timedelta, last: Exception | None) -> UnavailableError:
        silent = last is None or isinstance(last, RPCTimeoutOrCancelledError)
        why = "is a worker running?" if silent or last is None else _line(last)
        return UnavailableError(f"{what} took longer than {timeout.total_seconds():g} s: {why}")


def _rejection(what: str, error: Exception) -> RejectedError | None:
    """What a server does not take; None where it is only away."""
    if isinstance(error, RPCTimeoutOrCancelledError):
        return None  # the client turns an end of time into this
    if isinstance(error, RPCError):
        who, away = "Temporal does not take it", error.status in _AWAY
    elif isinstance(error, SQLAlchemyError):
        who, away = "the database does not take it", is_outage(error)
    else:
        who, away = "it cannot be used", False
    return None if away else RejectedError(f"{what}: {who}: {_line(error)}")


def _line(error: Exception) -> str:
    """The first line of what a server said, without a statement or its parameters."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(said).splitlines() or [type(said).__name__])[0][:300]
