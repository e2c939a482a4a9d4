"""OpenRCA Market as extracted alerts (boerste/rca-llm-reasoning): what detectors said, beside a graph of the system.

Detections become samples of `ALERTS{...}` with the value 1, as a monitoring system that keeps its own alerts has
them. Their clock is a minute: trace alerts are floored to it, because in some cases the first one gives away the moment
of the injection. The alert fires with the first metric anomaly of a case and three further minutes are visible;
what was detected in earlier cases stays as history, unlabelled.
"""

import csv
import json
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import TypeAdapter, ValidationError

from evals.bundles import Recording, Truth, opaque_id
from evals.readers.corpus import CorpusError
from workflows.contracts.alert import Alert
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind, Topology, entity_id

VISIBLE_FOR = timedelta(seconds=180)
UNREADABLE = "unreadable"
LOG_CLOCK = timezone(timedelta(hours=8))

Value = TypeVar("Value")
_MetricAlert = tuple[int, str, str | None, str, str]
_TraceAlert = tuple[int, str, str, str, str]
_LogAlert = tuple[str, str, list[str], int, str | None]
_METRICS = TypeAdapter(dict[str, list[_MetricAlert]])
_TRACES = TypeAdapter(dict[str, list[_TraceAlert]])
_LOGS = TypeAdapter(dict[str, list[_LogAlert]])
_TYPES = {
    "Service": EntityKind.SERVICE,
    "Service_Instance": EntityKind.POD,
    "Host": EntityKind.NODE,
    "Cache": EntityKind.DATABASE,
    "Cache_Instance": EntityKind.POD,
    "Database": EntityKind.DATABASE,
}
_EDGES = {
    "control_flow": EdgeKind.CALLS,
    "data_flow": EdgeKind.CALLS,
    "hosted_on": EdgeKind.RUNS_ON,
    "instance_of": EdgeKind.PART_OF,
}
_LEVELS = {"service": EntityKind.SERVICE, "pod": EntityKind.POD, "node": EntityKind.NODE}
_KINDS = (
    ("network", FaultKind.NETWORK),
    ("packet", FaultKind.NETWORK),
    ("memory", FaultKind.MEMORY),
    ("cpu", FaultKind.CPU),
    ("termination", FaultKind.CRASH),
    ("disk", FaultKind.DISK),
    ("i/o", FaultKind.DISK),
)
"""What a fault's type must contain to be of a kind, the first that fits."""


class OpenRcaMarket:
    """Reads folders with `metric/metrics.json` and its companions; a knowledge graph lies in it or beside it."""

    def __init__(self, root: Path, *, visible_for: timedelta | None = None) -> None:
        self._root = root
        self._visible_for = VISIBLE_FOR if visible_for is None else visible_for
        beds = sorted(path.parent.parent for path in root.rglob("metric/metrics.json"))
        if not beds:
            raise CorpusError(root, "holds no folder with metric/metrics.json")
        self._beds = {str(bed.relative_to(root)): _Bed(bed, root) for bed in beds}

    def names(self) -> list[str]:
        """`folder#fault id`, in the files' order."""
        return [f"{name}#{fault}" for name, bed in self._beds.items() for fault in bed.faults()]

    def system(self, name: str) -> str:
        """The market, and which of its beds."""
        folder = name.rpartition("#")[0]
        return f"openrca-market-{Path(folder).name}" if folder != "." else "openrca-market"

    def recording(self, name: str) -> Recording:
        """What was detected until three minutes after the first metric anomaly of a case."""
        bed, fault = self._at(name)
        own = bed.metrics[fault]
        if not own:
            raise CorpusError(bed.folder / "metric/metrics.json", f"fault {fault} has no anomaly, so no alert")
        alert_at = _moment(min(item[0] for item in own))
        until = alert_at + self._visible_for
        metrics, logs = bed.detections, bed.lines
        seen = [moment for frame in (metrics, logs) if isinstance(moment := frame["ts"].min(), datetime)]
        bundle_id = opaque_id("openrca-market", name)
        return Recording(
            bundle_id=bundle_id,
            alert=Alert(source="corpus", fingerprint=bundle_id, title="anomalies in the shop", starts_at=alert_at),
            visible=VisibleWindow(start=min(seen), end=until),
            as_of=until,
            topology=bed.topology,
            metrics=metrics,
            logs=logs,
        )

    def truth(self, name: str) -> Truth:
        """The faulty service, pod or node."""
        bed, fault = self._at(name)
        row = bed.labels.get(fault)
        if row is None:
            raise CorpusError(bed.folder / "label.csv", f"has no row for fault {fault}")
        try:
            return Truth(
                bundle_id=opaque_id("openrca-market", name),
                system=self.system(name),
                entity=entity_id(_LEVELS[row["fault_level"]], row["fault_entity"]),
                fault_kind=_kind(row["fault_type"]),
                injected_at=datetime.fromtimestamp(int(row["fault_st_time"]), UTC),
                changes_recorded=False,
                case=name,
            )
        except (KeyError, ValueError) as error:
            raise CorpusError(bed.folder / "label.csv", f"the row of fault {fault} cannot be read: {error}") from error

    def _at(self, name: str) -> tuple["_Bed", str]:
        folder, _, fault = name.rpartition("#")
        bed = self._beds.get(folder)
        if bed is None or (fault != UNREADABLE and fault not in bed.metrics):
            raise CorpusError(self._root, f"has no case {name}")
        return bed, fault


class _Bed:
    """One deployment of the system, with all its faults."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self._root = root

    def faults(self) -> list[str]:
        """Fault ids; one that stands for all of them where the file cannot be read."""
        try:
            return list(self.metrics)
        except CorpusError:
            return [UNREADABLE]  # reading that case says why

    @cached_property
    def metrics(self) -> dict[str, list[_MetricAlert]]:
        return _read(_METRICS, self.folder / "metric/metrics.json")

    @cached_property
    def topology(self) -> Topology | None:
        for parent in (self.folder, *self.folder.parents):
            graphs = sorted(parent.glob("knowledge-graph/*.json"))
            named = [path for path in graphs if self.folder.name in path.name]
            if named or len(graphs) == 1:
                return _graph((named or graphs)[0])
            if parent == self._root.parent:
                break
        return None

    @cached_property
    def labels(self) -> dict[str, dict[str, str]]:
        path = self.folder / "label.csv"
        try:
            with path.open(newline="") as handle:
                return {row["fault_id"]: row for row in csv.DictReader(handle)}
        except (OSError, KeyError) as error:
            raise CorpusError(path, f"cannot be read: {error}") from error

    @cached_property
    def detections(self) -> pl.DataFrame:
        """Metric and trace alerts of every case, as samples."""
        rows: set[tuple[datetime, EntityId, str]] = set()
        for alerts in self.metrics.values():
            for at, name, _node, metric, direction in alerts:
                label = f'ALERTS{{alertname="{metric}",direction="{direction}"}}'
                rows.add((_moment(at), self._entity(name), label))
        path = self.folder / "trace/traces.json"
        for calls in (_read(_TRACES, path) if path.exists() else {}).values():
            for at, caller, callee, operation, problem in calls:
                label = f'ALERTS{{alertname="{problem}",operation="{operation}",caller="{caller}"}}'
                rows.add((_moment(at).replace(second=0, microsecond=0), self._entity(callee), label))
        schema = pl.Schema({"ts": pl.Datetime("us", "UTC"), "entity": pl.String(), "metric": pl.String()})
        return pl.DataFrame(sorted(rows), schema=schema, orient="row").with_columns(value=pl.lit(1.0))

    @cached_property
    def lines(self) -> pl.DataFrame:
        """Log lines of every case; their clock is UTC+8."""
        path = self.folder / "log/logs.json"
        rows: set[tuple[datetime, EntityId, str, str]] = set()
        for alerts in (_read(_LOGS, path) if path.exists() else {}).values():
            for name, _template, lines, _count, _first in alerts:
                rows |= {_line(self._entity(name), line, path) for line in lines}
        schema = pl.Schema(
            {"ts": pl.Datetime("us", "UTC"), "entity": pl.String(), "severity": pl.String(), "message": pl.String()}
        )
        return pl.DataFrame(sorted(rows), schema=schema, orient="row").with_columns(
            trace_id=pl.lit(""), span_id=pl.lit("")
        )

    def _entity(self, name: str) -> EntityId:
        return self._ids.get(name) or entity_id(EntityKind.SERVICE, name)

    @cached_property
    def _ids(self) -> dict[str, EntityId]:
        return {item.name: item.id for item in self.topology.entities} if self.topology else {}


def _read(adapter: TypeAdapter[Value], path: Path) -> Value:
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorpusError(path, f"cannot be read: {error}") from error


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _line(entity: EntityId, text: str, path: Path) -> tuple[datetime, EntityId, str, str]:
    stamp, _, message = text.partition(" | ")
    try:
        at = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=LOG_CLOCK).astimezone(UTC)
    except ValueError as error:
        raise CorpusError(path, f"a line has no clock: {text[:60]}") from error
    severity, message = _severity(message)
    return at, entity, severity, message


def _severity(message: str) -> tuple[str, str]:
    head, comma, rest = message.partition(", message: ")
    if comma and head.startswith("severity: "):
        return head.removeprefix("severity: "), rest
    return "", message


def _kind(fault_type: str) -> FaultKind:
    return next((kind for word, kind in _KINDS if word in fault_type.lower()), FaultKind.UNKNOWN)


def _graph(path: Path) -> Topology:
    try:
        graph = json.loads(path.read_bytes())
        kinds = {node["id"]: _TYPES.get(node["type"], EntityKind.UNKNOWN) for node in graph["nodes"]}
        ids = {name: entity_id(kind, name) for name, kind in kinds.items()}
        return Topology(
            entities=tuple(Entity(id=ids[name], kind=kind, name=name) for name, kind in kinds.items()),
            edges=tuple(
                Edge(source=ids[edge["source"]], target=ids[edge["target"]], kind=_EDGES[edge["label"]])
                for edge in graph["edges"]
                if edge["label"] in _EDGES
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(path, f"is no knowledge graph: {error!r}") from error
