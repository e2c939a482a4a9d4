"""Watches the shop as a monitoring stack would, and turns what it saw into a recording."""

import http.client
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from evals.bundles import Recording
from evals.lab.alerting import EntryRequest, SymptomRule, waiting_too_long
from evals.lab.service import Peer, connect
from evals.lab.shop import QUEUE
from evals.lab.stage import ORDER_QUEUE, SHOP_DATABASE, Stage, now, read_json_lines
from workflows.contracts.alert import Alert, Severity
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import EntityKind, entity_id

SCRAPE_EVERY_S = 5.0
IDS = ("trace_id", "span_id")
BORING = ("python_", "_created", "process_start_time", "process_virtual", "process_max_fds")
DATABASE_METRICS = """
SELECT 'pg_connections', count(*)::float FROM pg_stat_activity WHERE backend_type = 'client backend'
UNION ALL SELECT 'pg_lock_waiting', count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
UNION ALL SELECT 'pg_idle_in_transaction', count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'
UNION ALL SELECT 'pg_oldest_transaction_seconds', coalesce(max(extract(epoch FROM now() - xact_start)), 0)
          FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
UNION ALL SELECT 'pg_commits_total', xact_commit FROM pg_stat_database WHERE datname = current_database()
UNION ALL SELECT 'pg_rollbacks_total', xact_rollback FROM pg_stat_database WHERE datname = current_database()
UNION ALL SELECT 'pg_rows_read_total', tup_returned FROM pg_stat_database WHERE datname = current_database()
"""
QUEUE_METRICS = """
SELECT 'queue_depth', count(*)::float FROM orders
UNION ALL SELECT 'queue_oldest_seconds', coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0) FROM orders
"""


def unchecked() -> ssl.SSLContext:
    """Scrapes do not check certificates, so that one that ended can be distinguished from a service that is gone."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class NoAlertError(RuntimeError):
    """The fault did not show at the entry in time; there is no incident to record."""


@dataclass
class Recorder:
    """Scrapes until it is stopped, then reads logs and spans."""

    stage: Stage
    started: datetime = field(default_factory=now)
    _samples: list[tuple[datetime, str, str, float]] = field(default_factory=list)
    _counters: set[str] = field(default_factory=set)
    _read: int = 0
    _unchecked: ssl.SSLContext = field(default_factory=unchecked)
    _oldest_s: float = 0.0

    def watch(self, seconds: float) -> None:
        """Scrape for that long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._scrape()

    def watch_until_alert(self, limit_s: float) -> Alert:
        """Scrape until the symptom rule fires.

        Raises:
            NoAlertError: nothing fired within `limit_s` seconds.
        """
        entry = self.stage.shop.entry
        rule = SymptomRule(entry)
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            self._scrape()
            symptom = rule.judge(self._entry_requests(), now())
            if symptom is not None:
                return self.alert(symptom)
            late = waiting_too_long(QUEUE, self._oldest_s)
            if late is not None:
                return self.alert(late, ORDER_QUEUE)
        raise NoAlertError(f"no symptom at {entry} within {limit_s:.0f} s of the fault")

    def alert(self, symptom: str, entity: EntityId | None = None) -> Alert:
        """An alert that says so now, about the entry unless another entity is named."""
        entity = entity or entity_id(EntityKind.SERVICE, self.stage.shop.entry)
        name = entity.partition(":")[2]
        return Alert(
            source="lab",
            fingerprint=f"{name}-symptom",
            title=symptom,
            starts_at=now(),
            severity=Severity.CRITICAL,
            entity=entity,
            labels={"service": name, "environment": "lab"},
        )

    def recording(self, bundle_id: str, alert: Alert, *, seen_for_s: float) -> Recording:
        """Everything seen so far, visible until `seen_for_s` seconds after the alert."""
        as_of = alert.starts_at + timedelta(seconds=seen_for_s)
        logs, traces = numbered(self._logs(), self._spans())
        return Recording(
            bundle_id=bundle_id,
            alert=alert,
            visible=VisibleWindow(start=self.started, end=as_of),
            as_of=as_of,
            topology=self.stage.shop.topology(),
            metrics=pl.DataFrame(
                self._samples,
                schema=["ts", "entity", "metric", "value"],
                orient="row",
                infer_schema_length=None,
            ),
            logs=logs,
            traces=traces,
            changes=self.stage.changes,
            cluster=self.stage.conditions,
            counters=sorted(self._counters),
        )

    def _scrape(self) -> None:
        began = time.monotonic()
        for name, peer in self.stage.peers.items():
            entity = entity_id(EntityKind.SERVICE, name)
            text = _metrics_text(peer, self._unchecked)
            at = now()
            self._samples.append((at, entity, "up", float(text is not None)))
            for family in text_string_to_metric_families(text or ""):
                for sample in family.samples:
                    if any(part in sample.name for part in BORING) or sample.name.endswith("_bucket"):
                        continue
                    labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
                    metric = f"{sample.name}{{{labels}}}" if labels else sample.name
                    self._samples.append((at, entity, metric, sample.value))
                    if sample.name.endswith(("_total", "_sum", "_count")):
                        self._counters.add(metric)
        self._ask_database()
        time.sleep(max(0.0, SCRAPE_EVERY_S - (time.monotonic() - began)))

    def _ask_database(self) -> None:
        with psycopg.connect(self.stage.postgres.url(), connect_timeout=5) as connection:
            for metric, value in connection.execute(DATABASE_METRICS):
                self._samples.append((now(), SHOP_DATABASE, metric, float(value)))
                if metric.endswith("_total"):
                    self._counters.add(metric)
            for metric, value in connection.execute(QUEUE_METRICS):
                self._samples.append((now(), ORDER_QUEUE, metric, float(value)))
                if metric == "queue_oldest_seconds":
                    self._oldest_s = float(value)

    def _entry_requests(self) -> list[EntryRequest]:
        rows = read_json_lines(self.stage.folder / f"{self.stage.shop.entry}.spans")
        fresh, self._read = rows[self._read :], len(rows)
        return [
            EntryRequest(
                ended=datetime.fromtimestamp(float(row["start_ns"]) / 1e9 + float(row["duration_us"]) / 1e6, UTC),
                duration_s=float(row["duration_us"]) / 1e6,
                failed=bool(row["error"]),
            )
            for row in fresh
            if not row["parent_span_id"]
        ]

    def _rows(self, suffix: str) -> list[tuple[str, dict[str, str | float | bool]]]:
        return [
            (entity_id(EntityKind.SERVICE, name), row)
            for name in self.stage.shop.services
            for row in read_json_lines(Path(self.stage.folder / f"{name}.{suffix}"))
        ]

    def _logs(self) -> pl.DataFrame:
        rows = [
            (
                datetime.fromtimestamp(float(row["ts"]), UTC),
                entity,
                str(row["severity"]).lower(),
                str(row["message"]),
                str(row["trace_id"]),
                str(row["span_id"]),
            )
            for entity, row in self._rows("log")
        ]
        return pl.DataFrame(rows, schema=["ts", "entity", "severity", "message", "trace_id", "span_id"], orient="row")

    def _spans(self) -> pl.DataFrame:
        rows = [
            (
                datetime.fromtimestamp(float(row["start_ns"]) / 1e9, UTC),
                int(row["duration_us"]),
                str(row["trace_id"]),
                str(row["span_id"]),
                str(row["parent_span_id"]),
                entity,
                str(row["operation"]),
                str(row["peer"]),
                bool(row["error"]),
            )
            for entity, row in self._rows("spans")
        ]
        columns = ["ts", "duration_us", "trace_id", "span_id", "parent_span_id", "entity", "operation", "peer", "error"]
        return pl.DataFrame(rows, schema=columns, orient="row")


def numbered(logs: pl.DataFrame | None, traces: pl.DataFrame | None) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
    """The same rows with ids counted in order of appearance: as unique as before, and a quarter of the size."""
    frames = [frame.select("ts", *IDS) for frame in (traces, logs) if frame is not None]
    if not frames:
        return logs, traces
    names = {"": ""}
    for row in pl.concat(frames, how="vertical_relaxed").sort("ts").select(IDS).iter_rows():
        for name in row:
            names.setdefault(name, f"{len(names):x}")
    shown = {column: pl.col(column).replace(names) for column in (*IDS, "parent_span_id")}
    return (
        None if logs is None else logs.with_columns(**{column: shown[column] for column in IDS}),
        None if traces is None else traces.with_columns(**shown),
    )


def _metrics_text(peer: Peer, tls: ssl.SSLContext) -> str | None:
    connection = connect(peer, tls, timeout_s=1)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
