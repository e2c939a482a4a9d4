"""Answers probes from a bundle, clamped to what was visible then."""

import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from activities.answers import COLUMNS
from activities.telemetry.backend import Answer, answered
from activities.telemetry.recorded import queries
from activities.telemetry.recorded.bundle import Bundle, BundleError
from activities.telemetry.series import rates, with_ratios
from workflows.contracts.change import Change
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import (
    ChangeProbe,
    ClusterProbe,
    LogProbe,
    MetricProbe,
    Modality,
    Probe,
    TopologyProbe,
    TraceProbe,
    Window,
)

Parameters = dict[str, str | int | datetime]
Row = Sequence[object]
TEMPLATES_KEPT = 2_000
"""Distinct masked lines of one entity that an answer carries, the most frequent first."""

_REQUIRED: dict[Modality, dict[str, frozenset[str]]] = {
    "metrics": {
        "ts": frozenset(("TIMESTAMP WITH TIME ZONE",)),
        "entity": frozenset(("VARCHAR",)),
        "metric": frozenset(("VARCHAR",)),
        "value": frozenset(("DOUBLE", "FLOAT", "BIGINT", "INTEGER")),
    },
    "logs": {
        "ts": frozenset(("TIMESTAMP WITH TIME ZONE",)),
        "entity": frozenset(("VARCHAR",)),
        "severity": frozenset(("VARCHAR",)),
        "message": frozenset(("VARCHAR",)),
    },
    "traces": {
        "ts": frozenset(("TIMESTAMP WITH TIME ZONE",)),
        "duration_us": frozenset(("BIGINT", "INTEGER")),
        "trace_id": frozenset(("VARCHAR",)),
        "span_id": frozenset(("VARCHAR",)),
        "parent_span_id": frozenset(("VARCHAR",)),
        "entity": frozenset(("VARCHAR",)),
        "operation": frozenset(("VARCHAR",)),
        "peer": frozenset(("VARCHAR",)),
        "error": frozenset(("BOOLEAN",)),
    },
}


class RecordedBackend:
    """The `recorded` telemetry backend over one bundle.

    Questions run in an embedded DuckDB that can open files of this bundle only, within stated memory. Spans are
    joined with their parents once, on the first question about traces.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 2, memory_mb: int = 768) -> None:
        self._bundle = bundle
        self._visible = Window(start=bundle.manifest.visible.start, end=bundle.manifest.visible.end)
        self._scratch = tempfile.TemporaryDirectory(prefix="inquest-bundle-")
        self._lock = threading.Lock()
        self._memory_mb = memory_mb
        self._joined_spans = False
        self._checked: set[Modality] = set()
        self._database = duckdb.connect(
            config={
                "threads": str(threads),
                "memory_limit": f"{memory_mb}MB",
                "temp_directory": self._scratch.name,
                "max_temp_directory_size": "8GB",
                "preserve_insertion_order": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            }
        )
        self._database.execute(
            "SET allowed_directories = $folders", {"folders": [str(bundle.folder), self._scratch.name]}
        )
        self._database.execute("SET enable_external_access = false")
        self._database.execute("SET lock_configuration = true")

    def close(self) -> None:
        """Release memory and scratch files."""
        self._database.close()
        self._scratch.cleanup()

    def check(self) -> None:
        """Look at the footer of every Parquet file.

        Raises:
            BundleError: a file is damaged or lacks a column.
        """
        for modality in ("metrics", "logs", "traces"):
            if self._bundle.recorded(modality) is not None:
                self._file(modality)

    def metrics(self, probe: MetricProbe) -> Answer:
        """All series of one entity, counters as rates, with mean durations and error ratios."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.metrics is None:
            return _not_recorded("metrics")
        if window is None:
            return _outside()
        parameters = {**self._span(window), "file": self._file("metrics"), "entity": probe.entity}
        total, unusable = self._fetch(queries.METRICS_TOTAL, parameters)[0]
        rows = self._fetch(queries.METRICS, {**parameters, "rows": probe.max_rows})
        frame = pl.DataFrame(rows, schema={"metric": pl.String, "ts": pl.Int64, "value": pl.Float64}, orient="row")
        frame = frame.with_columns(pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC"))
        series = with_ratios(rates(frame, frozenset(self._bundle.manifest.counters)))
        assert isinstance(total, int)
        cut = len(rows) >= probe.max_rows
        return answered(
            series.select(list(COLUMNS["metrics"])),
            window,
            total=max(total, series.height + 1) if cut else None,
            detail=f"{unusable} values were not finite numbers and are left out" if unusable else "",
        )

    def logs(self, probe: LogProbe) -> Answer:
        """Masked lines of one entity with counts per bucket."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.logs is None:
            return _not_recorded("logs")
        if window is None:
            return _outside()
        rows = self._fetch(
            queries.LOGS,
            {
                **self._span(window),
                "file": self._file("logs"),
                "entity": probe.entity,
                "bucket": _microseconds(probe.bucket),
                "templates": TEMPLATES_KEPT,
                "rows": probe.max_rows + queries.LIMIT_MARGIN,
            },
        )
        return self._bounded("logs", rows, probe.max_rows, window)

    def traces(self, probe: TraceProbe) -> Answer:
        """Spans of one entity by operation, caller and bucket."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.traces is None:
            return _not_recorded("traces")
        if window is None:
            return _outside()
        self._join_spans()
        rows = self._fetch(
            queries.TRACES,
            {
                "entity": probe.entity,
                "start": _epoch_us(window.start),
                "stop": _epoch_us(window.end),
                "bucket": _microseconds(probe.bucket),
                "rows": probe.max_rows + queries.LIMIT_MARGIN,
            },
        )
        return self._bounded("traces", rows, probe.max_rows, window)

    def changes(self, probe: ChangeProbe) -> Answer:
        """Recorded changes in the window."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.changes is None:
            return _not_recorded("changes")
        if window is None:
            return _outside()
        rows = [_change_row(item) for item in self._bundle.changes() if window.start <= item.at < window.end]
        return self._bounded("changes", sorted(rows, key=repr), probe.max_rows, window)

    def cluster(self, probe: ClusterProbe) -> Answer:
        """Recorded cluster conditions in the window."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.cluster is None:
            return _not_recorded("cluster")
        if window is None:
            return _outside()
        rows = [_cluster_row(item) for item in self._bundle.cluster() if window.start <= item.at < window.end]
        return self._bounded("cluster", sorted(rows, key=repr), probe.max_rows, window)

    def topology(self, probe: TopologyProbe) -> Answer:
        """Declared entities and edges, those seen in traces, and every entity that left telemetry."""
        declared = self._bundle.topology()
        edges: dict[tuple[str, str, str], tuple[str, float]] = {
            (edge.source, edge.target, edge.kind.value): (edge.origin, edge.confidence) for edge in declared.edges
        }
        kinds: dict[str, str] = {entity.id: entity.kind.value for entity in declared.entities}
        if self._bundle.manifest.traces is not None:
            self._join_spans()
            for source, target in self._fetch(queries.TRACE_EDGES, {"rows": probe.max_rows}):
                edges.setdefault((str(source), str(target), "calls"), ("traces", 1.0))
        names = {name for source, target, _ in edges for name in (source, target)} | self._entities(probe.max_rows)
        for name in names:
            kinds.setdefault(name, name.partition(":")[0])
        rows: list[Row] = [(name, "", kind, "declared", 1.0) for name, kind in kinds.items()]
        rows += [(*key, *value) for key, value in edges.items()]
        return self._bounded("topology", sorted(rows, key=repr), probe.max_rows, self._visible)

    def _entities(self, limit: int) -> set[str]:
        found: set[str] = set()
        for modality in ("metrics", "logs", "traces"):
            if self._bundle.recorded(modality) is not None:
                rows = self._fetch(queries.ENTITIES, {"file": self._file(modality), "rows": limit})
                found.update(str(row[0]) for row in rows)
        return found

    def _join_spans(self) -> None:
        with self._lock:
            if self._joined_spans:
                return
            parameters: Parameters = {**self._span(self._visible), "file": self._file("traces")}
            self._fetch(queries.SPANS, parameters)
            self._fetch(queries.COVERED, {})
            self._fetch(queries.SPAN_FACTS, {})
            self._joined_spans = True

    def _clamp(self, window: Window) -> Window | None:
        start, end = max(window.start, self._visible.start), min(window.end, self._visible.end)
        return Window(start=start, end=end) if start < end else None

    @staticmethod
    def _span(window: Window) -> Parameters:
        return {"start": window.start, "stop": window.end}

    def _file(self, modality: Modality) -> str:
        recorded = self._bundle.recorded(modality)
        assert recorded is not None
        path = self._bundle.path(recorded)
        if modality not in self._checked:
            self._check_columns(path, modality)
            self._checked.add(modality)
        return str(path)

    def _check_columns(self, path: Path, modality: Modality) -> None:
        rows = self._fetch("DESCRIBE SELECT * FROM read_parquet($file)", {"file": str(path)})
        found = {str(row[0]): str(row[1]) for row in rows}
        for column, types in _REQUIRED[modality].items():
            if found.get(column) not in types:
                raise BundleError(
                    path,
                    f"column {column} is {found.get(column, 'missing')}, expected {' or '.join(sorted(types))}",
                    "Write the bundle again as evals/README.md says.",
                )

    def _fetch(self, sql: str, parameters: Parameters) -> list[Row]:
        file = Path(str(parameters.get("file", self._bundle.folder)))
        try:
            with self._database.cursor() as cursor:
                return list(cursor.execute(sql, parameters).fetchall())
        except duckdb.OutOfMemoryException as error:
            raise BundleError(
                file,
                f"needs more than {self._memory_mb} MB to answer",
                "Raise INQUEST_MEMORY_LIMIT_MB, or record a shorter window.",
            ) from error
        except duckdb.Error as error:
            raise BundleError(
                file, f"cannot be read ({str(error).splitlines()[0]})", "Copy or write the file again."
            ) from error

    def _bounded(self, modality: Modality, rows: Sequence[Row], limit: int, window: Window) -> Answer:
        schema = COLUMNS[modality]
        plain = {name: pl.Int64 if isinstance(kind, pl.Datetime) else kind for name, kind in schema.items()}
        frame = pl.DataFrame(list(rows[:limit]), schema=plain, orient="row").with_columns(
            pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC") if "ts" in schema else []
        )
        return answered(frame, window, total=len(rows) if len(rows) > limit else None)


def probe_failed(probe: Probe, error: BundleError) -> Answer:
    """The answer to a probe whose file could not be read."""
    return Answer(status=ObservationStatus.ERROR, detail=f"{probe.tool}: {error}")


def _not_recorded(modality: Modality) -> Answer:
    return Answer(status=ObservationStatus.NOT_RECORDED, detail=f"{modality} were not recorded")


def _outside() -> Answer:
    return Answer(
        status=ObservationStatus.NOT_RECORDED,
        detail="the question lies outside of the recording's visible window",
    )


def _epoch_us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _change_row(item: Change) -> Row:
    return (
        item.id,
        _epoch_us(item.at),
        item.kind.value,
        item.target or "",
        item.title,
        item.detail,
        item.revision or "",
    )


def _cluster_row(item: ClusterCondition) -> Row:
    return (
        _epoch_us(item.at),
        item.object_kind,
        item.object_name,
        item.entity or "",
        item.type,
        item.healthy,
        item.reason,
        item.message,
        item.count,
    )
