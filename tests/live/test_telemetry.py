"""Real Prometheus, Loki and Jaeger: what goes in comes out, counted right, in few queries, and nothing is written."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from activities.telemetry.backend import Answer, Spent, TelemetryBackend, run_probe, run_probes
from activities.telemetry.entities import Resolver
from activities.telemetry.plan import inventory_probe
from activities.telemetry.registry import Opening, backend_kinds
from evals.lab.servers import Jaeger, Loki, Prometheus, jaeger, loki, prometheus
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import LogProbe, MetricProbe, Probe, TraceProbe, Window

CHECKOUT, CART = EntityId("service:checkout"), EntityId("service:cart")
STARTED = time.time()


def opened(backend: str, url: str, resolver: Resolver, **more: Any) -> TelemetryBackend:
    kind = backend_kinds()[backend]
    config = kind.config.model_validate({"name": "s", "backend": backend, "url": url, **more})
    return kind.open(Opening(config=config, resolver=lambda: resolver))


def answers(backend: TelemetryBackend, probes: list[Probe]) -> tuple[dict[str, Answer], Spent]:
    try:
        found = {probe.entity: answer for probe, answer in run_probes(backend, probes)}  # type: ignore[union-attr]
        return found, backend.spent
    finally:
        backend.close()


def known(backend: str, url: str, **more: Any) -> Resolver:
    source = opened(backend, url, Resolver({}), **more)
    try:
        answer = run_probe(source, inventory_probe("s", datetime.now(UTC)))
    finally:
        source.close()
    assert answer.rows is not None
    return Resolver({"s": answer.rows})


def window() -> Window:
    now = datetime.now(UTC)
    return Window(start=now - timedelta(hours=24), end=now)


def rows_of(answer: Answer) -> pl.DataFrame:
    assert answer.status is ObservationStatus.OK, answer.detail
    assert answer.rows is not None
    return answer.rows


@contextmanager
def exporter(text: Callable[[], str]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text().encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def exposed() -> str:
    """Counters that grow by 10 and 2 a second and begin again in between, a gauge, a histogram of half a second."""
    age = time.time() - STARTED
    grown = age if age < 8 else age - 8
    return f"""
# TYPE http_requests_total counter
http_requests_total{{code="200"}} {10 * grown}
http_requests_total{{code="500"}} {2 * grown}
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.5e8
# TYPE build_info gauge
build_info{{version="1"}} 1
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{{le="0.4"}} 0
http_request_duration_seconds_bucket{{le="0.6"}} {10 * grown}
http_request_duration_seconds_bucket{{le="+Inf"}} {10 * grown}
http_request_duration_seconds_sum {5 * grown}
http_request_duration_seconds_count {10 * grown}
# TYPE traces_span_metrics_calls_total counter
traces_span_metrics_calls_total{{span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_UNSET"}} {10 * grown}
traces_span_metrics_calls_total{{span_kind="SPAN_KIND_CLIENT",status_code="STATUS_CODE_UNSET"}} {3 * grown}
traces_span_metrics_calls_total{{span_kind="SPAN_KIND_CLIENT",status_code="STATUS_CODE_ERROR"}} {grown}
"""


@pytest.fixture(scope="module")
def metrics(need: Callable[..., None], folder: Path) -> Iterator[Prometheus]:
    need("prometheus")
    rule = {"alert": "AlwaysFires", "expr": 'http_requests_total{code="200"} > 0', "labels": {"app": "checkout"}}
    (folder / "metrics").mkdir()
    (folder / "metrics" / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}))
    with exporter(exposed) as port:
        jobs = [
            {"job_name": f"shop/{app}", "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"app": app}}]}
            for app in ("checkout", "cart")
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": jobs,
        }
        with prometheus(folder / "metrics", yaml.safe_dump(config)) as server:
            time.sleep(22)
            yield server


def test_metrics(metrics: Prometheus) -> None:
    resolver = known("prometheus", metrics.url)
    source = opened("prometheus", metrics.url, resolver)
    probes: list[Probe] = [MetricProbe(backend="s", window=window(), entity=name) for name in (CHECKOUT, CART)]
    found, spent = answers(source, probes)
    rows = rows_of(found[CART])
    series = {str(key[0]): part for key, part in rows.partition_by("metric", as_dict=True).items()}
    assert series['rate(http_requests_total{code="200"})']["value"].median() == pytest.approx(10, rel=0.15)
    assert series["http_requests_total_error_ratio"]["value"].median() == pytest.approx(2 / 12, rel=0.1)
    assert series["http_request_duration_seconds_mean"]["value"].median() == pytest.approx(0.5, rel=0.05)
    assert series['http_request_duration_seconds{quantile="0.95"}']["value"].median() == pytest.approx(0.59, rel=0.05)
    client, server = [f'span_kind="SPAN_KIND_{kind}"' for kind in ("CLIENT", "SERVER")]
    name = "traces_span_metrics_calls_total_error_ratio"
    assert series[f"{name}{{{client}}}"]["value"].median() == pytest.approx(1 / 4, rel=0.1)
    assert series[f"{name}{{{server}}}"]["value"].max() == 0, "what it calls fails, and not what it serves"
    assert series["process_resident_memory_bytes"]["value"].median() == 1.5e8
    assert series["up"]["value"].max() == 1
    assert not [name for name in series if name.startswith("build_info")], "labels are no sign of anything"
    assert (rows["value"] >= 0).all(), "a counter that begins again has no negative rate"
    firing = {str(name) for name in rows_of(found[CHECKOUT])["metric"].unique()}
    assert any(name.startswith("ALERTS{") and "AlwaysFires" in name for name in firing)
    assert any(name.startswith("ALERT_EXPRESSION{") for name in firing), "the alert's own expression is evaluated"
    assert spent.queries <= 12
    assert 0 < spent.bytes_received < 300_000


def test_a_selector_keeps_other_environments_out(metrics: Prometheus) -> None:
    resolver = known("prometheus", metrics.url, selector='app="cart"')
    assert {found.entity for _, _, found in resolver.names()} == {CART}
    source = opened("prometheus", metrics.url, resolver, selector='app="cart"')
    found, _ = answers(source, [MetricProbe(backend="s", window=window(), entity=name) for name in (CHECKOUT, CART)])
    assert found[CHECKOUT].status is ObservationStatus.EMPTY
    assert found[CART].status is ObservationStatus.OK


def test_a_selector_that_is_none_is_a_data_gap(metrics: Prometheus) -> None:
    from activities.telemetry.exceptions import QueryError  # noqa: PLC0415

    source = opened("prometheus", metrics.url, Resolver({}), selector="app=cart")
    with pytest.raises(QueryError, match="rejected"):
        answers(source, [MetricProbe(backend="s", window=window(), entity=CART)])


@pytest.fixture(scope="module")
def logs(need: Callable[..., None], folder: Path) -> Iterator[Loki]:
    need("loki")
    with loki(folder / "logs") as server:
        now = time.time()
        busy = [(now - 600 + n * 0.03, f'{{"level":"info","msg":"served request {n} in 3 ms"}}') for n in range(20_000)]
        rare = [(now - 300 + n * 60, '{"level":"error","msg":"charge failed for order 7"}') for n in range(5)]
        other = [(now - 500 + n * 5, f'level=warn msg="cart {n} is stale" trace_id=t{n}') for n in range(100)]
        for app, lines in (("checkout", sorted(busy + rare)), ("cart", other)):
            for start in range(0, len(lines), 5_000):
                values = [[str(int(at * 1e9)), line] for at, line in lines[start : start + 5_000]]
                stream = {"stream": {"namespace": "shop", "app": app}, "values": values}
                post(f"{server.url}/loki/api/v1/push", {"streams": [stream]})
        time.sleep(1)
        yield server


def post(url: str, document: Any) -> None:
    body = json.dumps(document).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def test_logs(logs: Loki) -> None:
    resolver = known("loki", logs.url, selector='namespace="shop"')
    source = opened("loki", logs.url, resolver, selector='namespace="shop"', most_lines=1_000)
    probes: list[Probe] = [LogProbe(backend="s", window=window(), entity=name) for name in (CHECKOUT, CART)]
    found, spent = answers(source, probes)
    totals = rows_of(found[CHECKOUT]).group_by("severity", "template").agg(pl.col("count").sum()).sort("severity")
    counts = {(severity, template): count for severity, template, count in totals.iter_rows()}
    assert counts["error", "charge failed for order <*>"] == 5, "what is rare survives the sample"
    assert counts["info", "served request <*> in <*> ms"] == pytest.approx(20_000, rel=0.03)
    cart = rows_of(found[CART])
    assert cart["count"].sum() == 100
    assert cart["template"].unique().to_list() == ["cart <*> is stale"]
    assert spent.queries <= 40
    assert spent.bytes_received < 5_000_000


@pytest.fixture(scope="module")
def traces(need: Callable[..., None], folder: Path) -> Iterator[Jaeger]:
    need("jaeger")
    with jaeger(folder / "traces") as server:
        now = time.time()
        ordinary = [request(now - 480 + n * 0.16, n, failed=False) for n in range(3_000)]
        failed = [request(now - 100 + n * 10, 10_000 + n, failed=True) for n in range(6)]
        every = [span for spans in (*ordinary, *failed) for span in spans]
        for start in range(0, len(every), 2_000):
            part = every[start : start + 2_000]
            resources = []
            for service in ("checkout", "cart"):
                spans = [span for owner, span in part if owner == service]
                attributes = [{"key": "service.name", "value": {"stringValue": service}}]
                resources.append({"resource": {"attributes": attributes}, "scopeSpans": [{"spans": spans}]})
            post(f"{server.otlp_http}/v1/traces", {"resourceSpans": resources})
        time.sleep(2)
        yield server


def request(at: float, number: int, *, failed: bool) -> list[tuple[str, dict[str, Any]]]:
    """checkout serves, calls cart, and reads a database."""
    trace = f"{number + 1:032x}"

    def span(
        own: int, parent: int, name: str, begin_ms: float, length_ms: float, kind: int, about: dict[str, str]
    ) -> dict[str, Any]:
        start = int((at + begin_ms / 1e3) * 1e9)
        return {
            "traceId": trace,
            "spanId": f"{number * 10 + own + 1:016x}",
            "name": name,
            "kind": kind,
            **({"parentSpanId": f"{number * 10 + parent + 1:016x}"} if parent >= 0 else {}),
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + int(length_ms * 1e6)),
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in about.items()],
            **({"status": {"code": 2}} if failed else {}),
        }

    database = {"db.system.name": "postgresql", "db.namespace": "orders"}
    return [
        ("checkout", span(0, -1, "POST /pay", 0, 50, 2, {})),
        ("checkout", span(1, 0, "call cart", 5, 20, 3, {"peer.service": "cart"})),
        ("cart", span(2, 1, "GET /cart", 7, 15, 2, {})),
        ("cart", span(3, 2, "SELECT", 8, 10, 3, database)),
    ]


def test_traces(traces: Jaeger) -> None:
    resolver = known("jaeger", traces.url)
    edges = {(source, target) for source, target, *_ in resolver.topology().iter_rows() if target}
    assert edges == {("service:checkout", "service:cart"), ("service:cart", "database:orders")}
    source = opened("jaeger", traces.url, resolver, most_traces=100)
    probes: list[Probe] = [TraceProbe(backend="s", window=window(), entity=name) for name in (CHECKOUT, CART)]
    found, spent = answers(source, probes)
    served = rows_of(found[CHECKOUT]).filter(pl.col("operation") == "POST /pay")
    assert served["errors"].sum() == 6, "failed traces are fetched apart and keep their number"
    assert served["count"].sum() == pytest.approx(3_006, rel=0.06)
    mean_ms = int(served["duration_us"].sum()) / int(served["count"].sum()) / 1e3
    assert mean_ms == pytest.approx(50, rel=0.02)
    per_minute = (
        served.sort("ts").group_by_dynamic("ts", every="1m").agg(pl.col("count").sum())["count"].to_list()[1:-1]
    )
    assert min(per_minute) > 0.7 * max(per_minute), "the sample stands for all of its time, and not only for its end"
    inner = rows_of(found[CART])
    assert set(inner["peer"].drop_nulls().unique()) >= {"database:orders"}
    assert set(inner["caller"].unique()) >= {"service:checkout"}
    assert spent.queries <= 40


def test_servers_were_only_read(metrics: Prometheus, logs: Loki, traces: Jaeger) -> None:
    """Their own counters of requests by method and path, as far as they have some."""
    with urllib.request.urlopen(f"{metrics.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    handled = {
        line.partition('handler="')[2].partition('"')[0]
        for line in lines
        if "http_requests_total{" in line and not line.endswith(" 0")
    }
    assert handled <= {
        "/api/v1/query",
        "/api/v1/query_range",
        "/api/v1/metadata",
        "/api/v1/rules",
        "/-/ready",
        "/metrics",
        "/api/v1/status/buildinfo",
    }
    with urllib.request.urlopen(f"{logs.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    routes = {
        line.partition('route="')[2].partition('"')[0]
        for line in lines
        if "loki_request_duration_seconds_count{" in line
    }
    used = {route for route in routes if route.startswith(("loki_api", "api_prom", "otlp"))}
    reads = {"query_range", "series", "labels", "index_stats", "index_shards", "status_buildinfo", "query"}
    assert used <= {"loki_api_v1_push", *(f"loki_api_v1_{read}" for read in reads)}, "the push is this test's own"
