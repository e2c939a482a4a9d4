"""Ports of this machine."""

import socket
from pathlib import Path

HIGHEST_PORT = 65_535


def same_port(file: Path) -> int:
    """The port that `file` names if it is free, else a free one: who held a lease finds the server where it was."""
    last = file.read_text() if file.exists() else ""
    port = _free_port(int(last)) if last.isdecimal() and int(last) <= HIGHEST_PORT else None
    port = port or _free_port(0)
    assert port is not None
    file.write_text(str(port))
    return port


def _free_port(wanted: int) -> int | None:
    """That port, or any for 0; None when somebody has it."""
    try:
        with socket.create_server(("127.0.0.1", wanted)) as found:
            return int(found.getsockname()[1])
    except OSError:
        return None
