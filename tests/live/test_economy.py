"""What an investigation costs its sources: few queries and few bytes, however many services there are."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from activities.telemetry.backend import Spent, run_probe, run_probes
from activities.telemetry.entities import Resolver
from activities.telemetry.plan import inventory_probe
from activities.telemetry.registry import Opening, backend_kinds
from evals.lab.servers import jaeger, loki, prometheus
from tests.live.test_telemetry import post
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import LogProbe, MetricProbe, Probe, TraceProbe, Window

MEGABYTE = 1_000_000
STARTED = time.time()
OPERATIONS, CODES = ("read", "write", "list"), ("200", "404", "500")


def exposed(number: int) -> str:
    """Some 60 series of a usual service."""
    grown = (time.time() - STARTED) * (1 + number % 7)
    lines = []
    for operation in OPERATIONS:
        for code in CODES:
            lines.append(f'http_requests_total{{operation="{operation}",code="{code}"}} {grown:.1f}')
        for bucket in ("0.01", "0.1", "0.5", "1", "+Inf"):
            lines.append(f'http_request_duration_seconds_bucket{{operation="{operation}",le="{bucket}"}} {grown:.1f}')
        lines.append(f'http_request_duration_seconds_sum{{operation="{operation}"}} {grown / 20:.2f}')
        lines.append(f'http_request_duration_seconds_count{{operation="{operation}"}} {grown:.1f}')
    for name in (
        "process_cpu_seconds_total",
        "process_network_receive_bytes_total",
        "process_network_transmit_bytes_total",
    ):
        lines.append(f"{name} {grown / 10:.2f}")
    for name in ("process_resident_memory_bytes", "process_open_fds", "http_requests_in_flight", "db_pool_waiting"):
        lines.append(f"{name} {random.randint(10, 99)}")
    lines += [f"our_own_gauge_{item} {random.random():.4f}" for item in range(20)]
    return "\n".join(lines) + "\n"


@contextmanager
def exporters() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = exposed(int(self.path.rpartition("/")[2])).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def asked(backend: str, url: str, make: Callable[[EntityId], Probe], **more: Any) -> tuple[int, Spent]:
    """How many entities have an answer with rows, and what inventory and collection cost together."""
    kind = backend_kinds()[backend]
    config = kind.config.model_validate({"name": "s", "backend": backend, "url": url, **more})
    first = kind.open(Opening(config=config, resolver=lambda: Resolver({})))
    answer = run_probe(first, inventory_probe("s", datetime.now(UTC)))
    first.close()
    assert answer.rows is not None
    resolver = Resolver({"s": answer.rows})
    entities = sorted(resolver.known_by())
    second = kind.open(Opening(config=config, resolver=lambda: resolver))
    probes = [make(entity) for entity in entities]
    found = [item for _, item in run_probes(second, probes)]
    second.close()
    spent = Spent(
        queries=first.spent.queries + second.spent.queries,
        bytes_received=first.spent.bytes_received + second.spent.bytes_received,
    )
    assert not [item.detail for item in found if item.detail]
    if backend == "prometheus":
        names = [set(item.rows["metric"]) for item in found if item.rows is not None]
        assert all(any("http_requests_total" in name for name in known) for known in names), "cheap signs of all"
        near, far = names[0], names[-1]
        assert any("our_own_gauge" in name for name in near), "everything of what is near the alert"
        assert not any("our_own_gauge" in name for name in far)
    return sum(item.status is ObservationStatus.OK for item in found), spent


def window() -> Window:
    now = datetime.now(UTC)
    return Window(start=now - timedelta(hours=24), end=now)


def test_metrics_of_400_services(need: Callable[..., None], folder: Path) -> None:
    services, queries, settle_s = 400, 60, 30
    need("prometheus")
    home = folder / f"metrics-{services}"
    home.mkdir()
    with exporters() as port:
        jobs = [
            {
                "job_name": f"shop/service-{number}",
                "metrics_path": f"/{number}",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"app": f"service-{number}"}}],
            }
            for number in range(services)
        ]
        interval = "5s" if services <= 100 else "10s"
        config = {"global": {"scrape_interval": interval, "scrape_timeout": "5s"}, "scrape_configs": jobs}
        with prometheus(home, yaml.safe_dump(config)) as server:
            time.sleep(settle_s)
            answered, spent = asked(
                "prometheus", server.url, lambda entity: MetricProbe(backend="s", window=window(), entity=entity)
            )
    print(f"{services} services: {spent.queries} metric queries, {spent.bytes_received / MEGABYTE:.2f} MB")
    assert answered == services
    assert spent.queries <= queries
    assert spent.bytes_received <= 30 * MEGABYTE


def test_logs_and_traces_of_100_services(need: Callable[..., None], folder: Path) -> None:
    need("loki", "jaeger")
    now = time.time()
    with loki(folder / "logs") as logs, jaeger(folder / "traces") as traces:
        for number in range(100):
            lines = [[str(int((now - 900 + n * 1.8) * 1e9)), f'level=info msg="served {n}"'] for n in range(500)]
            stream = {"stream": {"namespace": "shop", "app": f"service-{number}"}, "values": lines}
            post(f"{logs.url}/loki/api/v1/push", {"streams": [stream]})
        for number in range(1_500):
            post(f"{traces.otlp_http}/v1/traces", {"resourceSpans": chain(now - 900 + number * 0.6, number)})
        time.sleep(2)
        known, of_logs = asked(
            "loki",
            logs.url,
            lambda entity: LogProbe(backend="s", window=window(), entity=entity),
            selector='namespace="shop"',
        )
        traced, of_traces = asked(
            "jaeger", traces.url, lambda entity: TraceProbe(backend="s", window=window(), entity=entity)
        )
    print(f"logs {of_logs}, traces {of_traces}")
    assert known == traced == 100
    assert of_logs.queries <= 40
    assert of_traces.queries <= 40
    assert of_logs.bytes_received + of_traces.bytes_received <= 30 * MEGABYTE


def chain(at: float, number: int) -> list[dict[str, Any]]:
    """A request through ten of a hundred services, one calling the next."""
    rng, resources, parent = random.Random(number), [], ""
    path = [0, *rng.sample(range(1, 100), 9)]
    for depth, service in enumerate(path):
        span_id = f"{number * 16 + depth + 1:016x}"
        start = int((at + depth / 1e3) * 1e9)
        span = {
            "traceId": f"{number + 1:032x}",
            "spanId": span_id,
            "name": "serve",
            "kind": 2,
            **({"parentSpanId": parent} if parent else {}),
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + int((20 - depth) * 1e6)),
        }
        attributes = [{"key": "service.name", "value": {"stringValue": f"service-{service}"}}]
        resources.append({"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [span]}]})
        parent = span_id
    return resources
