"""The one place that builds a Temporal client."""

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, TLSConfig


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
