"""Runs the shop: a real Postgres, the services as processes, a keeper that limits memory, and a load."""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from evals.lab.service import Configuration
from evals.lab.shop import DATABASE, Shop
from infra.children import spawn
from infra.postgres import PostgresServer, start_postgres
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.topology import EntityKind, entity_id

MEMORY_LIMIT_BYTES = 320_000_000
RESTART_AFTER_S = 10.0
SCHEMA = """
CREATE TABLE product (sku int PRIMARY KEY, price numeric NOT NULL);
INSERT INTO product SELECT sku, 1 + sku % 90 FROM generate_series(1, 500) AS sku;
CREATE TABLE stock (sku int PRIMARY KEY, amount int NOT NULL);
INSERT INTO stock SELECT sku, 1000000 FROM generate_series(1, 40) AS sku;
CREATE TABLE basket (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shopper int NOT NULL, sku int NOT NULL);
CREATE INDEX ON basket (shopper);
CREATE TABLE payment (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shopper int, amount numeric NOT NULL);
"""


def now() -> datetime:
    """The lab's clock."""
    return datetime.now(UTC)


@dataclass
class RunningService:
    """One service's process and what it was started as."""

    name: str
    port: int
    revision: str
    defect: str | None
    process: subprocess.Popen[bytes]
    flags: list[str] = field(default_factory=list)
    kept: bool = True
    """False once a fault wants it to stay down."""


@dataclass
class Stage:
    """The running shop. Use it as a context manager; leaving it ends every process."""

    shop: Shop
    requests_per_second: float = 8.0
    seed: int = 1
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="inquest-lab-")))
    changes: list[Change] = field(default_factory=list)
    conditions: list[ClusterCondition] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.postgres: PostgresServer = start_postgres(self.folder / "pg", self.folder)
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute(SCHEMA)
        self.ports = dict(zip(self.shop.services, _free_ports(len(self.shop.services)), strict=True))
        self.running = {name: self._start(name, revision="r1", defect=None) for name in self.shop.services}
        for port in self.ports.values():
            _wait_for_port(port)
        self._in_background(self._keep)
        self._in_background(self._load)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(15)
        for service in self.running.values():
            service.process.kill()
            service.process.wait()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def redeploy(self, name: str, *, revision: str, defect: str | None, title: str, detail: str) -> Change:
        """Replace a service's process by another revision, as a rollout does, and record the deploy event."""
        change = Change(
            id=f"deploy-{name}-{revision}",
            at=now(),
            kind=ChangeKind.DEPLOY,
            target=entity_id(EntityKind.SERVICE, name),
            title=title,
            detail=detail,
            revision=revision,
        )
        with self._lock:
            self.changes.append(change)
            self.running[name].process.terminate()
            self.running[name].process.wait()
            self.running[name] = self._start(name, revision=revision, defect=defect)
        return change

    def flip(self, name: str, flag: str, *, title: str) -> Change:
        """Turn a feature flag on in the running service, and record the flag event."""
        change = Change(
            id=f"flag-{name}-{flag}",
            at=now(),
            kind=ChangeKind.FLAG,
            target=entity_id(EntityKind.SERVICE, name),
            title=title,
            detail=f"{flag}: off -> on",
        )
        self.changes.append(change)
        self.running[name].flags.append(flag)
        visit(self.ports[name], f"/flags/{flag}")
        return change

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a service's process."""
        self.running[name].process.send_signal(number)

    def in_background(self, work: Callable[[threading.Event], None]) -> None:
        """Run `work` until the stage ends; it gets the event that says so."""
        self._in_background(lambda: work(self._ending))

    def _in_background(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _start(self, name: str, *, revision: str, defect: str | None, flags: Sequence[str] = ()) -> RunningService:
        config = Configuration(
            name=name,
            port=self.ports[name],
            revision=revision,
            operations=self.shop.services[name].operations,
            peers=self.ports,
            database=self.postgres.url(database="postgres"),
            logs=self.folder / f"{name}.log",
            spans=self.folder / f"{name}.spans",
            defect=defect,
            flags=list(flags),
        )
        process = spawn(
            [sys.executable, "-m", "evals.lab.service"],
            log=self.folder / f"{name}.out",
            standard_input=config.model_dump_json(),
            environment={**os.environ, "OTEL_SDK_DISABLED": "false"},
        )
        return RunningService(
            name=name,
            port=self.ports[name],
            revision=revision,
            defect=defect,
            process=process,
            flags=list(flags),
        )

    def _keep(self) -> None:
        """What a kubelet does: kill what exceeds its memory, start again what died, and say so."""
        while not self._ending.wait(0.25):
            for name in self.shop.services:
                with self._lock:
                    service = self.running[name]
                    if service.process.poll() is not None and service.kept:
                        self._restart(service)
                    elif service.process.poll() is None and resident_bytes(service.process.pid) > MEMORY_LIMIT_BYTES:
                        service.process.kill()
                        service.process.wait()
                        self._condition(service, "OOMKilled", f"container used more than {MEMORY_LIMIT_BYTES} bytes")

    def _restart(self, service: RunningService) -> None:
        self._condition(service, "BackOff", "restarting a container that ended")
        if not self._ending.wait(RESTART_AFTER_S):
            self.running[service.name] = self._start(
                service.name, revision=service.revision, defect=service.defect, flags=service.flags
            )

    def _condition(self, service: RunningService, reason: str, message: str) -> None:
        self.conditions.append(
            ClusterCondition(
                at=now(),
                object_kind="Pod",
                object_name=f"{service.name}-0",
                entity=entity_id(EntityKind.SERVICE, service.name),
                type="Warning",
                healthy=False,
                reason=reason,
                message=message,
            )
        )

    def _load(self) -> None:
        """People: Poisson arrivals at the entry, each in a thread of its own, so that a slow shop is not spared."""
        rng = random.Random(self.seed)  # noqa: S311 - a load, not a secret
        journeys, weights = zip(*self.shop.journeys.items(), strict=True)
        while not self._ending.wait(rng.expovariate(self.requests_per_second)):
            path = f"/{rng.choices(journeys, weights)[0]}?shopper={rng.randint(1, 500)}&sku={rng.randint(1, 40)}"
            threading.Thread(target=visit, args=(self.ports[self.shop.entry], path), daemon=True).start()


def visit(port: int, path: str) -> None:
    """One request, whatever becomes of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass  # a person who gets no answer goes away; the shop's own telemetry tells
    finally:
        connection.close()


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"a service of the lab did not listen on port {port}")


def read_json_lines(path: Path) -> list[dict[str, str | float | bool]]:
    """Complete JSON lines of a file that another process may still be writing."""
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{")]


SHOP_DATABASE = entity_id(EntityKind.DATABASE, DATABASE)
