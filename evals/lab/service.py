"""One service of the shop, as a process of its own: HTTP in, HTTP and SQL out, metrics, JSON logs, spans.

Started by the stage as `python -m evals.lab.service` with its configuration as JSON on standard input.
"""

import http.client
import json
import logging
import random
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TextIO

import psycopg
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest
from psycopg_pool import ConnectionPool
from pydantic import BaseModel

from evals.lab.shop import DATABASE, Operation

CALL_TIMEOUT_S = 2.0
REMEMBER = "remember-answers"
"""The feature flag under which a service keeps every answer it ever gave."""

STATEMENTS = {
    "read_products": "SELECT sku, price FROM product ORDER BY sku LIMIT 20",
    "read_basket": "SELECT count(*) FROM basket WHERE shopper = %(shopper)s",
    "write_basket": "INSERT INTO basket (shopper, sku) VALUES (%(shopper)s, %(sku)s)",
    "read_stock": "SELECT amount FROM stock WHERE sku = %(sku)s",
    "take_stock": "UPDATE stock SET amount = amount - 1 WHERE sku = %(sku)s",
    "write_payment": "INSERT INTO payment (shopper, amount) VALUES (%(shopper)s, 9.90)",
}
REQUESTS = Counter("http_requests_total", "Requests served.", ["operation", "code"])
DURATION = Histogram(
    "http_request_duration_seconds",
    "Time to serve a request.",
    ["operation"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
IN_FLIGHT = Gauge("http_requests_in_flight", "Requests being served now.")
POOL_WAITING = Gauge("db_pool_waiting", "Requests waiting for a database connection.")


class Configuration(BaseModel):
    """What the stage tells a service."""

    name: str
    port: int
    revision: str
    operations: dict[str, Operation]
    peers: dict[str, int]
    """Service name to port."""

    database: str
    logs: Path
    spans: Path
    flags: list[str] = []
    """Feature flags that are on at the start."""

    defect: str | None = None
    """A bug that this revision ships with: `throws`."""


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
    """Feature flags that are on."""

    rng: random.Random

    def serve(self, name: str, operation: Operation, query: dict[str, str]) -> None:
        """Serve one request.

        Raises:
            UpstreamError: a call failed.
            psycopg.Error: a statement failed.
        """
        self._work(operation.work_ms)
        if REMEMBER in self.flags:
            self.remembered.append(bytearray(self.rng.randbytes(1_200_000)))
        if self.config.defect == "throws" and self.rng.random() < 0.6:
            rate = {"standard": 0.19}
            self.log.debug("tax rate %s", rate["reduced"])
        if operation.sql:
            self._ask(operation.sql, query)
        for call in operation.calls:
            self._call(call.service, call.operation, query)
        self.log.info("%s done for shopper %s", name, query["shopper"])

    def _work(self, mean_ms: float) -> None:
        until = time.perf_counter() + self.rng.gammavariate(4, mean_ms / 4) / 1000
        while time.perf_counter() < until:
            sum(range(200))

    def _ask(self, statement: str, query: dict[str, str]) -> None:
        sql = STATEMENTS[statement]
        attributes = {"peer": f"database:{DATABASE}"}
        with self.tracer.start_as_current_span(f"SQL {statement}", kind=SpanKind.CLIENT, attributes=attributes) as span:
            try:
                POOL_WAITING.inc()
                with self.pool.connection() as connection:
                    POOL_WAITING.dec()
                    connection.execute(sql.encode(), {"shopper": int(query["shopper"]), "sku": int(query["sku"])})
            except psycopg.Error as error:
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise

    def _call(self, service: str, operation: str, query: dict[str, str]) -> None:
        attributes = {"peer": f"service:{service}"}
        with self.tracer.start_as_current_span(
            f"GET {service}/{operation}", kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            headers: dict[str, str] = {}
            propagate.inject(headers)
            connection = http.client.HTTPConnection("127.0.0.1", self.config.peers[service], timeout=CALL_TIMEOUT_S)
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


class _Handler(BaseHTTPRequestHandler):
    app: App
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        path, _, raw = self.path.lstrip("/").partition("?")
        if path == "metrics":
            self._answer(200, generate_latest(REGISTRY))
            return
        if path.startswith("flags/"):
            self.app.flags.add(path.removeprefix("flags/"))
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
        except (psycopg.Error, LookupError) as error:
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
    pool = ConnectionPool(
        config.database,
        min_size=1,
        max_size=8,
        timeout=3,
        kwargs={"options": "-c statement_timeout=1500", "autocommit": True, "application_name": config.name},
    )
    _Handler.app = App(
        config=config,
        pool=pool,
        log=log,
        tracer=provider.get_tracer("shop"),
        remembered=[],
        flags=set(config.flags),
        rng=random.Random(),  # noqa: S311 - jitter of a load, not a secret
    )
    log.info("%s %s listening", config.name, config.revision)
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", config.port), _Handler).serve_forever()


if __name__ == "__main__":
    main()
