"""Leases on the embedded stack: start it, or join it when it already runs."""

import fcntl
import hashlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.settings import Settings
from infra.supervisor import Endpoints, Plan

START_LIMIT_S = 90.0
START_AGAIN_S = 1.0
"""A supervisor that ends just now holds the folder a little longer; another start follows after this time."""

_LONGEST_SOCKET_FOLDER = 80


class StackError(RuntimeError):
    """The embedded stack could not be started; the message says what to do."""


Lost = Callable[[StackError], None]


class Lease:
    """A claim on the embedded servers: while it is held they run. When their supervisor dies it is started again."""

    def __init__(self, plan: Plan) -> None:
        """Start the servers or join them.

        Raises:
            StackError: no supervisor answers.
        """
        self._plan = plan
        self._connection, self.endpoints = _acquire(plan)
        self._lock = threading.Lock()
        self._released = False
        self._lost: StackError | None = None
        self._listeners: list[Lost] = []
        self._watch = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._watch.start()

    def release(self) -> None:
        """Give it back."""
        with self._lock:
            self._released = True
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()

    def on_loss(self, listener: Lost) -> None:
        """Call `listener`, from another thread, if the servers are gone and do not come back."""
        with self._lock:
            self._listeners.append(listener)
            lost = self._lost
        if lost is not None:
            listener(lost)

    def _keep(self) -> None:
        while self._held():
            try:
                connection, endpoints = _acquire(self._plan)
            except StackError as error:
                self._lose(error)
                return
            with self._lock:
                if self._released:
                    connection.close()
                    return
                self._connection.close()
                self._connection = connection
            if endpoints.error is not None:
                self._lose(StackError(endpoints.error))
                return
            if endpoints.addresses != self.endpoints.addresses:
                self._lose(StackError("the embedded servers came back at another address: run the command again"))
                return

    def _held(self) -> bool:
        """Wait for the supervisor's end; False when the lease was released before."""
        with suppress(OSError):
            while self._connection.recv(64):
                pass
        return not self._released

    def _lose(self, error: StackError) -> None:
        with self._lock:
            self._lost = error
            listeners = list(self._listeners)
        for listener in listeners:
            listener(error)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The two servers' addresses, held by a lease while they are embedded. A context manager."""

    temporal_address: str
    database_url: str
    """The address migrations run with."""

    ui_address: str | None
    embedded_database: bool
    data_dir: Path
    lease: Lease | None = None
    supervisor_pid: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the lease back; with the last one the embedded servers stop."""
        if self.lease is not None:
            self.lease.release()


def wait_until_stopped(data_dir: Path, *, limit_s: float = 30.0) -> None:
    """Return once no supervisor holds `data_dir` any more: its servers have stopped and write no more.

    Raises:
        TimeoutError: one still runs after `limit_s` seconds; somebody holds a lease.
    """
    deadline = time.monotonic() + limit_s
    path = data_dir / "supervisor.lock"
    while path.exists():
        with path.open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the servers in {data_dir} still have a user")
        time.sleep(0.05)


def runtime_folder(data_dir: Path) -> Path:
    """A short path for the sockets of `data_dir`: inside it where that fits, else in a private temporary folder."""
    inside = data_dir / "run"
    if len(str(inside)) <= _LONGEST_SOCKET_FOLDER:
        return inside
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return base / f"inquest-{os.getuid()}-{name}"


def hold_stack(settings: Settings) -> Stack:
    """Addresses of the configured servers; embedded ones are started or joined and held until released.

    Raises:
        StackError: an embedded server did not come up.
    """
    external_database = settings.database_url.get_secret_value() if settings.database_url else None
    if settings.temporal_address is not None and external_database is not None:
        return Stack(
            temporal_address=settings.temporal_address,
            database_url=external_database,
            ui_address=None,
            embedded_database=False,
            data_dir=settings.data_dir,
        )
    data_dir = settings.data_dir.expanduser().absolute()
    _private_folder(data_dir)
    _private_folder(runtime_folder(data_dir))
    plan = Plan(
        data_dir=data_dir,
        runtime_dir=runtime_folder(data_dir),
        temporal=settings.temporal_address is None,
        postgres=external_database is None,
        namespace=settings.temporal_namespace,
        ui_port=settings.temporal_ui_port,
    )
    lease = Lease(plan)
    endpoints = lease.endpoints
    if endpoints.error is not None:
        lease.release()
        raise StackError(endpoints.error)
    temporal_address = settings.temporal_address or endpoints.temporal_address
    database_url = external_database or endpoints.database_url
    if temporal_address is None or database_url is None:
        lease.release()
        raise StackError(
            f"the stack in {data_dir} was started with other settings and lacks a server: end its other users first"
        )
    return Stack(
        temporal_address=temporal_address,
        database_url=database_url,
        ui_address=endpoints.ui_address,
        embedded_database=external_database is None,
        data_dir=data_dir,
        lease=lease,
        supervisor_pid=endpoints.pid,
    )


def _private_folder(folder: Path) -> None:
    """Create a folder that only its owner enters, or make sure that it is one.

    Raises:
        StackError: it cannot be created, or belongs to somebody else, who could stand in for our servers.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.lstat()
    except OSError as error:
        raise StackError(f"cannot use {folder} ({error.strerror}): set INQUEST_DATA_DIR") from error
    if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
        raise StackError(f"{folder} is not a folder of this user: remove it, or set INQUEST_DATA_DIR")
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)


def _acquire(plan: Plan) -> tuple[socket.socket, Endpoints]:
    """Connect to the folder's supervisor, starting one when none answers; races and endings are retried."""
    deadline = time.monotonic() + START_LIMIT_S
    start_at = time.monotonic()
    while True:
        lease = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        lease.settimeout(START_LIMIT_S)
        try:
            lease.connect(str(plan.runtime_dir / "lease"))
            with lease.makefile("rb") as stream:
                answer = stream.readline()
        except OSError:
            answer = b""
        if answer:
            lease.settimeout(None)
            return lease, Endpoints.model_validate_json(answer)
        lease.close()
        if time.monotonic() > deadline:
            raise StackError(f"no supervisor answers for {plan.data_dir}; see {plan.data_dir / 'supervisor.log'}")
        if time.monotonic() >= start_at:
            _start_supervisor(plan)
            start_at = time.monotonic() + START_AGAIN_S
        time.sleep(0.05)


def modules_path(path: str | None) -> str:
    """The module path of a process that must find the rooms of this program, wherever they lie."""
    rooms = str(Path(__file__).parents[1])
    return f"{path}{os.pathsep}{rooms}" if path else rooms


def _start_supervisor(plan: Plan) -> None:
    """Start a supervisor that is nobody's child; it ends at once when another one holds the folder."""
    try:
        path = plan.data_dir / "supervisor.log"
        path.touch(mode=0o600)
        log = path.open("ab")
    except OSError as error:
        raise StackError(f"cannot write to {plan.data_dir} ({error.strerror}): set INQUEST_DATA_DIR") from error
    with log:
        subprocess.run(
            [sys.executable, "-m", "infra.supervisor"],
            input=plan.model_dump_json().encode(),
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONPATH": modules_path(os.environ.get("PYTHONPATH"))},
            check=True,
        )
