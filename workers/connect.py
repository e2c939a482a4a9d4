"""The one place that builds a Temporal client."""

import atexit
import sys
import threading
import time

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, TLSConfig

THREADS_GONE_SECONDS = 2.0
"""How long the end of the process waits for threads of the Temporal client, at most."""


class TemporalUnreachableError(ConnectionError):
    """Temporal does not answer; the message says where it was looked for and what to do."""


async def connect(address: str, *, namespace: str, tls: TLSConfig | None = None) -> Client:
    """A client with the house's data converter.

    Raises:
        TemporalUnreachableError: nobody answers at `address`.
    """
    try:
        return await Client.connect(
            address, namespace=namespace, data_converter=pydantic_data_converter, tls=tls or False
        )
    except (RuntimeError, RPCError) as error:
        raise TemporalUnreachableError(
            f"no Temporal answers at {address} ({error}): check INQUEST_TEMPORAL_ADDRESS"
        ) from error


def wait_for_foreign_threads() -> None:
    """Wait until no thread that Python did not start is inside Python, at most `THREADS_GONE_SECONDS`.

    The client's threads call back into Python. One that is still there when the interpreter shuts down aborts the
    process after its work is done (https://github.com/temporalio/sdk-python/issues/300).
    """
    until = time.monotonic() + THREADS_GONE_SECONDS
    known = {thread.ident for thread in threading.enumerate()}
    while sys._current_frames().keys() - known and time.monotonic() < until:
        time.sleep(0.001)


atexit.register(wait_for_foreign_threads)
