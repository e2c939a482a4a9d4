"""Answers probes from a bundle, clamped to what was visible then."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from activities.answers import COLUMNS
from activities.telemetry.backend import Answer, Answers, Spent, answered, one_by_one
from activities.telemetry.exceptions import BundleError
from activities.telemetry.recorded.bundle import Bundle
from activities.telemetry.reduction import (
    DEFAULT_QUERY_S,
    Parameters,
    Reduction,
    ReductionDatabase,
    Row,
    bounded,
    queries,
)
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

Edge = tuple[str, str, str]
"""(source, target, kind)."""

TABLES: tuple[Modality, ...] = ("metrics", "logs", "traces")
MOST_ROWS = 200_000_000
LONGEST_ENTITY = 1_024
REQUEST_COLUMNS = frozenset(("trace_id", "span_id"))
"""Text columns by which lines of one request are put in order, where a recording has both."""

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

    Spans are joined with their parents once, on the first query about traces.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        scratch: Path | None = None,
        threads: int = 2,
        memory_mb: int = 768,
        query_seconds: float = DEFAULT_QUERY_S,
    ) -> None:
        self._bundle = bundle
        self._visible = Window(start=bundle.manifest.visible.start, end=bundle.manifest.visible.end)
        self._columns: dict[Modality, frozenset[str]] = {}
        self._database = ReductionDatabase(
            bundle.folder, scratch=scratch, threads=threads, memory_mb=memory_mb, query_seconds=query_seconds
        )
        self._reduction = Reduction(self._database)

    def close(self) -> None:
        """Release memory and scratch files."""
        self._database.close()

    def interrupt(self) -> None:
        """Give up the queries being run now."""
        self._database.interrupt()

    @property
    def spent(self) -> Spent:
        """Nothing of anybody else's."""
        return Spent()

    @property
    def absent(self) -> frozenset[Modality]:
        """What the manifest does not name was not recorded."""
        return frozenset(name for name in TABLES if getattr(self._bundle.manifest, name) is None)

    def together(self, probes: Sequence[Probe]) -> list[list[Probe]]:
        """Each by itself."""
        return one_by_one(probes)

    def metrics(self, probes: Sequence[MetricProbe]) -> Answers:
        """All series of each entity."""
        return ((probe, self._metrics(probe)) for probe in probes)

    def logs(self, probes: Sequence[LogProbe]) -> Answers:
        """Masked lines of each entity."""
        return ((probe, self._logs(probe)) for probe in probes)

    def traces(self, probes: Sequence[TraceProbe]) -> Answers:
        """Spans of each entity."""
        return ((probe, self._traces(probe)) for probe in probes)

    def changes(self, probes: Sequence[ChangeProbe]) -> Answers:
        """Recorded changes."""
        return ((probe, self._changes(probe)) for probe in probes)

    def cluster(self, probes: Sequence[ClusterProbe]) -> Answers:
        """Recorded conditions."""
        return ((probe, self._cluster(probe)) for probe in probes)

    def topology(self, probes: Sequence[TopologyProbe]) -> Answers:
        """What exists."""
        return ((probe, self._topology(probe)) for probe in probes)

    def check(self) -> None:
        """Read every JSON file and look at the footer of every Parquet file.

        Raises:
            BundleError: a file is damaged, lacks a column, or holds more rows than are ever read.
        """
        self._bundle.topology()
        self._bundle.changes()
        self._bundle.cluster()
        for modality in TABLES:
            recorded = self._bundle.recorded(modality)
            if recorded is not None:
                path = self._bundle.path(recorded)
                rows = self._fetch(queries.ROWS, {"file": self._file(modality)})[0][0]
                if isinstance(rows, int) and rows > MOST_ROWS:
                    raise BundleError(path, f"holds {rows:,} rows, at most {MOST_ROWS:,} are read", "Record less.")

    def _metrics(self, probe: MetricProbe) -> Answer:
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
        truncated = len(rows) >= probe.max_rows
        return answered(
            series.select(list(COLUMNS["metrics"])),
            window,
            total=max(total, series.height + 1) if truncated else None,
            detail=f"{unusable} values were not finite numbers and are left out" if unusable else "",
        )

    def _logs(self, probe: LogProbe) -> Answer:
        """Masked lines of one entity with counts per bucket."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.logs is None:
            return _not_recorded("logs")
        if window is None:
            return _outside()
        file = Path(self._file("logs"))
        return self._reduction.logs(file, probe, window, of_requests=self._columns["logs"] >= REQUEST_COLUMNS)

    def _traces(self, probe: TraceProbe) -> Answer:
        """Spans of one entity by operation, caller and bucket."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.traces is None:
            return _not_recorded("traces")
        if window is None:
            return _outside()
        return self._reduction.traces(self._joined_spans(), probe, window)

    def _changes(self, probe: ChangeProbe) -> Answer:
        """Recorded changes in the window."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.changes is None:
            return _not_recorded("changes")
        if window is None:
            return _outside()
        rows = [_change_row(item) for item in self._bundle.changes() if window.start <= item.at < window.end]
        return bounded("changes", sorted(rows, key=repr), probe.max_rows, window)

    def _cluster(self, probe: ClusterProbe) -> Answer:
        """Recorded cluster conditions in the window."""
        window = self._clamp(probe.window)
        if self._bundle.manifest.cluster is None:
            return _not_recorded("cluster")
        if window is None:
            return _outside()
        rows = [_cluster_row(item) for item in self._bundle.cluster() if window.start <= item.at < window.end]
        return bounded("cluster", sorted(rows, key=repr), probe.max_rows, window)

    def _topology(self, probe: TopologyProbe) -> Answer:
        """Declared entities and edges, those seen in traces, and every entity that left telemetry.

        A file that cannot be read costs what it alone knows; the answer is `truncated` and names it.
        """
        problems: list[str] = []

        def readable(source: Callable[[], Iterable[Edge]]) -> list[Edge]:
            try:
                return list(source())
            except BundleError as error:
                problems.append(error.detail)
                return []

        kinds: dict[str, str] = {}
        edges: dict[Edge, tuple[str, float]] = {}
        for edge in readable(lambda: self._declared(kinds, edges)):
            edges.setdefault(edge, ("declared", 1.0))
        for edge in readable(lambda: self._traced(probe.max_rows)):
            edges.setdefault(edge, ("traces", 1.0))
        names = {name for source, target, _ in edges for name in (source, target)}
        for modality in TABLES:
            names |= {edge[0] for edge in readable(partial(self._entities, modality, probe.max_rows))}
        for name in names:
            kinds.setdefault(name, name.partition(":")[0])
        unusable = [name for name in kinds if not _is_entity(name)]
        if unusable:
            problems.append(f"{len(unusable)} entities have names that cannot be used and are left out")
        rows: list[Row] = [(name, "", kind, "declared", 1.0) for name, kind in kinds.items() if _is_entity(name)]
        rows += [(*edge, *value) for edge, value in edges.items() if _is_entity(edge[0]) and _is_entity(edge[1])]
        found = bounded("topology", sorted(rows, key=repr), probe.max_rows, self._visible)
        return replace(found, status=ObservationStatus.TRUNCATED, detail="; ".join(problems)) if problems else found

    def _declared(self, kinds: dict[str, str], edges: dict[Edge, tuple[str, float]]) -> Iterable[Edge]:
        declared = self._bundle.topology()
        kinds.update({entity.id: entity.kind.value for entity in declared.entities})
        for edge in declared.edges:
            edges[(edge.source, edge.target, edge.kind.value)] = (edge.origin, edge.confidence)
        return ()

    def _traced(self, limit: int) -> Iterable[Edge]:
        if self._bundle.manifest.traces is None:
            return ()
        return [(*pair, "calls") for pair in self._reduction.calls(self._joined_spans(), limit)]

    def _entities(self, modality: Modality, limit: int) -> Iterable[Edge]:
        if self._bundle.recorded(modality) is None:
            return ()
        rows = self._fetch(queries.ENTITIES, {"file": self._file(modality), "rows": limit})
        return [(str(row[0]), "", "") for row in rows]

    def _joined_spans(self) -> Path:
        file = Path(self._file("traces"))
        self._reduction.join_spans(file, self._visible)
        return file

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
        if modality not in self._columns:
            self._columns[modality] = self._check_columns(path, modality)
        return str(path)

    def _check_columns(self, path: Path, modality: Modality) -> frozenset[str]:
        rows = self._fetch("DESCRIBE SELECT * FROM read_parquet($file)", {"file": str(path)})
        found = {str(row[0]): str(row[1]) for row in rows}
        for column, types in _REQUIRED[modality].items():
            if found.get(column) not in types:
                raise BundleError(
                    path,
                    f"column {column} is {found.get(column, 'missing')}, expected {' or '.join(sorted(types))}",
                    "Write the bundle again as evals/README.md says.",
                )
        return frozenset(name for name, kind in found.items() if kind == "VARCHAR")

    def _fetch(self, sql: str, parameters: Parameters, file: str = "") -> list[Row]:
        """Rows of a query over `file`, which is the parameter of that name when not given."""
        return self._database.fetch(sql, parameters, file=Path(file or str(parameters["file"])))


def _is_entity(name: str) -> bool:
    return 0 < len(name) <= LONGEST_ENTITY and not any(char < " " or char == "\x7f" for char in name)


def _not_recorded(modality: Modality) -> Answer:
    return Answer(status=ObservationStatus.NOT_RECORDED, detail=f"{modality} were not recorded")


def _outside() -> Answer:
    return Answer(
        status=ObservationStatus.NOT_RECORDED,
        detail="the query lies outside of the recording's visible window",
    )


def _epoch_us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


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
