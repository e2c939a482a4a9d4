"""Nezha (IntelligentDDS/Nezha): Online Boutique and Train Ticket under injected faults.

The clock is the one stated for this corpus: the alert fires a minute and a drawn part of another minute after the
injection, only its time is given, and a further minute is visible. Earlier faults stay in the history, unlabelled.
"""

import csv
import json
import random
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from evals.bundles import Recording, Truth, opaque_id
from evals.readers.corpus import CorpusError
from workflows.contracts.alert import Alert, Severity
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind, Topology, entity_id

ALERT_DELAY = timedelta(seconds=60)
JITTER_S = 60.0
VISIBLE_AFTER_ALERT = timedelta(seconds=60)

_KINDS = {
    "cpu_contention": FaultKind.CPU,
    "cpu_consumed": FaultKind.CPU,
    "network_delay": FaultKind.NETWORK,
    "exception": FaultKind.ERROR,
    "return": FaultKind.BEHAVIOUR,
}
_POD_SUFFIX = r"-[0-9a-z]+-[0-9a-z]{5}$"
_NOT_A_METRIC = frozenset(("Time", "TimeStamp", "PodName"))
_SEVERITY = re.compile(r"\b(TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|CRITICAL|PANIC|SEVERE)\b", re.I)
_SPAN_IDS = re.compile(r"TraceID: \w+ SpanID: \w+ ?")
_CLOCK = re.compile(r"^\d\d:\d\d:\d\d\.\d+ ")


class Nezha:
    """Reads `cases.csv` and one folder a day."""

    def __init__(self, root: Path, *, visible_for: timedelta | None = None) -> None:
        path = root / "cases.csv"
        if not path.is_file():
            raise CorpusError(path, "is missing; name the folder that holds cases.csv")
        self._root = root
        self._visible_for = VISIBLE_AFTER_ALERT if visible_for is None else visible_for
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        named = Counter(row.get("case_id") or "" for row in rows)
        self._repeated = {name for name, count in named.items() if count > 1}
        self._cases = {row.get("case_id") or "": row for row in rows}

    def names(self) -> list[str]:
        """Case ids, in the order of cases.csv."""
        return list(self._cases)

    def system(self, name: str) -> str:
        """One of the two systems."""
        return f"nezha-{self._row(name).get('system') or 'unknown'}"

    def recording(self, name: str) -> Recording:
        """One injected fault with everything of its day before it; of the row only its times are read."""
        row = self._row(name)
        try:
            injected_at = datetime.fromisoformat(row["inject_time_utc"])
            day = self._root / date.fromisoformat(row["date"]).isoformat()
            if not day.is_dir():
                raise CorpusError(day, f"is missing, so case {name} has no data")
            return self._recording(name, injected_at, day)
        except (KeyError, ValueError, TypeError, pl.exceptions.PolarsError, OSError) as error:
            raise CorpusError(self._root, f"case {name} cannot be read: {error}") from error

    def truth(self, name: str) -> Truth:
        """The pod and service of the injection."""
        row = self._row(name)
        try:
            return Truth(
                bundle_id=opaque_id("nezha", name),
                system=self.system(name),
                entity=entity_id(EntityKind.SERVICE, row["root_service"]),
                aliases=(entity_id(EntityKind.POD, row["root_pod"]),),
                fault_kind=_KINDS.get(row["fault_type"], FaultKind.UNKNOWN),
                changes_recorded=False,
                injected_at=datetime.fromisoformat(row["inject_time_utc"]),
                case=name,
            )
        except (KeyError, ValueError, TypeError, ValidationError) as error:
            raise CorpusError(self._root / "cases.csv", f"the row of {name} cannot be read: {error}") from error

    def _row(self, name: str) -> dict[str, str]:
        row = self._cases.get(name)
        if row is None:
            raise CorpusError(self._root / "cases.csv", f"has no case {name}")
        if name in self._repeated:
            raise CorpusError(self._root / "cases.csv", f"names case {name} more than once")
        return row

    def _recording(self, name: str, injected_at: datetime, day: Path) -> Recording:
        jitter = random.Random(name).uniform(0, JITTER_S)  # noqa: S311 - a stated, seeded clock
        alert_at = injected_at + ALERT_DELAY + timedelta(seconds=round(jitter))
        until = alert_at + self._visible_for
        visible = VisibleWindow(start=datetime.combine(injected_at.date(), datetime.min.time(), UTC), end=until)
        bundle_id = opaque_id("nezha", name)
        return Recording(
            bundle_id=bundle_id,
            alert=Alert(
                source="corpus",
                fingerprint=bundle_id,
                title="The system's service level is missed",
                starts_at=alert_at,
                severity=Severity.CRITICAL,
            ),
            visible=visible,
            as_of=until,
            topology=_topology(day),
            metrics=_metrics(day),
            logs=_logs(day),
            traces=_traces(day),
        )


def _service(column: str) -> pl.Expr:
    return pl.format("service:{}", pl.col(column).str.replace(_POD_SUFFIX, ""))


def _moment(column: str) -> pl.Expr:
    return pl.from_epoch(pl.col(column) // 1000, time_unit="us").dt.replace_time_zone("UTC")


@cache
def _traces(day: Path) -> pl.DataFrame | None:
    files = [path for path in (day / "normal_trace.parquet", day / "faults_trace.parquet") if path.exists()]
    if not files:
        return None
    return pl.concat([pl.read_parquet(path) for path in files], how="diagonal").select(
        ts=_moment("StartTimeUnixNano"),
        duration_us=pl.col("Duration").cast(pl.Int64),
        trace_id="TraceID",
        span_id="SpanID",
        parent_span_id=pl.when(pl.col("ParentID") == "root").then(pl.lit("")).otherwise(pl.col("ParentID")),
        entity=_service("PodName"),
        operation="OperationName",
        peer=pl.lit(""),
        error=pl.lit(False),
    )


@cache
def _metrics(day: Path) -> pl.DataFrame | None:
    path = day / "pod_metrics.parquet"
    if not path.exists():
        return None
    rows = pl.read_parquet(path).filter(pl.col("Time").str.starts_with(day.name))
    names = [name for name in rows.columns if name not in _NOT_A_METRIC]
    # The written clock is right where TimeStamp strays by years.
    written = pl.col("Time").str.slice(0, 19).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", time_zone="UTC")
    return (
        rows.with_columns(ts=written)
        .unpivot(index=["ts", "PodName"], on=names, variable_name="metric")
        .select("ts", "metric", entity=_service("PodName"), value=pl.col("value").cast(pl.Float64))
        .drop_nulls("value")
    )


@cache
def _logs(day: Path) -> pl.DataFrame | None:
    files = [path for path in (day / "normal_log.parquet", day / "faults_log.parquet") if path.exists()]
    if not files:
        return None
    rows = (
        pl.concat([pl.read_parquet(path) for path in files], how="diagonal")
        .select("TimeUnixNano", "PodName", "TraceID", "SpanID", "Log")
        .unique(maintain_order=True)
    )
    parsed = [_line(text) for text in rows["Log"].to_list()]
    return rows.select(
        ts=_moment("TimeUnixNano"),
        entity=_service("PodName"),
        severity=pl.Series([severity for severity, _ in parsed], dtype=pl.String),
        message=pl.Series([message for _, message in parsed], dtype=pl.String),
        trace_id="TraceID",
        span_id="SpanID",
    )


def _line(text: str | None) -> tuple[str, str]:
    """(severity, message) of a container's line: JSON whose `log` may be JSON again."""
    outer = _json(text or "")
    body = str(outer.get("log", text or "")).strip()
    inner = _json(body)
    severity = str(inner.get("severity", "")).lower()
    body = _CLOCK.sub("", _SPAN_IDS.sub("", str(inner.get("message", body))))
    written = _SEVERITY.search(body[:40])
    if written is not None:
        severity = severity or written[1].lower()
        body = (body[: written.start()] + body[written.end() :]).strip()
    return severity, body


def _json(text: str) -> dict[str, object]:
    if not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@cache
def _topology(day: Path) -> Topology | None:
    path = day / "dependency.csv"
    if not path.exists():
        return None
    with path.open(newline="") as handle:
        pairs = [(row["Source"], row["Target"]) for row in csv.DictReader(handle)]
    names = sorted({name for pair in pairs for name in pair})
    kinds = {name: EntityKind.NODE if name.replace(".", "").isdigit() else EntityKind.SERVICE for name in names}
    ids: dict[str, EntityId] = {name: entity_id(kind, name) for name, kind in kinds.items()}
    return Topology(
        entities=tuple(Entity(id=ids[name], kind=kind, name=name) for name, kind in kinds.items()),
        edges=tuple(
            Edge(
                source=ids[source],
                target=ids[target],
                kind=EdgeKind.RUNS_ON if kinds[target] is EntityKind.NODE else EdgeKind.CALLS,
            )
            for source, target in pairs
        ),
    )
