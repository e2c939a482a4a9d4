"""One process per data folder that owns the embedded servers and ends with its last user.

A lease is an open connection to the supervisor's unix socket. The kernel closes it when its holder dies, however
it dies, so that nothing has to be tidied up. A lock on a file lets one supervisor run per folder; a start that
loses the race joins the winner.

Run as `python -m infra.supervisor` with a `Plan` as JSON on standard input.
"""

import fcntl
import os
import selectors
import shutil
import signal
import socket
import sys
from pathlib import Path

from pydantic import BaseModel

from infra.children import UserNamespaceError
from infra.postgres import PostgresServer, PostgresStartError, start_postgres
from infra.temporal import TemporalServer, TemporalStartError, start_temporal

FIRST_LEASE_LIMIT_S = 30.0
CHECK_EVERY_S = 0.5


class Plan(BaseModel):
    """What to run, and where."""

    data_dir: Path
    runtime_dir: Path
    """Holds the sockets; its path is short."""

    temporal: bool
    postgres: bool
    namespace: str
    ui_port: int | None
    """None: no page."""


class Endpoints(BaseModel):
    """What a lease-holder learns: the addresses of what runs, or why it does not."""

    pid: int
    temporal_address: str | None = None
    ui_address: str | None = None
    database_url: str | None = None
    error: str | None = None

    @property
    def addresses(self) -> tuple[str | None, str | None]:
        """Where Temporal and Postgres are."""
        return self.temporal_address, self.database_url


class Supervisor:
    """Starts the servers, restarts one that died, hands out leases, stops all after the last one."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._temporal: TemporalServer | None = None
        self._postgres: PostgresServer | None = None
        self._ending = False

    def run(self) -> None:
        """Serve leases until the last one ends."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_ending", True))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        listener = _listen(self._plan.runtime_dir / "lease")
        error = self._start_servers()
        try:
            self._serve(listener, error)
        finally:
            (self._plan.runtime_dir / "lease").unlink(missing_ok=True)
            listener.close()
            self._stop_servers()

    def _start_servers(self) -> str | None:
        plan = self._plan
        try:
            if plan.postgres:
                self._postgres = start_postgres(plan.data_dir / "postgres", plan.runtime_dir)
            if plan.temporal:
                self._temporal = self._new_temporal()
        except (PostgresStartError, TemporalStartError, UserNamespaceError, OSError) as error:
            return str(error)
        return None

    def _new_temporal(self) -> TemporalServer:
        plan = self._plan
        return start_temporal(plan.data_dir / "temporal", namespace=plan.namespace, ui_port=plan.ui_port)

    def _stop_servers(self) -> None:
        if self._temporal is not None:
            self._temporal.stop()
        if self._postgres is not None:
            self._postgres.stop()

    def _endpoints(self, error: str | None) -> bytes:
        endpoints = Endpoints(
            pid=os.getpid(),
            temporal_address=self._temporal.address if self._temporal else None,
            ui_address=self._temporal.ui_address if self._temporal else None,
            database_url=self._postgres.url() if self._postgres else None,
            error=error,
        )
        return endpoints.model_dump_json().encode() + b"\n"

    def _serve(self, listener: socket.socket, error: str | None) -> None:
        selector = selectors.DefaultSelector()
        selector.register(listener, selectors.EVENT_READ)
        leases: set[socket.socket] = set()
        waited_s = 0.0
        had_lease = False
        while not self._ending and (leases or not had_lease):
            events = selector.select(CHECK_EVERY_S)
            if not events and not had_lease:
                waited_s += CHECK_EVERY_S
                if waited_s > FIRST_LEASE_LIMIT_S:
                    return
            for key, _ in events:
                if key.fileobj is listener:
                    lease = self._grant(listener, error)
                    if lease is not None:
                        leases.add(lease)
                        selector.register(lease, selectors.EVENT_READ)
                        had_lease = True
                else:
                    lease = next(item for item in leases if item is key.fileobj)
                    if not _still_held(lease):
                        selector.unregister(lease)
                        leases.discard(lease)
                        lease.close()
            self._revive()

    def _grant(self, listener: socket.socket, error: str | None) -> socket.socket | None:
        """A new lease; None when its holder has gone before it got the addresses."""
        lease, _address = listener.accept()
        try:
            lease.sendall(self._endpoints(error))
        except OSError:
            lease.close()
            return None
        return lease

    def _revive(self) -> None:
        """Start a server again that died; its data is on disk and its address stays. A failure is tried again."""
        try:
            self._revive_servers()
        except (PostgresStartError, TemporalStartError, OSError) as error:
            print(f"a server does not come back yet: {error}", file=sys.stderr, flush=True)

    def _revive_servers(self) -> None:
        if self._postgres is not None and self._postgres.process.poll() is not None:
            self._postgres = start_postgres(self._plan.data_dir / "postgres", self._plan.runtime_dir)
        if self._temporal is not None and self._temporal.process.poll() is not None:
            before = self._temporal.address
            self._temporal = self._new_temporal()
            self._ending = self._ending or self._temporal.address != before  # nobody would find it there


def _still_held(lease: socket.socket) -> bool:
    try:
        return bool(lease.recv(64))
    except OSError:
        return False


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(128)
    return listener


def _close_to_others(data_dir: Path) -> None:
    """What an earlier version left open; Postgres looks after its own folder."""
    for path in (*data_dir.iterdir(), *(data_dir / "temporal").glob("*"), *(data_dir / "reports").glob("*")):
        if path.lstat().st_mode & 0o077 and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)


def main() -> None:
    """Leave the starter's process tree and run one supervisor, unless another holds the folder's lock."""
    plan = Plan.model_validate_json(sys.stdin.read())
    if os.fork():
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    plan.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    plan.runtime_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (plan.data_dir / "supervisor.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(plan.data_dir / "scratch", ignore_errors=True)  # what a killed process left behind
        _close_to_others(plan.data_dir)
        Supervisor(plan).run()


if __name__ == "__main__":
    main()
