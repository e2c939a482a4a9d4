"""The one place that builds a Temporal client."""

import atexit
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from activities.safety.keys import Keys
from infra.settings import Settings
from infra.temporal import SEARCH_ATTRIBUTES
from workers.codec import EncryptingCodec

THREADS_GONE_SECONDS = 2.0
"""How long the end of the process waits for threads of the Temporal client, at most."""

CHECK_LIMIT = timedelta(seconds=10)
_NOT_ALLOWED = (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED)
_NOT_SAID = (*_NOT_ALLOWED, RPCStatusCode.UNIMPLEMENTED)


class TemporalUnreachableError(ConnectionError):
    """Temporal does not answer; the message says where it was looked for and what to do."""


class TemporalSetupError(RuntimeError):
    """Temporal answers, but what Inquest needs is missing there; the message has the command that makes it."""


async def connect(address: str, settings: Settings, keys: Keys) -> Client:
    """A client with the house's data converter.

    Raises:
        TemporalUnreachableError: nobody answers at `address`, or not to these credentials.
    """
    tls = tls_of(settings)
    try:
        return await Client.connect(
            address,
            namespace=settings.temporal_namespace,
            data_converter=_converter(settings, keys),
            tls=tls or False,
            api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
        )
    except (RuntimeError, RPCError) as error:
        raise TemporalUnreachableError(
            f"no Temporal answers at {address} ({_first_line(error)}): check INQUEST_TEMPORAL_ADDRESS; "
            "inquest doctor says more"
        ) from error


def tls_of(settings: Settings) -> TLSConfig | None:
    """How the cluster is spoken to; None is in clear.

    Raises:
        TemporalUnreachableError: a file cannot be read.
    """
    if not settings.uses_tls:
        return None
    return TLSConfig(
        server_root_ca_cert=_content("temporal_tls_ca", settings.temporal_tls_ca),
        domain=settings.temporal_tls_server_name,
        client_cert=_content("temporal_tls_cert", settings.temporal_tls_cert),
        client_private_key=_content("temporal_tls_key", settings.temporal_tls_key),
    )


def _content(setting: str, path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise TemporalUnreachableError(f"{setting}: cannot read {path} ({error.strerror})") from error


def _converter(settings: Settings, keys: Keys) -> DataConverter:
    if settings.temporal_encryption == "off":
        return pydantic_data_converter
    everything = settings.temporal_encryption == "everything"
    codec = EncryptingCodec(keys, texts=everything)
    if not everything:
        return replace(pydantic_data_converter, payload_codec=codec)
    return replace(
        pydantic_data_converter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


async def require_setup(client: Client, address: str) -> None:
    """Check on a cluster of the user's that it lets us in, and has the namespace and the search attributes.

    Raises:
        TemporalUnreachableError: it does not take our credentials, or does not answer any more.
        TemporalSetupError: something is missing there.
    """
    namespace = client.namespace
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=namespace), timeout=CHECK_LIMIT
        )
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=namespace), timeout=CHECK_LIMIT
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise TemporalSetupError(
                f"there is no namespace {namespace} at {address}: "
                f"temporal operator namespace create --address {address} --namespace {namespace}"
            ) from error
        if error.status in _NOT_SAID:
            if await _lets_us_in(client):
                return  # managed clusters do not let everybody list them; a start without them says so
            raise TemporalUnreachableError(
                f"Temporal at {address} does not take our credentials for the namespace {namespace} "
                f"({_first_line(error)}): check INQUEST_TEMPORAL_API_KEY or INQUEST_TEMPORAL_TLS_CERT"
            ) from error
        raise TemporalUnreachableError(f"Temporal at {address} does not answer ({_first_line(error)})") from error
    missing = [name for name in SEARCH_ATTRIBUTES if name not in answer.custom_attributes]
    if missing:
        commands = " ".join(f"--name {name} --type Keyword" for name in missing)
        raise TemporalSetupError(
            f"search attributes are missing at {address}: "
            f"temporal operator search-attribute create --address {address} --namespace {namespace} {commands}"
        )


async def _lets_us_in(client: Client) -> bool:
    try:
        await client.count_workflows(rpc_timeout=CHECK_LIMIT)
    except RPCError as error:
        return error.status not in _NOT_ALLOWED
    return True


async def set_retention(client: Client, retention: timedelta) -> None:
    """Keep closed workflows for `retention` (the dev server's own default is a day)."""
    period = Duration()
    period.FromTimedelta(retention)
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(
            namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=period)
        ),
        timeout=CHECK_LIMIT,
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


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
