"""A monitoring stack for the running shop: real servers that scrape it, keep its logs and traces, and fire its alerts.

What a machine lacks is left out and named. Names are those that a cluster would give: namespace, pods, containers.
"""

import hashlib
import http.server
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml

from evals.lab.recorder import DATABASE_METRICS, QUEUE_METRICS
from evals.lab.servers import (
    Kubernetes,
    ServerMissingError,
    alertmanager,
    jaeger,
    loki,
    prometheus,
)
from evals.lab.shop import DATABASE, QUEUE
from evals.lab.stage import Stage

NAMESPACE = "shop"
SCRAPE_S, EVALUATE_S, SHIP_S = 5, 2, 0.5
POD_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_CLIENT, _PRODUCER, _SERVER = 3, 4, 2


@dataclass(kw_only=True)
class Monitoring:
    """Where the servers are; None for one that this machine does not have."""

    prometheus: str | None = None
    alertmanager: str | None = None
    loki: str | None = None
    jaeger: str | None = None
    kubernetes: Kubernetes | None = None
    token_file: Path | None = None
    """Of the one who may read the cluster."""

    missing: list[str] = field(default_factory=list)
    """Servers that could not be started, by name."""

    def found(self) -> dict[str, str]:
        """Addresses of the servers that run, by name."""
        known = {name: getattr(self, name) for name in ("prometheus", "alertmanager", "loki", "jaeger")}
        cluster = {} if self.kubernetes is None else {"kubernetes": self.kubernetes.url}
        return {**{name: url for name, url in known.items() if url is not None}, **cluster}

    def environment(self) -> dict[str, Any]:
        """The environment file of the shop."""
        sources: list[dict[str, Any]] = []
        for backend in ("prometheus", "loki", "jaeger"):
            url = getattr(self, backend)
            if url is not None:
                sources.append({"name": f"lab-{backend}", "backend": backend, "url": url})
                if backend == "loki":
                    sources[-1]["selector"] = f'namespace="{NAMESPACE}"'
        if self.kubernetes is not None:
            sources.append(
                {
                    "name": "lab-kubernetes",
                    "backend": "kubernetes",
                    "url": self.kubernetes.url,
                    "credential": {"file": str(self.token_file)},
                    "trusted": str(self.kubernetes.ca_file),
                    "namespaces": [NAMESPACE],
                }
            )
        mappings = [
            {"entity": f"database:{DATABASE}", "labels": {"job": "postgres"}},
            {"entity": f"queue:{QUEUE}", "labels": {"job": "order-queue"}},
        ]
        return {"sources": sources, "mappings": mappings}


def pod_of(service: str, revision: str = "r1") -> str:
    """The name that a ReplicaSet would give the pod of a service."""
    digest = hashlib.sha256(f"{service}/{revision}".encode()).digest()
    letters = "".join(POD_LETTERS[byte % len(POD_LETTERS)] for byte in digest[:15])
    return f"{service}-{letters[:10]}-{letters[10:]}"


@contextmanager
def monitored(stage: Stage, folder: Path, *, webhook: str | None = None) -> Iterator[Monitoring]:
    """Watch a running shop with whatever servers this machine has.

    Args:
        stage: the running shop.
        folder: where the servers keep their data.
        webhook: where Alertmanager sends what fires; None: nowhere, and it is not started.
    """
    found = Monitoring()
    with ExitStack() as running:
        exporter = running.enter_context(_exporter(stage))
        if webhook is not None:
            with tolerated(found, "alertmanager"):
                notifier = running.enter_context(alertmanager(folder / "alertmanager", _alertmanager(webhook)))
                found.alertmanager = notifier.url
        with tolerated(found, "prometheus"):
            metrics = folder / "prometheus"
            metrics.mkdir(parents=True)
            (metrics / "rules.yaml").write_text(yaml.safe_dump(rules(stage.shop.entry)))
            config = _prometheus(stage, exporter, found.alertmanager)
            found.prometheus = running.enter_context(prometheus(metrics, config)).url
        with tolerated(found, "loki"):
            logs = running.enter_context(loki(folder / "loki"))
            found.loki = logs.url
            running.enter_context(_shipping(stage, "log", lambda rows: _push_lines(logs.url, rows)))
        with tolerated(found, "jaeger"):
            traces = running.enter_context(jaeger(folder / "jaeger"))
            found.jaeger = traces.url
            running.enter_context(_shipping(stage, "spans", lambda rows: _push_spans(traces.otlp_http, rows)))
        yield found


@contextmanager
def tolerated(found: Monitoring, name: str) -> Iterator[None]:
    """Go on without a server that this machine does not have, and note it."""
    try:
        yield
    except ServerMissingError:
        found.missing.append(name)


def rules(entry: str) -> dict[str, Any]:
    """Alerting rules that see what people feel at the entry, and nothing else."""
    requests = f'http_requests_total{{app="{entry}"}}'
    failed = f'http_requests_total{{app="{entry}",code=~"5.."}}'
    buckets = f'http_request_duration_seconds_bucket{{app="{entry}"}}'
    latency = f"histogram_quantile(0.95, sum by (le) (rate({buckets}[20s])))"
    about = {"severity": "critical", "namespace": NAMESPACE, "service": entry}
    return {
        "groups": [
            {
                "name": "symptoms",
                "interval": f"{EVALUATE_S}s",
                "rules": [
                    {
                        "alert": "RequestsFail",
                        "expr": f"sum(rate({failed}[20s])) / sum(rate({requests}[20s])) > 0.1",
                        "for": "4s",
                        "labels": about,
                        "annotations": {"summary": f"More than 10% of the requests at {entry} fail"},
                    },
                    {
                        "alert": "RequestsAreSlow",
                        "expr": f"{latency} > 0.4",
                        "for": "4s",
                        "labels": about,
                        "annotations": {"summary": f"p95 latency at {entry} is over 0.4 s"},
                    },
                    {
                        "alert": "OrdersWait",
                        "expr": f'queue_oldest_seconds{{queue="{QUEUE}"}} > 15',
                        "for": "4s",
                        "labels": {"severity": "critical", "namespace": NAMESPACE, "queue": QUEUE},
                        "annotations": {"summary": f"The oldest order in {QUEUE} has waited for over 15 s"},
                    },
                ],
            }
        ]
    }


def _prometheus(stage: Stage, exporter: int, notifier: str | None) -> str:
    jobs: list[dict[str, Any]] = []
    for name, peer in stage.peers.items():
        labels = {"namespace": NAMESPACE, "pod": pod_of(name), "container": name, "app": name}
        jobs.append(
            {
                "job_name": f"{NAMESPACE}/{name}",
                "scheme": "https" if peer.tls else "http",
                **({"tls_config": {"insecure_skip_verify": True}} if peer.tls else {}),
                "static_configs": [{"targets": [f"{peer.host}:{peer.port}"], "labels": labels}],
            }
        )
    for job in EXPORTED:
        targets = [{"targets": [f"127.0.0.1:{exporter}"]}]
        jobs.append({"job_name": job, "metrics_path": f"/{job}", "static_configs": targets})
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": f"{SCRAPE_S}s",
            "scrape_timeout": "2s",
            "evaluation_interval": f"{EVALUATE_S}s",
        },
        "rule_files": ["rules.yaml"],
        "scrape_configs": jobs,
    }
    if notifier is not None:
        target = notifier.partition("//")[2]
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]}
    return yaml.safe_dump(config)


def _alertmanager(webhook: str) -> str:
    return yaml.safe_dump(
        {
            "route": {
                "receiver": "inquest",
                "group_by": ["namespace"],
                "group_wait": "1s",
                "group_interval": "5s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": "inquest", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        }
    )


@contextmanager
def _exporter(stage: Stage) -> Iterator[int]:
    """What a postgres_exporter would say of the database, and a small one of the queue; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = _exported(stage, self.path.strip("/")).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


EXPORTED = {
    "postgres": (f'datname="{DATABASE}"', DATABASE_METRICS),
    "order-queue": (f'queue="{QUEUE}"', QUEUE_METRICS),
}


def _exported(stage: Stage, job: str) -> str:
    labels, query = EXPORTED[job]
    lines = []
    with psycopg.connect(stage.postgres.url(), connect_timeout=2) as connection:
        for metric, value in connection.execute(query):
            kind = "counter" if metric.endswith("_total") else "gauge"
            lines += [f"# TYPE {metric} {kind}", f"{metric}{{{labels}}} {float(value)}"]
    return "\n".join(lines) + "\n"


Rows = list[tuple[str, dict[str, Any], str]]
"""(service, parsed line, line)."""


@contextmanager
def _shipping(stage: Stage, suffix: str, push: Callable[[Rows], None]) -> Iterator[None]:
    """Ship what the services write to their files, as an agent on a node does, until the end."""
    ending = threading.Event()

    def ship() -> None:
        read: dict[str, int] = {}
        waiting: Rows = []
        while True:
            last = ending.is_set()
            for name in stage.shop.services:
                waiting += _fresh(stage.folder / f"{name}.{suffix}", name, read)
            if waiting:
                with suppress(OSError):
                    push(waiting)
                    waiting = []
            if last:
                return
            ending.wait(SHIP_S)

    thread = threading.Thread(target=ship, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(30)


def _fresh(path: Path, name: str, read: dict[str, int]) -> Rows:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(read.get(name, 0))
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    read[name] = read.get(name, 0) + len(whole)
    lines = [line for line in whole.decode(errors="replace").splitlines() if line.startswith("{")]
    return [(name, json.loads(line), line) for line in lines]


def _push_lines(url: str, rows: Rows) -> None:
    streams: dict[str, list[list[str]]] = {}
    for name, row, line in rows:
        streams.setdefault(name, []).append([str(int(float(row["ts"]) * 1e9)), line])
    body = [
        {
            "stream": {"namespace": NAMESPACE, "pod": pod_of(name), "container": name, "app": name},
            "values": sorted(values),
        }
        for name, values in streams.items()
    ]
    _post(f"{url}/loki/api/v1/push", {"streams": body})


def _push_spans(url: str, rows: Rows) -> None:
    resources: dict[str, list[dict[str, Any]]] = {}
    for name, row, _ in rows:
        resources.setdefault(name, []).append(_span(row))
    body = [
        {
            "resource": {
                "attributes": _attributes(
                    {"service.name": name, "k8s.namespace.name": NAMESPACE, "k8s.pod.name": pod_of(name)}
                )
            },
            "scopeSpans": [{"scope": {"name": "lab"}, "spans": spans}],
        }
        for name, spans in resources.items()
    ]
    _post(f"{url}/v1/traces", {"resourceSpans": body})


def _span(row: Mapping[str, Any]) -> dict[str, Any]:
    kind, _, name = str(row["peer"]).partition(":")
    about = {
        "service": {"peer.service": name},
        "database": {"db.system.name": "postgresql", "db.namespace": name},
        "queue": {"messaging.system": "postgresql", "messaging.destination.name": name},
    }.get(kind, {})
    start = int(row["start_ns"])
    return {
        "traceId": row["trace_id"],
        "spanId": row["span_id"],
        **({"parentSpanId": row["parent_span_id"]} if row["parent_span_id"] else {}),
        "name": row["operation"],
        "kind": _PRODUCER if kind == "queue" else _CLIENT if about else _SERVER,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + int(row["duration_us"]) * 1_000),
        "attributes": _attributes(about),
        **({"status": {"code": 2}} if row["error"] else {}),
    }


def _attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _post(url: str, document: dict[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own server
        url, data=json.dumps(document).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        answer.read()
