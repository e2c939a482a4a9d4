"""Lines become templates with their counts, spans become operations with their times; the rest stays where it is."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from activities.answers import COLUMNS
from activities.telemetry.backend import Answer, answered
from activities.telemetry.reduction import queries
from activities.telemetry.reduction.database import Parameters, ReductionDatabase, Row
from workflows.contracts.probe import LogProbe, Modality, TraceProbe, Window

TEMPLATES_KEPT = 2_000
"""Distinct masked lines of one entity that an answer carries, the most frequent first."""


class Reduction:
    """Reduces Parquet files of lines and spans. Spans are joined with their parents once."""

    def __init__(self, database: ReductionDatabase) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._joined: Path | None = None
        self._unusable: dict[str, int] = {}

    def fetch(self, sql: str, parameters: Parameters, file: Path) -> list[Row]:
        """The rows of a query over a file."""
        return self._database.fetch(sql, parameters, file=file)

    def logs(self, file: Path, probe: LogProbe, window: Window, *, of_requests: bool) -> Answer:
        """Masked lines of one entity with counts per bucket.

        Args:
            file: with columns ts, entity, severity, message and, if `of_requests`, trace_id and span_id.
            probe: about whom.
            window: what of its window is looked at.
            of_requests: whether lines say which request they belong to.
        """
        rows = self.fetch(
            queries.LOGS_OF_REQUESTS if of_requests else queries.LOGS,
            {
                "start": window.start,
                "stop": window.end,
                "file": str(file),
                "entity": probe.entity,
                "bucket": microseconds(probe.bucket),
                "templates": TEMPLATES_KEPT,
                "rows": probe.max_rows + queries.LIMIT_MARGIN,
            },
            file,
        )
        return bounded("logs", rows, probe.max_rows, window)

    def join_spans(self, file: Path, visible: Window, *, weighted: bool = False) -> None:
        """Join each span with its parent and its children, once.

        Args:
            file: with the columns of a bundle's traces and, if `weighted`, one of whole numbers: how many traces like
                its own each span stands for.
            visible: spans that end after it are not known yet.
            weighted: whether the traces are a sample.
        """
        with self._lock:
            if self._joined == file:
                return
            parameters: Parameters = {"start": visible.start, "stop": visible.end, "file": str(file)}
            unusable = self.fetch(queries.UNUSABLE_SPANS, parameters, file)
            self._unusable = {str(name): count for name, count in unusable if isinstance(count, int)}
            self.fetch(queries.WEIGHTED_SPANS if weighted else queries.SPANS, parameters, file)
            self.fetch(queries.COVERED, {}, file)
            self.fetch(queries.SPAN_FACTS, {}, file)
            self._joined = file

    def traces(self, file: Path, probe: TraceProbe, window: Window) -> Answer:
        """Spans of one entity by operation, caller and bucket, of a file whose spans are joined."""
        rows = self.fetch(
            queries.TRACES,
            {
                "entity": probe.entity,
                "start": _epoch_us(window.start),
                "stop": _epoch_us(window.end),
                "bucket": microseconds(probe.bucket),
                "rows": probe.max_rows + queries.LIMIT_MARGIN,
            },
            file,
        )
        found = bounded("traces", rows, probe.max_rows, window)
        lost = self._unusable.get(probe.entity)
        return replace(found, detail=f"{lost} spans have impossible durations and are left out") if lost else found

    def calls(self, file: Path, limit: int) -> list[tuple[str, str]]:
        """(caller, callee) pairs in a file whose spans are joined."""
        return [(str(a), str(b)) for a, b in self.fetch(queries.TRACE_EDGES, {"rows": limit}, file)]


def bounded(modality: Modality, rows: Sequence[Row], limit: int, window: Window) -> Answer:
    """An answer of rows in a modality's columns, moments as microseconds since 1970; `truncated` beyond `limit`."""
    schema = COLUMNS[modality]
    plain = {name: pl.Int64 if isinstance(kind, pl.Datetime) else kind for name, kind in schema.items()}
    frame = pl.DataFrame(list(rows[:limit]), schema=plain, orient="row").with_columns(
        pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC") if "ts" in schema else []
    )
    return answered(frame, window, total=len(rows) if len(rows) > limit else None)


def microseconds(span: timedelta) -> int:
    """A span of time as a whole number."""
    return span // timedelta(microseconds=1)


def _epoch_us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
