"""One service of the shop, as a process of its own: HTTP in, HTTP and SQL out, metrics, JSON logs, spans.

Started by the stage as `python -m evals.lab.service` with its configuration as JSON on standard input.
"""

import http.client
import json
import logging
import os
import random
import ssl
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import TextIO

import psycopg
from cryptography import x509
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest
from psycopg_pool import ConnectionPool
from pydantic import BaseModel

from evals.lab.shop import DATABASE, QUEUE, Operation

CALL_TIMEOUT_S = 2.0
REMEMBER = "remember-answers"
"""The feature flag under which a service keeps every answer it ever gave."""

EACH_ITEM = "verify-each-item"
"""The feature flag under which a service asks others once for each of forty items, instead of once for all."""

ITEMS = 40
CRAWLERS = 200
DAWDLE_S = 1.2
LEAK = "leak"
LEAK_SHARE = 0.3
"""Share of statements whose connection is never given back, in a service that leaks them."""

STATEMENTS = {
    "read_products": "SELECT sku, price FROM product ORDER BY sku LIMIT 20",
    "read_basket": "SELECT count(*) FROM basket WHERE shopper = %(shopper)s",
    "write_basket": "INSERT INTO basket (shopper, sku) VALUES (%(shopper)s, %(sku)s)",
    "read_stock": "SELECT amount FROM stock WHERE sku = %(sku)s",
    "take_stock": "UPDATE stock SET amount = amount - 1 WHERE sku = %(sku)s",
    "enqueue_order": "INSERT INTO orders (shopper, carrier) VALUES (%(shopper)s, %(carrier)s)",
    "write_payment": "INSERT INTO payment (shopper, amount) VALUES (%(shopper)s, 9.90)",
}
TAKE_ORDER = """
DELETE FROM orders WHERE id = (SELECT id FROM orders ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING shopper, carrier
"""
REQUESTS = Counter("http_requests_total", "Requests served.", ["operation", "code"])
DURATION = Histogram(
    "http_request_duration_seconds",
    "Time to serve a request.",
    ["operation"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
IN_FLIGHT = Gauge("http_requests_in_flight", "Requests being served now.")
POOL_WAITING = Gauge("db_pool_waiting", "Requests waiting for a database connection.")


class Peer(BaseModel):
    """Where another service listens."""

    host: str
    port: int
    tls: bool


class Configuration(BaseModel):
    """What the stage orders a service to do."""

    name: str
    host: str
    port: int
    revision: str
    operations: dict[str, Operation]
    consumes: Operation | None = None
    peers: dict[str, Peer]
    certificate: Path | None = None
    """Key and chain; None serves without TLS."""

    trusted: Path
    """Certificate of the authority that signed those of the others."""

    volume: Path | None = None
    shared_network: bool = True
    """False when the process has a network of its own, whose counters are then its own."""

    database: str
    logs: Path
    spans: Path
    flags: list[str] = []
    """Feature flags that are on at the start."""

    defect: str | None = None
    """A bug that this revision ships with: `throws`, `leaks`, `remembers`, `exits` or `dawdles`."""


class _SpanFile(SpanExporter):
    """Appends finished spans to a file, one JSON document a line."""

    def __init__(self, path: Path, service: str) -> None:
        self._handle: TextIO = path.open("a", buffering=1)
        self._service = service
        self._lock = threading.Lock()

    def export(self, spans: "list[ReadableSpan]") -> SpanExportResult:  # type: ignore[override]
        with self._lock:
            for span in spans:
                context = span.get_span_context()
                assert span.start_time is not None
                assert span.end_time is not None
                assert context is not None
                row = {
                    "start_ns": span.start_time,
                    "duration_us": (span.end_time - span.start_time) // 1000,
                    "trace_id": f"{context.trace_id:032x}",
                    "span_id": f"{context.span_id:016x}",
                    "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else "",
                    "service": self._service,
                    "operation": span.name,
                    "peer": (span.attributes or {}).get("peer", ""),
                    "error": span.status.status_code is StatusCode.ERROR,
                }
                self._handle.write(json.dumps(row) + "\n")
        return SpanExportResult.SUCCESS


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        context = trace.get_current_span().get_span_context()
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + _without_machine("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return json.dumps(
            {
                "ts": record.created,
                "severity": record.levelname,
                "message": message,
                "trace_id": f"{context.trace_id:032x}" if context.is_valid else "",
                "span_id": f"{context.span_id:016x}" if context.is_valid else "",
            }
        )


def _without_machine(text: str) -> str:
    """A traceback whose files are named as in the project, not by where this machine keeps them."""
    for folder in (Path(__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix)):
        text = text.replace(f"{folder}/", "")
    return text


class UpstreamError(Exception):
    """Another service answered with an error, or not in time."""


@dataclass(frozen=True)
class App:
    """The running service: serves an operation by working, asking the database and calling others."""

    config: Configuration
    pool: ConnectionPool
    log: logging.Logger
    tracer: trace.Tracer
    remembered: list[bytearray]
    flags: set[str]
    """Feature flags that are on, and what a fault does to the process from within."""

    held: list[psycopg.Connection]
    """Connections that were never given back."""

    tls: ssl.SSLContext
    """For calls to others."""

    rng: random.Random

    def serve(self, name: str, operation: Operation, query: dict[str, str]) -> None:
        """Serve one request.

        Raises:
            UpstreamError: a call failed.
            psycopg.Error: a statement failed.
        """
        self._work(operation.work_ms)
        if REMEMBER in self.flags or self.config.defect == "remembers":
            self.remembered.append(bytearray(self.rng.randbytes(1_200_000)))
        if self.config.defect == "throws" and self.rng.random() < 0.6:
            rate = {"standard": 0.19}
            self.log.debug("tax rate %s", rate["reduced"])
        if operation.sql:
            self._ask(operation.sql, query)
        if operation.journal:
            self._write(name, query)
        for call in operation.calls * (ITEMS if EACH_ITEM in self.flags else 1):
            self._call(call.service, call.operation, query)
        if operation.enqueues:
            self._enqueue(query)
        self.log.info("%s done for shopper %s", name, query["shopper"])

    def consume(self, operation: Operation) -> None:
        """Take orders from the queue, one after the other, for ever."""
        while True:
            try:
                with self.pool.connection() as connection:
                    row = connection.execute(TAKE_ORDER).fetchone()
            except psycopg.Error:
                self.log.exception("cannot take an order")
                row = None
            if row is None:
                time.sleep(0.1)
                continue
            started = time.perf_counter()
            with self.tracer.start_as_current_span(
                "fulfil", context=propagate.extract({"traceparent": row[1]}), kind=SpanKind.CONSUMER
            ):
                self._work(operation.work_ms)
                if self.config.defect == "dawdles":
                    time.sleep(DAWDLE_S)
                self.log.info("fulfilled the order of shopper %s", row[0])
            REQUESTS.labels(operation="fulfil", code="200").inc()
            DURATION.labels(operation="fulfil").observe(time.perf_counter() - started)

    def misbehave(self, how: str) -> None:
        """Begin to do, inside of this process, what a fault of the lab wants."""
        if how == "burn":
            for _ in range(12):
                threading.Thread(target=_burn, daemon=True).start()
        elif how == "crawl":
            for _ in range(CRAWLERS):
                threading.Thread(target=self._crawl, daemon=True).start()
        else:
            self.flags.add(how)

    def _crawl(self) -> None:
        calls = [call for operation in self.config.operations.values() for call in operation.calls]
        while True:
            for call in calls:
                query = {"shopper": str(self.rng.randint(1, 500)), "sku": str(self.rng.randint(1, 40))}
                with self.tracer.start_as_current_span("refresh"), suppress(UpstreamError):
                    self._call(call.service, call.operation, query)

    def _write(self, name: str, query: dict[str, str]) -> None:
        assert self.config.volume is not None
        with (self.config.volume / "journal").open("a") as journal:
            journal.write(f"{time.time():.3f} {name} shopper {query['shopper']} sku {query['sku']}\n")

    def _enqueue(self, query: dict[str, str]) -> None:
        attributes = {"peer": f"queue:{QUEUE}"}
        with self.tracer.start_as_current_span(f"SEND {QUEUE}", kind=SpanKind.PRODUCER, attributes=attributes):
            headers: dict[str, str] = {}
            propagate.inject(headers)
            with self.pool.connection() as connection:
                statement = STATEMENTS["enqueue_order"].encode()
                connection.execute(statement, {"shopper": int(query["shopper"]), "carrier": headers["traceparent"]})

    def _work(self, mean_ms: float) -> None:
        until = time.perf_counter() + self.rng.gammavariate(4, mean_ms / 4) / 1000
        while time.perf_counter() < until:
            sum(range(200))

    def _ask(self, statement: str, query: dict[str, str]) -> None:
        sql = STATEMENTS[statement]
        attributes = {"peer": f"database:{DATABASE}"}
        with self.tracer.start_as_current_span(f"SQL {statement}", kind=SpanKind.CLIENT, attributes=attributes) as span:
            try:
                connection = self._connection()
                try:
                    connection.execute(sql.encode(), {"shopper": int(query["shopper"]), "sku": int(query["sku"])})
                finally:
                    if self._leaks():
                        self.held.append(connection)
                    else:
                        self.pool.putconn(connection)
            except psycopg.Error as error:
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise

    def _connection(self) -> psycopg.Connection:
        with POOL_WAITING.track_inprogress():
            return self.pool.getconn()

    def _leaks(self) -> bool:
        return (self.config.defect == "leaks" or LEAK in self.flags) and self.rng.random() < LEAK_SHARE

    def _call(self, service: str, operation: str, query: dict[str, str]) -> None:
        attributes = {"peer": f"service:{service}"}
        with self.tracer.start_as_current_span(
            f"GET {service}/{operation}", kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            headers: dict[str, str] = {}
            propagate.inject(headers)
            connection = connect(self.config.peers[service], self.tls, timeout_s=CALL_TIMEOUT_S)
            try:
                connection.request(
                    "GET", f"/{operation}?shopper={query['shopper']}&sku={query['sku']}", headers=headers
                )
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                span.set_status(Status(StatusCode.ERROR, str(error)))
                self.log.error("call to %s/%s failed: %s", service, operation, error)  # noqa: TRY400 - as services log
                raise UpstreamError(service) from error
            finally:
                connection.close()
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR, str(status)))
                self.log.warning("call to %s/%s answered %d", service, operation, status)
                raise UpstreamError(service)


def connect(peer: Peer, tls: ssl.SSLContext, *, timeout_s: float) -> http.client.HTTPConnection:
    """A connection to a service, not yet opened."""
    if peer.tls:
        return http.client.HTTPSConnection(peer.host, peer.port, timeout=timeout_s, context=tls)
    return http.client.HTTPConnection(peer.host, peer.port, timeout=timeout_s)


def trusting(authority: Path) -> ssl.SSLContext:
    """What clients check a service's certificate with."""
    return ssl.create_default_context(cafile=authority)


def _burn() -> None:
    while True:
        sum(range(1_000))


class _Handler(BaseHTTPRequestHandler):
    app: App
    own_tls: ssl.SSLContext | None = None
    protocol_version = "HTTP/1.0"

    def setup(self) -> None:
        if self.own_tls is not None:
            self.request.settimeout(CALL_TIMEOUT_S)
            self.request = self.own_tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self) -> None:
        path, _, raw = self.path.lstrip("/").partition("?")
        if path == "metrics":
            self._answer(200, generate_latest(REGISTRY))
            return
        if path.startswith("control/"):
            self.app.misbehave(path.removeprefix("control/"))
            self._answer(200, b"")
            return
        operation = self.app.config.operations.get(path)
        if operation is None:
            self._answer(404, b"no such operation")
            return
        query = dict(part.split("=", 1) for part in raw.split("&") if "=" in part)
        started = time.perf_counter()
        context = propagate.extract(dict(self.headers))
        with (
            IN_FLIGHT.track_inprogress(),
            self.app.tracer.start_as_current_span(path, context=context, kind=SpanKind.SERVER) as span,
        ):
            code = self._serve(path, operation, query, span)
            REQUESTS.labels(operation=path, code=str(code)).inc()
            DURATION.labels(operation=path).observe(time.perf_counter() - started)
        self._answer(code, b"")

    def _serve(self, path: str, operation: Operation, query: dict[str, str], span: trace.Span) -> int:
        try:
            self.app.serve(path, operation, query)
        except UpstreamError as error:
            span.set_status(Status(StatusCode.ERROR, f"upstream {error}"))
            return 502
        except (psycopg.Error, LookupError, OSError) as error:
            span.set_status(Status(StatusCode.ERROR, str(error)))
            self.app.log.exception("%s failed", path)
            return 500
        return 200

    def _answer(self, code: int, body: bytes) -> None:
        try:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.app.log.info("caller went away before the answer")

    def log_message(self, format: str, *args: object) -> None:
        """Requests are logged by the app itself."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, app: App) -> None:
        super().__init__((app.config.host, app.config.port), _Handler)
        self._log = app.log

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:  # noqa: ARG002
        self._log.warning("connection broke: %s", sys.exc_info()[1])


def _measure(config: Configuration) -> None:
    """Gauges of what surrounds the process."""
    if config.volume is not None:
        volume = config.volume
        used = Gauge("volume_used_bytes", "Bytes in use on the service's volume.")
        used.set_function(lambda: _used(volume))
        Gauge("volume_size_bytes", "Size of the service's volume.").set(_size(volume))
    if config.certificate is not None:
        left = Gauge("tls_certificate_seconds_left", "Seconds until the service's certificate ends.")
        ends = _not_after(config.certificate)
        left.set_function(lambda: ends - time.time())
    if not config.shared_network:
        sent_again = Gauge("tcp_retransmitted_segments", "Segments that this network sent again.")
        sent_again.set_function(_retransmitted)


def _used(volume: Path) -> float:
    found = os.statvfs(volume)
    return float((found.f_blocks - found.f_bfree) * found.f_frsize)


def _size(volume: Path) -> float:
    found = os.statvfs(volume)
    return float(found.f_blocks * found.f_frsize)


def _not_after(certificate: Path) -> float:
    chain = x509.load_pem_x509_certificates(certificate.read_bytes().split(b"-----END PRIVATE KEY-----")[-1])
    return chain[0].not_valid_after_utc.timestamp()


def _retransmitted() -> float:
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    )
    return float(dict(zip(names, values, strict=True))["RetransSegs"])


def main() -> None:
    """Run one service until it is killed."""
    config = Configuration.model_validate_json(sys.stdin.read())
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_SpanFile(config.spans, config.name)))
    handler = logging.FileHandler(config.logs)
    handler.setFormatter(_JsonLines())
    log = logging.getLogger("shop")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    if config.defect == "exits":
        log.critical("setting POOL_SIZE is not a number: eight")
        raise SystemExit(1)
    pool = ConnectionPool(
        config.database,
        min_size=1,
        max_size=8,
        timeout=3,
        kwargs={"options": "-c statement_timeout=1500", "autocommit": True, "application_name": config.name},
    )
    app = App(
        config=config,
        pool=pool,
        log=log,
        tracer=provider.get_tracer("shop"),
        remembered=[],
        flags=set(config.flags),
        held=[],
        tls=trusting(config.trusted),
        rng=random.Random(),  # noqa: S311 - jitter of a load, not a secret
    )
    _Handler.app = app
    if config.certificate is not None:
        _Handler.own_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _Handler.own_tls.load_cert_chain(config.certificate)
    _measure(config)
    log.info("%s %s listening", config.name, config.revision)
    if config.consumes is not None:
        threading.Thread(target=app.consume, args=(config.consumes,), daemon=True).start()
    _Server(app).serve_forever()


if __name__ == "__main__":
    main()
