"""Starts real servers on free loopback ports and stops them reliably; knows nothing of pytest.

Each server is a context manager that is handed a folder of its own, by its absolute path. It yields once the server
answers, raises `ServerStartError` with the end of the server's log when that takes too long, and leaves no process
behind.
"""

import csv
import io
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

from evals.lab.executables import server

START_LIMIT = timedelta(seconds=90)
"""The longest that a server may take until it answers; on two idle cores the slowest needs 4 s."""

STOP_LIMIT = timedelta(seconds=10)
"""How long a server may take to end when asked to; then it is killed."""

STARTS = 3
"""Times that a server with many ports is started, before it is taken for broken."""

_LOOK_EVERY_S = 0.1
_ANSWER_LIMIT_S = 5.0
_LAST_LINES = 30
_LOKI_LARGEST_MESSAGE = 100 * 1024 * 1024


class ServerMissingError(Exception):
    """A server's executable is not on this machine. Whoever wants to skip asks `executables.server` before."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no {name} here: python -m tests.live.build_servers {name}")
        self.name = name


class ServerStartError(Exception):
    """A server ended, or did not answer in time; the text carries the end of its log."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        super().__init__("\n".join([f"{name} {reason}; its log ends:", *lines]))
        self.name = name
        self.reason = reason


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, which also accepts remote writes; its admin API is off."""

    url: str
    log: Path


@dataclass(frozen=True)
class Alertmanager:
    """A running Alertmanager without peers."""

    url: str
    log: Path


@dataclass(frozen=True)
class Loki:
    """A running Loki of one process without tenants, which accepts lines of any age."""

    url: str
    log: Path


@dataclass(frozen=True)
class Jaeger:
    """A running Jaeger that keeps its traces in memory."""

    url: str
    """Base of the query API: `/api/traces`, `/api/services`."""

    otlp_http: str
    """Base of OTLP over HTTP: traces are posted to `/v1/traces` below it."""

    log: Path


@dataclass(frozen=True)
class LlamaServer:
    """A running llama.cpp with SmolLM2: real tokens and real latencies, and judgement that is worth nothing."""

    url: str
    """Up to and with `/v1`."""

    model: str
    slots: int
    """Answers that it works on at once."""

    log: Path


@dataclass(frozen=True)
class Kubernetes:
    """A running Kubernetes API server with its etcd, and with neither controllers nor nodes."""

    url: str
    ca_file: Path
    """Verifies the API server's certificate."""

    admin_token: str
    """Bearer token of a user in `system:masters`, who may do everything."""

    audit_log: Path
    """One JSON line for each request that was answered; a watch has two. Written just after the answer is sent.

    The server's requests to itself are there too, by `system:apiserver`; a request with a wrong token has no user name.
    """

    log: Path


@contextmanager
def prometheus(folder: Path, config_yaml: str, *, extra_args: Sequence[str] = ()) -> Iterator[Prometheus]:
    """Run Prometheus with this configuration, whose intervals are the caller's; relative paths start in `folder`.

    It takes 5 s until it scrapes its first target or finds its Alertmanager, whatever the intervals are: that is how
    often it looks at what was discovered. Remote writes and rules begin at once.
    """
    (port,) = _free_ports(1)
    url = f"http://127.0.0.1:{port}"
    config = _written(folder / "prometheus.yml", config_yaml)
    arguments = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.external-url={url}",
        "--web.enable-remote-write-receiver",
        # The first alert is sent before an Alertmanager is found, and so is lost; by default the next follows in 1 min.
        "--rules.alert.resend-delay=1s",
        *extra_args,
    ]
    with _running("prometheus", arguments, folder=folder, ready=lambda: _answers(f"{url}/-/ready")) as log:
        yield Prometheus(url=url, log=log)


@contextmanager
def alertmanager(folder: Path, config_yaml: str, *, extra_args: Sequence[str] = ()) -> Iterator[Alertmanager]:
    """Run Alertmanager with this configuration; relative paths in it start in `folder`."""
    (port,) = _free_ports(1)
    url = f"http://127.0.0.1:{port}"
    config = _written(folder / "alertmanager.yml", config_yaml)
    arguments = [
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.external-url={url}",
        "--cluster.listen-address=",
        *extra_args,
    ]
    with _running("alertmanager", arguments, folder=folder, ready=lambda: _answers(f"{url}/-/ready")) as log:
        yield Alertmanager(url=url, log=log)


@contextmanager
def loki(folder: Path, *, extra_args: Sequence[str] = ()) -> Iterator[Loki]:
    """Run Loki in one process, with everything that it keeps in `folder`.

    Lines can be queried as soon as they are accepted. In one stream, a line may be at most 24 h older than the newest.
    """
    port, grpc_port = _free_ports(2)
    url = f"http://127.0.0.1:{port}"
    config = _written(folder / "loki.yml", json.dumps(_loki_config(folder / "loki", port, grpc_port), indent=1))
    arguments = [f"-config.file={config}", *extra_args]
    paths = ("/ready", "/loki/api/v1/labels")
    with _running("loki", arguments, folder=folder, ready=lambda: all(_answers(url + path) for path in paths)) as log:
        yield Loki(url=url, log=log)


def _loki_config(storage: Path, port: int, grpc_port: int) -> dict[str, object]:
    """A configuration under which lines can be queried at once, however old they are."""
    return {
        "auth_enabled": False,
        "analytics": {"reporting_enabled": False},
        "server": {
            "http_listen_address": "127.0.0.1",
            "http_listen_port": port,
            "grpc_listen_address": "127.0.0.1",
            "grpc_listen_port": grpc_port,
            "grpc_server_max_recv_msg_size": _LOKI_LARGEST_MESSAGE,
            "grpc_server_max_send_msg_size": _LOKI_LARGEST_MESSAGE,
        },
        "common": {
            "path_prefix": str(storage),
            "instance_addr": "127.0.0.1",
            "replication_factor": 1,
            "ring": {"kvstore": {"store": "inmemory"}, "instance_addr": "127.0.0.1"},
            "storage": {
                "filesystem": {"chunks_directory": str(storage / "chunks"), "rules_directory": str(storage / "rules")}
            },
        },
        "frontend": {"address": "127.0.0.1"},
        # Queries go straight from one part to the other; it takes 10 s until they find each other through the ring.
        "frontend_worker": {"frontend_address": f"127.0.0.1:{grpc_port}", "dns_lookup_duration": "100ms"},
        "schema_config": {
            "configs": [
                {
                    "from": "2020-01-01",
                    "store": "tsdb",
                    "object_store": "filesystem",
                    "schema": "v13",
                    "index": {"prefix": "index_", "period": "24h"},
                }
            ]
        },
        "ingester": {
            "lifecycler": {"min_ready_duration": "0s", "final_sleep": "0s"},
            "max_chunk_age": "48h",
            "query_store_max_look_back_period": "87600h",
        },
        # With the period above: old lines would otherwise be looked for on disk only, where they are not yet.
        "querier": {"query_ingesters_within": "0s"},
        "limits_config": {
            "reject_old_samples": False,
            "ingestion_rate_mb": 100,
            "ingestion_burst_size_mb": 100,
            "per_stream_rate_limit": "100MB",
            "per_stream_rate_limit_burst": "100MB",
            "volume_enabled": True,
        },
    }


@contextmanager
def jaeger(folder: Path, *, extra_args: Sequence[str] = ()) -> Iterator[Jaeger]:
    """Run Jaeger in one process that forgets its traces when it ends.

    It needs eleven ports, and somebody else may take one before it does: then it is started again on others.
    """
    with ExitStack() as stack:
        for left in reversed(range(STARTS)):
            try:
                found = stack.enter_context(_jaeger(folder, extra_args))
                break
            except ServerStartError:
                if not left:
                    raise
        yield found


@contextmanager
def _jaeger(folder: Path, extra_args: Sequence[str]) -> Iterator[Jaeger]:
    query, admin, otlp, *others = _free_ports(11)
    unused = [
        "collector.otlp.grpc.host-port",
        "collector.grpc-server.host-port",
        "collector.http-server.host-port",
        "query.grpc-server.host-port",
        "http-server.host-port",
        "processor.jaeger-binary.server-host-port",
        "processor.jaeger-compact.server-host-port",
        "processor.zipkin-compact.server-host-port",
    ]
    arguments = [
        f"--query.http-server.host-port=127.0.0.1:{query}",
        f"--admin.http.host-port=127.0.0.1:{admin}",
        "--collector.otlp.enabled=true",
        f"--collector.otlp.http.host-port=127.0.0.1:{otlp}",
        *(f"--{flag}=127.0.0.1:{port}" for flag, port in zip(unused, others, strict=True)),
        *extra_args,
    ]
    environment = {"SPAN_STORAGE_TYPE": "memory", "OTEL_TRACES_SAMPLER": "always_off"}
    status = f"http://127.0.0.1:{admin}/"
    with _running("jaeger", arguments, folder=folder, ready=lambda: _answers(status), environment=environment) as log:
        yield Jaeger(url=f"http://127.0.0.1:{query}", otlp_http=f"http://127.0.0.1:{otlp}", log=log)


@dataclass(frozen=True)
class Neo4j:
    """A running Neo4j with Bolt alone, whose user `neo4j` still has the password that must be changed."""

    url: str
    log: Path


@contextmanager
def neo4j(folder: Path) -> Iterator[Neo4j]:
    """Run Neo4j with everything that it keeps in `folder`."""
    (port,) = _free_ports(1)
    data = folder / "neo4j"
    data.mkdir(exist_ok=True)
    with _running("neo4j", [str(port), str(data)], folder=folder, ready=lambda: _accepts(port)) as log:
        yield Neo4j(url=f"bolt://127.0.0.1:{port}", log=log)


@contextmanager
def llama_server(folder: Path, *, slots: int = 2) -> Iterator[LlamaServer]:
    """Run llama.cpp on loopback."""
    (port,) = _free_ports(1)
    url = f"http://127.0.0.1:{port}"
    arguments = [str(port), str(slots)]
    with _running("llama-server", arguments, folder=folder, ready=lambda: _answers(f"{url}/health")) as log:
        yield LlamaServer(url=f"{url}/v1", model="smollm2", slots=slots, log=log)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_LIMIT_S):
        return True
    return False


@contextmanager
def kubernetes(
    folder: Path,
    users: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    *,
    extra_args: Sequence[str] = (),
) -> Iterator[Kubernetes]:
    """Run a Kubernetes API server with RBAC and an etcd of its own.

    There is no controller, so a test writes every status itself, and pods need no service account. For the same reason
    the roles `view`, `edit` and `admin` are empty, which a controller would fill: bind to a role of the test's own, or
    to `system:aggregate-to-view`.

    Args:
        folder: for both servers' data, certificates and logs.
        users: further users by their bearer token: name and groups. They may do nothing until a role says so.
        extra_args: further arguments of the API server.
    """
    port, etcd_port, peer_port = _free_ports(3)
    admin_token = secrets.token_urlsafe(24)
    tokens = {admin_token: ("admin", ("system:masters",)), **(users or {})}
    certificates = folder / "certificates"
    running = Kubernetes(
        url=f"https://127.0.0.1:{port}",
        ca_file=certificates / "apiserver.crt",
        admin_token=admin_token,
        audit_log=folder / "audit.jsonl",
        log=folder / "kube-apiserver.log",
    )
    key = certificates / "apiserver.key"
    arguments = [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--cert-dir={certificates}",
        # The server makes this key before it reads it, so that nobody else has to make one.
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--service-account-issuer={running.url}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
        "--authorization-mode=RBAC",
        f"--token-auth-file={_written(folder / 'tokens.csv', _token_file(tokens))}",
        f"--audit-policy-file={_written(folder / 'audit-policy.yml', json.dumps(_AUDIT_POLICY))}",
        f"--audit-log-path={running.audit_log}",
        *extra_args,
    ]
    with (
        _etcd(folder, etcd_port, peer_port),
        _running("kube-apiserver", arguments, folder=folder, ready=lambda: _kubernetes_answers(running)),
    ):
        yield running


@contextmanager
def _etcd(folder: Path, port: int, peer_port: int) -> Iterator[None]:
    """The API server's database, which need not survive a power cut."""
    url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    arguments = [
        "--name=only",
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=only={peer_url}",
    ]
    with _running("etcd", arguments, folder=folder, ready=lambda: _answers(f"{url}/health")):
        yield


_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def _token_file(users: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    """The API server's table of static users: token, name, id, groups."""
    table = io.StringIO()
    writer = csv.writer(table)
    for token, (name, groups) in users.items():
        writer.writerow([token, name, name, *([",".join(groups)] if groups else [])])
    return table.getvalue()


def _kubernetes_answers(running: Kubernetes) -> bool:
    """Whether the server is ready and the namespace that tests work in has been made."""
    if not running.ca_file.exists():
        return False
    paths = ("/readyz", "/api/v1/namespaces/default")
    return all(_answers(running.url + path, token=running.admin_token, ca_file=running.ca_file) for path in paths)


@contextmanager
def _running(
    name: str,
    arguments: Sequence[str],
    *,
    folder: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """Start a server in `folder`, wait until it is ready, yield its log, and stop it whatever happens."""
    executable = server(name)
    if executable is None:
        raise ServerMissingError(name)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [executable, *arguments],
            cwd=folder,
            # Nothing of the caller's environment: proxies and settings would lead the servers elsewhere.
            env={"HOME": str(folder), "PATH": os.defpath, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(name, process, ready, log)
        yield log
    finally:
        _stop(process)


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    give_up = time.monotonic() + START_LIMIT.total_seconds()
    while not ready():
        if process.poll() is not None:
            raise ServerStartError(name, f"ended with {process.returncode}", log)
        if time.monotonic() > give_up:
            raise ServerStartError(name, f"was not ready within {START_LIMIT.total_seconds():.0f} s", log)
        time.sleep(_LOOK_EVERY_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, and kill it with all that it started when it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_LIMIT.total_seconds())
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str, *, token: str | None = None, ca_file: Path | None = None) -> bool:
    """Whether the server says that all is well there; no proxy is asked."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    request = urllib.request.Request(  # noqa: S310 - our own server
        url, headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    try:
        if ca_file is not None:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
        with urllib.request.build_opener(*handlers).open(request, timeout=_ANSWER_LIMIT_S) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return False
    except OSError:
        return False


def _free_ports(count: int) -> list[int]:
    """As many different ports of the loopback address as asked for, free for TCP and UDP."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            listening = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = int(listening.getsockname()[1])
            datagrams = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with suppress(OSError):  # somebody's datagrams: another one
                datagrams.bind(("127.0.0.1", port))
                found.append(port)
    return found


def _written(file: Path, text: str) -> Path:
    """The file, with this text, in a folder that is made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file
