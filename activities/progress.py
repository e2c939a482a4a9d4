"""Heartbeats that say that work goes on, not merely that its process lives.

A worker that dies stops beating at once. Work that hangs stops it when nothing has been finished for
`STANDSTILL_TIMEOUTS` heartbeat time-outs: the last beat says so, the next attempt finds it, and the thread that hangs
is told to give up (which it does unless it hangs inside of a library).
"""

import contextvars
import ctypes
import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity

from workflows.contracts.contract import Contract

BEATS_PER_TIMEOUT = 4
STANDSTILL_TIMEOUTS = 60
"""Heartbeat time-outs without progress after which work is taken for hung: ten minutes of ten seconds each."""


class StandstillError(Exception):
    """Raised in a thread whose work makes no progress."""


class Beat(Contract):
    """What a heartbeat says."""

    done: int = 0
    """Things that were finished in this attempt: queries, families of findings."""

    still: bool = False
    """The last beat of work that made no progress for too long."""


class _Pulse:
    def __init__(self) -> None:
        self.done = 0
        self.progressed_at = time.monotonic()


_PULSE: contextvars.ContextVar[_Pulse | None] = contextvars.ContextVar("pulse", default=None)


def progressed() -> None:
    """One more thing of the current step is finished."""
    pulse = _PULSE.get()
    if pulse is not None:
        pulse.done += 1
        pulse.progressed_at = time.monotonic()


def longest_standstill() -> timedelta:
    """How long the current step may go without progress."""
    return (activity.info().heartbeat_timeout or timedelta.max / STANDSTILL_TIMEOUTS) * STANDSTILL_TIMEOUTS


def stood_still() -> bool:
    """Whether the attempt before this one ended because its work made no progress."""
    return any(Beat.model_validate(item).still for item in activity.info().heartbeat_details if isinstance(item, dict))


@contextmanager
def beating() -> Iterator[None]:
    """Beat from a thread for as long as the work goes on."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    ended, pulse, longest_s = threading.Event(), _Pulse(), longest_standstill().total_seconds()
    context, worker = contextvars.copy_context(), threading.get_ident()
    activity.heartbeat(Beat())  # what the attempt before this one said is read by now

    def beat() -> None:
        while not ended.wait(timeout.total_seconds() / BEATS_PER_TIMEOUT):
            still = time.monotonic() - pulse.progressed_at > longest_s
            activity.heartbeat(Beat(done=pulse.done, still=still))
            if still:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker), ctypes.py_object(StandstillError))
                return

    token = _PULSE.set(pulse)
    thread = threading.Thread(target=functools.partial(context.run, beat), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _PULSE.reset(token)
