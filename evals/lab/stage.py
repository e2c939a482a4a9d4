"""Runs the shop: a real Postgres, the services as processes, a keeper that limits memory, and a load."""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import trustme

from evals.lab.machine import Network, mount, unmount
from evals.lab.service import Configuration, Peer, connect, trusting
from evals.lab.shop import DATABASE, QUEUE, Shop
from infra.children import spawn
from infra.postgres import PostgresServer, start_postgres
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.topology import EntityKind, entity_id

MEMORY_LIMIT_BYTES = 320_000_000
RESTART_AFTER_S = 10.0
VOLUME_SIZE = "2m"
LASTING = timedelta(days=60)
"""How long a certificate is good for, unless a fault wants it to end sooner."""

SCHEMA = """
CREATE TABLE product (sku int PRIMARY KEY, price numeric NOT NULL);
INSERT INTO product SELECT sku, 1 + sku % 90 FROM generate_series(1, 500) AS sku;
CREATE TABLE stock (sku int PRIMARY KEY, amount int NOT NULL);
INSERT INTO stock SELECT sku, 1000000 FROM generate_series(1, 40) AS sku;
CREATE TABLE basket (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shopper int NOT NULL, sku int NOT NULL);
CREATE INDEX basket_shopper ON basket (shopper);
CREATE TABLE payment (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shopper int, amount numeric NOT NULL);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shopper int NOT NULL, carrier text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
"""
OLD_BASKETS = """
INSERT INTO basket (shopper, sku) SELECT 1 + mod(n, 500), 1 + mod(n, 40) FROM generate_series(1, %(n)s) AS n
"""


def now() -> datetime:
    """The lab's clock."""
    return datetime.now(UTC)


@dataclass
class RunningService:
    """One service's process and what it was started as."""

    name: str
    revision: str
    defect: str | None
    process: subprocess.Popen[bytes]
    flags: list[str] = field(default_factory=list)


@dataclass
class Stage:
    """The running shop. Use it as a context manager; leaving it ends every process.

    A fault may arrange things before the shop starts, and injects itself while it runs.
    """

    shop: Shop
    requests_per_second: float = 8.0
    seed: int = 1
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="inquest-lab-")))
    changes: list[Change] = field(default_factory=list)
    conditions: list[ClusterCondition] = field(default_factory=list)
    old_baskets: int = 0
    """Rows of earlier years in the table of baskets."""

    certificates_end: dict[str, datetime] = field(default_factory=dict)
    """Service to the moment its certificate ends, where that is soon."""

    isolated: list[str] = field(default_factory=list)
    """Services that get a network of their own."""

    def __enter__(self) -> Self:
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.postgres: PostgresServer = start_postgres(self.folder / "pg", self.folder)
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute(SCHEMA)
            connection.execute(OLD_BASKETS, {"n": self.old_baskets})
            connection.execute("VACUUM ANALYZE basket")
        self.networks = {name: Network.made() for name in self.isolated}
        self.volumes = {name: self._volume(name) for name, service in self.shop.services.items() if service.volume}
        self._certify()
        ports = _free_ports(len(self.shop.services))
        self.peers = {
            name: Peer(host=self._reached_at(name), port=port, tls=service.tls)
            for (name, service), port in zip(self.shop.services.items(), ports, strict=True)
        }
        self.running = {name: self._start(name, revision="r1", defect=None) for name in self.shop.services}
        for peer in self.peers.values():
            _wait_for(peer)
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
        for network in self.networks.values():
            network.remove()
        for volume in self.volumes.values():
            unmount(volume)
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
        self.misbehave(name, flag)
        return change

    def announce(self, change: Change) -> None:
        """Record an event that the change was made by whoever makes it."""
        self.changes.append(change)

    def misbehave(self, name: str, how: str) -> None:
        """Make a service's process do, from within, what a fault wants; no telemetry mentions it."""
        visit(self.peers[name], f"/control/{how}", self.tls)

    def execute(self, statement: str) -> None:
        """Do something to the database, as its owner."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

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
            host=self._listens_on(name),
            port=self.peers[name].port,
            revision=revision,
            operations=self.shop.services[name].operations,
            consumes=self.shop.services[name].consumes,
            peers={other: self._seen_from(name, peer) for other, peer in self.peers.items()},
            certificate=self.folder / f"{name}.pem" if self.shop.services[name].tls else None,
            trusted=self.folder / "authority.pem",
            volume=self.volumes.get(name),
            shared_network=name not in self.networks,
            database=self.postgres.url(database="postgres"),
            logs=self.folder / f"{name}.log",
            spans=self.folder / f"{name}.spans",
            defect=defect,
            flags=list(flags),
        )
        within = self.networks[name].within if name in self.networks else ()
        process = spawn(
            [*within, sys.executable, "-m", "evals.lab.service"],
            log=self.folder / f"{name}.out",
            standard_input=config.model_dump_json(),
            environment={**os.environ, "OTEL_SDK_DISABLED": "false"},
        )
        return RunningService(
            name=name,
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
                    if service.process.poll() is not None:
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
            peer = self.peers[self.shop.entry]
            threading.Thread(target=visit, args=(peer, path, self.tls), daemon=True).start()

    def _reached_at(self, name: str) -> str:
        return self.networks[name].inside if name in self.networks else "127.0.0.1"

    def _seen_from(self, name: str, peer: Peer) -> Peer:
        """Where `name` finds a peer."""
        own = self.networks.get(name)
        if own is None or peer.host == own.inside:
            return peer
        return peer.model_copy(update={"host": own.outside})

    def _listens_on(self, name: str) -> str:
        if name in self.networks:
            return self.networks[name].inside
        return "0.0.0.0" if self.networks else "127.0.0.1"  # noqa: S104 - for as long as a recording takes

    def _volume(self, name: str) -> Path:
        volume = self.folder / "volumes" / name
        volume.mkdir(parents=True)
        mount(volume, VOLUME_SIZE)
        return volume

    def _certify(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / "authority.pem")
        self.tls = trusting(self.folder / "authority.pem")
        for name, service in self.shop.services.items():
            if service.tls:
                ends = self.certificates_end.get(name, now() + LASTING)
                links = [(network.inside, network.outside) for network in self.networks.values()]
                hosts = ["127.0.0.1", *(address for link in links for address in link)]
                made = authority.issue_cert(*hosts, not_before=now() - LASTING, not_after=ends)
                made.private_key_and_cert_chain_pem.write_to_path(self.folder / f"{name}.pem")


def visit(peer: Peer, path: str, tls: ssl.SSLContext) -> None:
    """One request, whatever becomes of it."""
    connection = connect(peer, tls, timeout_s=10)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass  # a person who gets no answer goes away; the shop's own telemetry shows it
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


def _wait_for(peer: Peer) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection((peer.host, peer.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"a service of the lab did not listen on port {peer.port}")


def read_json_lines(path: Path) -> list[dict[str, str | float | bool]]:
    """Complete JSON lines of a file that another process may still be writing."""
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{")]


SHOP_DATABASE = entity_id(EntityKind.DATABASE, DATABASE)
ORDER_QUEUE = entity_id(EntityKind.QUEUE, QUEUE)
