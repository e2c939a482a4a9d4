"""OpenSRE (Tracer-Cloud/opensre): synthetic EKS and RDS incidents, healthy ones and red herrings among them.

Of the alert only the workload or database that it names is kept: its names and annotations state the cause, or that
nothing is wrong. Everything that the scenario offers is visible. Evidence that a scenario does not bring itself
comes from the scenario it is based on.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import polars as pl
import structlog
import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from activities.telemetry.rds_events import states_fault
from evals.bundles import Recording, Truth, opaque_id
from evals.readers.corpus import CorpusError
from workflows.contracts.alert import Alert
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind, Topology, entity_id

LOG = structlog.stdlib.get_logger(__name__)
HEALTHY = "healthy"
_KINDS = {
    "oom_killed": FaultKind.MEMORY,
    "image_pull_backoff": FaultKind.CONFIGURATION,
    "pending_pod": FaultKind.SATURATION,
    "probe_failure": FaultKind.CONFIGURATION,
    "resource_quota_exceeded": FaultKind.SATURATION,
    "dns_resolution_failure": FaultKind.CONFIGURATION,
    "replication_lag": FaultKind.SATURATION,
    "connection_exhaustion": FaultKind.SATURATION,
    "storage_full": FaultKind.DISK,
    "cpu_saturation": FaultKind.CPU,
    "failover": FaultKind.CRASH,
}
_CATEGORIES = {
    "resource_exhaustion": (
        FaultKind.CPU,
        FaultKind.MEMORY,
        FaultKind.DISK,
        FaultKind.SATURATION,
        FaultKind.TRAFFIC,
        FaultKind.LOCK,
        FaultKind.LATENCY,
    ),
    "configuration_error": (FaultKind.CONFIGURATION, FaultKind.EXPIRY, FaultKind.BEHAVIOUR),
    "infrastructure": (FaultKind.CRASH, FaultKind.NETWORK),
    "dependency_failure": (FaultKind.ERROR, FaultKind.NETWORK, FaultKind.LATENCY),
}
"""Which of our kinds the corpus's own, coarser categories cover."""

_SPECIFIC = {EntityKind.POD: 0, EntityKind.NODE: 1}
"""Kinds that are named before others: who names a pod means the pod."""

UNSCHEDULED = "unscheduled"
"""What the corpus writes for the node of a pod that has none."""

_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) (?:(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL) )?")


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Scenario(_Loose):
    """What may be read of a scenario before its truth."""

    base: str | None = None
    available_evidence: list[str] | None = None
    workload_name: str | None = None
    db_instance_identifier: str | None = None


class _Truth(_Loose):
    failure_mode: str | None = None


class _Answer(_Loose):
    root_cause_category: str
    model_response: str = ""


class _Labels(_Loose):
    workload_name: str | None = None


class _Annotations(_Loose):
    db_instance_identifier: str | None = None


class _Alert(_Loose):
    commonLabels: _Labels = _Labels()  # noqa: N815 - as the corpus writes it
    commonAnnotations: _Annotations = _Annotations()  # noqa: N815


class _Dimension(_Loose):
    Name: str
    Value: str


class _Series(_Loose):
    metric_name: str
    dimensions: list[_Dimension] = []
    stat: str = ""
    timestamps: list[AwareDatetime]
    values: list[float]


class _Metrics(_Loose):
    metric_data_results: list[_Series]


class _Load(_Loose):
    timestamps: list[AwareDatetime] = []
    values: list[float] = []


class _Wait(_Loose):
    name: str
    db_load_avg: float


class _Statement(_Loose):
    statement: str
    db_load_avg: float


class _Insights(_Loose):
    db_instance_identifier: str
    end_time: AwareDatetime
    db_load: _Load = _Load()
    top_sql: list[_Statement] = []
    top_wait_events: list[_Wait] = []


class _RdsEvent(_Loose):
    date: AwareDatetime
    message: str
    source_identifier: str
    event_categories: list[str] = []


class _RdsEvents(_Loose):
    events: list[_RdsEvent]


class _Event(_Loose):
    reason: str
    message: str = ""
    type: str = "Normal"
    count: int = 1
    involved_object: str
    first_time: AwareDatetime
    last_time: AwareDatetime


class _Condition(_Loose):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class _State(_Loose):
    waiting: bool = False
    terminated: bool = False
    reason: str = ""
    message: str = ""


class _Container(_Loose):
    name: str
    ready: bool = True
    restart_count: int = 0
    state: _State = _State()


class _Pod(_Loose):
    name: str
    phase: str
    node_name: str | None = None
    containers: list[_Container] = []
    conditions: list[_Condition] = []


class _Pods(_Loose):
    pods: list[_Pod]


class _Deployment(_Loose):
    name: str
    desired: int
    ready: int


class _Deployments(_Loose):
    deployments: list[_Deployment]


class _NodeHealth(_Loose):
    name: str
    ready: str
    memory_pressure: str = "False"
    disk_pressure: str = "False"
    pid_pressure: str = "False"


class _Nodes(_Loose):
    nodes: list[_NodeHealth]


class _PodLogs(_Loose):
    pod_name: str
    logs: str


class _Line(_Loose):
    timestamp: AwareDatetime
    message: str
    status: str = ""
    service: str = ""
    host: str = ""


class _Lines(_Loose):
    logs: list[_Line]


class _Monitor(_Loose):
    name: str
    query: str = ""
    overall_state: str


class _Monitors(_Loose):
    monitors: list[_Monitor]


Model = TypeVar("Model", bound=BaseModel)


class OpenSre:
    """Reads one folder a scenario, recognised by `alert.json` beside `scenario.yml`."""

    def __init__(self, root: Path, *, visible_for: timedelta | None = None) -> None:
        self._root = root
        self._visible_for = visible_for
        if not self.names():
            raise CorpusError(root, "holds no folder with an alert.json and a scenario.yml")

    def names(self) -> list[str]:
        """Scenario folders relative to the root, sorted."""
        folders = (path.parent for path in self._root.rglob("scenario.yml"))
        return sorted(str(path.relative_to(self._root)) for path in folders if (path / "alert.json").is_file())

    def system(self, name: str) -> str:
        """The suite: the folder above the scenario's."""
        parent = Path(name).parent.name
        return f"opensre-{parent}" if parent else "opensre"

    def recording(self, name: str) -> Recording:
        """One scenario, without what its alert says about the cause."""
        folder = self._folder(name)
        alert = _json(_Alert, folder / "alert.json")
        scenario = _merged(folder)
        seen = _Seen(_alerting(alert, scenario, folder))
        for path in _evidence(folder, scenario):
            _take(path, seen)
        start, end = seen.window(folder)
        if self._visible_for is not None:
            end = min(end, seen.last + self._visible_for)
        bundle_id = opaque_id("opensre", name)
        return Recording(
            bundle_id=bundle_id,
            alert=Alert(
                source="corpus",
                fingerprint=bundle_id,
                title=f"alert on {seen.alerting.partition(':')[2]}",
                starts_at=seen.last,
                entity=seen.alerting,
            ),
            visible=VisibleWindow(start=start, end=end),
            as_of=end,
            topology=seen.topology(),
            metrics=seen.metrics(),
            logs=seen.lines(),
            cluster=seen.conditions(),
        )

    def truth(self, name: str) -> Truth:
        """What the scenario's own answer says: its category, and the entity that its root cause names, if any."""
        folder = self._folder(name)
        answer = _yaml(_Answer, folder / "answer.yml")
        mode = _yaml(_Truth, folder / "scenario.yml").failure_mode
        healthy = answer.root_cause_category == HEALTHY
        entity = None if healthy else self._named(name, answer.model_response)
        return Truth(
            bundle_id=opaque_id("opensre", name),
            system=self.system(name),
            entity=entity,
            unnamed=not healthy and entity is None,
            fault_kind=FaultKind.UNKNOWN if healthy else _KINDS.get(mode or "", FaultKind.UNKNOWN),
            kind_family=() if healthy else _CATEGORIES.get(answer.root_cause_category, ()),
            changes_recorded=False,
            case=name,
        )

    def _named(self, name: str, response: str) -> EntityId | None:
        """The entity of the case that the answer's root cause names; a pod or node before its workload."""
        cause = response.partition("ROOT_CAUSE:")[2].partition("ROOT_CAUSE_CATEGORY:")[0]
        topology = self.recording(name).topology
        assert topology is not None
        found = [
            (_SPECIFIC.get(item.kind, len(_SPECIFIC)), place.start(), item.id)
            for item in topology.entities
            if (place := re.search(rf"(?<![\w.-]){re.escape(item.name)}(?![\w-]|\.\w)", cause)) is not None
        ]
        return min(found)[2] if found else None

    def _folder(self, name: str) -> Path:
        if name not in self.names():
            raise CorpusError(self._root / name, "has no alert.json and scenario.yml")
        return self._root / name


@dataclass
class _Seen:
    """What a scenario's files showed."""

    alerting: EntityId
    samples: list[tuple[datetime, EntityId, str, float]] = field(default_factory=list)
    logs: list[tuple[datetime, EntityId, str, str]] = field(default_factory=list)
    events: list[ClusterCondition] = field(default_factory=list)
    states: list[ClusterCondition] = field(default_factory=list)
    """Of objects, without a time of their own: true when the queries are run."""

    entities: dict[EntityId, EntityKind] = field(default_factory=dict)
    edges: set[tuple[EntityId, EntityId, EdgeKind]] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    @property
    def last(self) -> datetime:
        """When the latest of it was seen."""
        return max(self._times())

    def window(self, folder: Path) -> tuple[datetime, datetime]:
        """From the first to just after the last.

        Raises:
            CorpusError: nothing has a time.
        """
        times = self._times()
        if not times:
            raise CorpusError(folder, "shows nothing that has a time")
        return min(times) - timedelta(seconds=1), max(times) + timedelta(seconds=1)

    def entity(self, kind: EntityKind, name: str) -> EntityId:
        """An entity that was met."""
        found = entity_id(kind, name)
        self.entities[found] = kind
        return found

    def topology(self) -> Topology:
        """All that was met, and how it hangs together."""
        self.entities.setdefault(self.alerting, EntityKind(self.alerting.partition(":")[0]))
        return Topology(
            entities=tuple(
                Entity(id=found, kind=kind, name=found.partition(":")[2])
                for found, kind in sorted(self.entities.items())
            ),
            edges=tuple(Edge(source=source, target=target, kind=kind) for source, target, kind in sorted(self.edges)),
        )

    def metrics(self) -> pl.DataFrame | None:
        """None when no metric source was offered."""
        if not self.files & {"aws_cloudwatch_metrics", "aws_performance_insights"}:
            return None
        return pl.DataFrame(self.samples, schema=["ts", "entity", "metric", "value"], orient="row")

    def lines(self) -> pl.DataFrame | None:
        """None when no log source was offered."""
        if not self.files & {"eks_pod_logs", "datadog_logs"}:
            return None
        schema = pl.Schema(
            {"ts": pl.Datetime("us", "UTC"), "entity": pl.String(), "severity": pl.String(), "message": pl.String()}
        )
        return pl.DataFrame(self.logs, schema=schema, orient="row").with_columns(
            trace_id=pl.lit(""), span_id=pl.lit("")
        )

    def conditions(self) -> list[ClusterCondition]:
        """Events at their times, states at the time of the alert."""
        return [*self.events, *(item.model_copy(update={"at": self.last}) for item in self.states)]

    def state(self, kind: str, name: str, entity: EntityId, condition: _Condition, *, healthy: bool) -> None:
        """An object's state."""
        self.states.append(
            ClusterCondition(
                at=datetime.fromtimestamp(0, UTC).replace(year=2000),
                object_kind=kind,
                object_name=name,
                entity=entity,
                type=condition.type,
                healthy=healthy,
                reason=condition.reason[:256],
                message=condition.message[:4096],
            )
        )

    def _times(self) -> list[datetime]:
        rows = [item[0] for item in self.samples] + [item[0] for item in self.logs]
        return rows + [item.at for item in self.events]


def _alerting(alert: _Alert, scenario: _Scenario, folder: Path) -> EntityId:
    """The workload or database that the alert is about."""
    database = alert.commonAnnotations.db_instance_identifier or scenario.db_instance_identifier
    workload = alert.commonLabels.workload_name or scenario.workload_name
    if workload is not None:
        return entity_id(EntityKind.SERVICE, workload)
    if database is not None:
        return entity_id(EntityKind.DATABASE, database)
    raise CorpusError(folder / "alert.json", "names neither a workload nor a database")


def _merged(folder: Path) -> _Scenario:
    """A scenario, filled up from the one it is based on."""
    own = _yaml(_Scenario, folder / "scenario.yml")
    if own.base is None:
        return own
    base = _yaml(_Scenario, folder.parent / own.base / "scenario.yml")
    return base.model_copy(update={**own.model_dump(exclude_none=True), "base": own.base})


def _evidence(folder: Path, scenario: _Scenario) -> list[Path]:
    """Files of every source the scenario offers: its own, else its base's."""
    found: list[Path] = []
    for source in scenario.available_evidence or sorted(_TAKERS):
        for place in (folder, folder.parent / scenario.base if scenario.base else folder):
            files = sorted(place.glob(f"{source}*.json"))
            if files:
                found += files
                break
    return found


def _take(path: Path, seen: _Seen) -> None:
    source = next((name for name in _TAKERS if path.stem == name or path.stem.startswith(f"{name}_")), None)
    if source is None:
        LOG.warning("evidence.unknown", file=path.name, known=sorted(_TAKERS))
        return  # a source that no probe of ours queries
    seen.files.add(source)
    try:
        _TAKERS[source](path, seen)
    except (ValidationError, ValueError, TypeError, AttributeError) as error:
        raise CorpusError(path, f"cannot be read: {error}") from error


def _json(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorpusError(path, f"cannot be read: {error}") from error


def _yaml(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate(yaml.safe_load(path.read_bytes()))
    except (OSError, ValidationError, yaml.YAMLError) as error:
        raise CorpusError(path, f"cannot be read: {error}") from error


def _cloudwatch(path: Path, seen: _Seen) -> None:
    document = json.loads(path.read_bytes())
    if "metric_data_results" in document:
        series = _Metrics.model_validate(document).metric_data_results
    elif "metric_name" in document:
        series = [_Series.model_validate(document)]
    else:
        return  # an envelope around files of one series each
    for item in series:
        if len(item.timestamps) != len(item.values):
            raise ValueError(f"{item.metric_name} has {len(item.timestamps)} times and {len(item.values)} values")
        about = next((part.Value for part in item.dimensions if part.Name == "DBInstanceIdentifier"), None)
        entity = seen.entity(EntityKind.DATABASE, about) if about else seen.alerting
        for at, value in zip(item.timestamps, item.values, strict=True):
            seen.samples.append((at, entity, item.metric_name, value))


def _insights(path: Path, seen: _Seen) -> None:
    found = _json(_Insights, path)
    entity = seen.entity(EntityKind.DATABASE, found.db_instance_identifier)
    for at, value in zip(found.db_load.timestamps, found.db_load.values, strict=True):
        seen.samples.append((at, entity, "db_load", value))
    end = found.db_load.timestamps[-1] if found.db_load.timestamps else found.end_time
    for wait in found.top_wait_events:
        seen.samples.append((end, entity, f'db_load{{wait="{wait.name}"}}', wait.db_load_avg))
    for item in found.top_sql:
        seen.samples.append((end, entity, f'db_load{{statement="{item.statement[:300]}"}}', item.db_load_avg))


def _rds_events(path: Path, seen: _Seen) -> None:
    for event in _json(_RdsEvents, path).events:
        categories = sorted(event.event_categories)
        seen.events.append(
            ClusterCondition(
                at=event.date,
                object_kind="DBInstance",
                object_name=event.source_identifier,
                entity=seen.entity(EntityKind.DATABASE, event.source_identifier),
                type="Event",
                healthy=not states_fault(categories),
                reason=", ".join(categories)[:256],
                message=event.message[:4096],
            )
        )


def _events(path: Path, seen: _Seen) -> None:
    document = json.loads(path.read_bytes())
    for event in (_Event.model_validate(item) for items in document.values() for item in items):
        kind, _, name = event.involved_object.partition("/")
        seen.events.append(
            ClusterCondition(
                at=event.last_time,
                object_kind=kind,
                object_name=name,
                entity=_object(seen, kind, name),
                type=event.type,
                healthy=event.type == "Normal",
                reason=event.reason[:256],
                message=event.message[:4096],
                count=event.count,
            )
        )


def _object(seen: _Seen, kind: str, name: str) -> EntityId:
    """The entity that an object of the cluster is; a pod belongs to the workload whose name its own begins with."""
    if kind == "Pod":
        pod = seen.entity(EntityKind.POD, name)
        if name.startswith(f"{seen.alerting.partition(':')[2]}-"):
            seen.edges.add((pod, seen.alerting, EdgeKind.PART_OF))
        return pod
    if kind == "Node":
        return seen.entity(EntityKind.NODE, name)
    workload = seen.alerting.partition(":")[2]
    return (
        seen.alerting if name == workload or name.startswith(f"{workload}-") else seen.entity(EntityKind.SERVICE, name)
    )


def _pods(path: Path, seen: _Seen) -> None:
    for pod in _json(_Pods, path).pods:
        entity = _object(seen, "Pod", pod.name)
        if pod.node_name and pod.node_name != UNSCHEDULED:
            seen.edges.add((entity, seen.entity(EntityKind.NODE, pod.node_name), EdgeKind.RUNS_ON))
        phase = _Condition(type="Phase", status=pod.phase, reason=pod.phase)
        seen.state("Pod", pod.name, entity, phase, healthy=pod.phase in ("Running", "Succeeded"))
        for condition in pod.conditions:
            seen.state("Pod", pod.name, entity, condition, healthy=condition.status == "True")
        for container in pod.containers:
            state = container.state
            shown = _Condition(type="Container", status="", reason=state.reason, message=state.message)
            bad = state.terminated or (state.waiting and bool(state.reason))
            if bad or container.restart_count:
                shown.reason = shown.reason or f"{container.restart_count} restarts"
                seen.state("Pod", pod.name, entity, shown, healthy=not bad and container.ready)


def _deployments(path: Path, seen: _Seen) -> None:
    for item in _json(_Deployments, path).deployments:
        shown = _Condition(type="Available", status="", reason=f"{item.ready} of {item.desired} ready")
        entity = _object(seen, "Deployment", item.name)
        seen.state("Deployment", item.name, entity, shown, healthy=item.ready >= item.desired)


def _nodes(path: Path, seen: _Seen) -> None:
    for item in _json(_Nodes, path).nodes:
        entity = seen.entity(EntityKind.NODE, item.name)
        states = {
            "Ready": item.ready == "True",
            "MemoryPressure": item.memory_pressure != "True",
            "DiskPressure": item.disk_pressure != "True",
            "PIDPressure": item.pid_pressure != "True",
        }
        for name, healthy in states.items():
            seen.state("Node", item.name, entity, _Condition(type=name, status="", reason=name), healthy=healthy)


def _pod_logs(path: Path, seen: _Seen) -> None:
    found = _json(_PodLogs, path)
    entity = _object(seen, "Pod", found.pod_name)
    at: datetime | None = None
    for line in found.logs.splitlines():
        stamp = _STAMP.match(line)
        at = datetime.fromisoformat(stamp[1]) if stamp else at
        if at is not None and line.strip():
            severity = (stamp[2] or "").lower() if stamp else ""
            seen.logs.append((at, entity, severity, line[stamp.end() :] if stamp else line))


def _datadog_logs(path: Path, seen: _Seen) -> None:
    for line in _json(_Lines, path).logs:
        entity = _object(seen, "Pod", line.host) if line.host else seen.alerting
        seen.logs.append((line.timestamp, entity, line.status.lower(), line.message))


def _monitors(path: Path, seen: _Seen) -> None:
    for item in _json(_Monitors, path).monitors:
        shown = _Condition(type="Monitor", status="", reason=item.overall_state, message=f"{item.name}: {item.query}")
        seen.state("Monitor", item.name, seen.alerting, shown, healthy=item.overall_state == "OK")


_TAKERS = {
    "aws_cloudwatch_metrics": _cloudwatch,
    "aws_performance_insights": _insights,
    "aws_rds_events": _rds_events,
    "datadog_logs": _datadog_logs,
    "datadog_monitors": _monitors,
    "eks_deployments": _deployments,
    "eks_events": _events,
    "eks_node_health": _nodes,
    "eks_pod_logs": _pod_logs,
    "eks_pods": _pods,
}
