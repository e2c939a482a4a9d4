"""Answers probes from a cluster: what is wrong with its objects now, what was rolled out, and who runs where."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import polars as pl

from activities.answers import COLUMNS
from activities.telemetry.backend import Answer, Answers, answered, one_by_one
from activities.telemetry.changes import change_rows
from activities.telemetry.entities import Labels, inventory_rows
from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import HttpBackend
from activities.telemetry.kubernetes.config import KubernetesConfig
from activities.telemetry.kubernetes.deliveries import deliveries
from activities.telemetry.kubernetes.events import event_rows
from activities.telemetry.kubernetes.facts import Facts, PodFacts, key_of, learn, pod_facts
from activities.telemetry.kubernetes.pod_logs import READ_BACK, PodLogs
from activities.telemetry.kubernetes.reader import ClusterReader
from activities.telemetry.kubernetes.rollouts import config_changes, rollouts
from activities.telemetry.kubernetes.rule import Cluster, Stated, states_of
from activities.telemetry.lines import COUNTS, LineReduction
from activities.telemetry.registry import Opening
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe, ClusterProbe, InventoryProbe, LogProbe, Probe, Window
from workflows.contracts.topology import EntityKind, entity_id

LONGEST_MESSAGE = 4_096
LOOKED_AT = (
    "Node",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Service",
    "Ingress",
    "NetworkPolicy",
    "Job",
    "CronJob",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "ResourceQuota",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "Gateway",
    "HTTPRoute",
    "Certificate",
)
"""Kinds whose objects are looked at, beside pods."""


@dataclass(frozen=True)
class _Snapshot:
    """Of all pods, what is needed; and what is small."""

    facts: Facts
    states: Mapping[tuple[str, str, str], "_State"]
    unwell: Sequence[tuple[Any, PodFacts, Sequence[Stated]]]
    """Pods of which a rule says something bad: their metadata, facts, and everything the rules say."""

    @classmethod
    def of(cls, reader: ClusterReader) -> "_Snapshot":
        """Read it; of a page of pods only this is kept."""
        facts = Facts()
        learn(reader, facts)
        cluster = Cluster(facts=facts, reader=reader, now=datetime.now(UTC))
        states: dict[tuple[str, str, str], _State] = {}
        unwell = []
        for pod in reader.each("Pod"):
            found = pod_facts(pod, facts)
            facts.pods[(found.namespace, found.name)] = found
            stated = list(states_of("Pod", pod, cluster))
            states[("Pod", found.namespace, found.name)] = _state(pod, stated)
            if any(not item.healthy for item in stated):
                unwell.append((_Metadata(pod.metadata), found, stated))
        return cls(facts=facts, states=states, unwell=unwell)


@dataclass(frozen=True)
class _State:
    """What is known of the present state of an object, for its events."""

    uid: str
    since: datetime | None
    healthy: bool


class KubernetesBackend(HttpBackend):
    """One cluster, open for one attempt at one step."""

    def __init__(self, opening: Opening) -> None:
        assert isinstance(opening.config, KubernetesConfig)
        self._config = opening.config
        self._resolver = opening.resolver
        super().__init__(opening.config)
        self._reader = ClusterReader(self._client, opening.config)
        self._reading = threading.Lock()
        self._read: _Snapshot | None = None

    def together(self, probes: Sequence[Probe]) -> list[list[Probe]]:
        """Those of logs together, the others by themselves; they share what was read."""
        logs: list[Probe] = [probe for probe in probes if probe.tool == "logs"]
        return [*one_by_one([probe for probe in probes if probe.tool != "logs"]), *([logs] if logs else [])]

    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """Workloads, their pods, the Services that select them, and the nodes they run on."""
        for probe in probes:
            facts = self._snapshot.facts
            rows: list[tuple[Labels, str, Labels]] = [
                ({"kind": "node", "node": name, "host_ip": address}, "", {})
                for name, addresses in facts.nodes.items()
                for address in addresses or ("",)
            ]
            for pod in facts.pods.values():
                rows += _pod_rows(pod)
            rows += _service_rows(facts)
            yield probe, self._answer(inventory_rows(rows), probe.max_rows, probe.window)

    def cluster(self, probes: Sequence[ClusterProbe]) -> Answers:
        """Every condition that a rule states, and warnings of the last day about what exists."""
        for probe in probes:
            rows = [row for row in self._conditions(probe.window) if row is not None]
            values = sorted({_values(item) for item in rows}, key=repr)
            frame = pl.DataFrame(values, schema=COLUMNS["cluster"], orient="row")
            yield probe, self._answer(frame, probe.max_rows, probe.window)

    def changes(self, probes: Sequence[ChangeProbe]) -> Answers:
        """Rollouts, revision by revision, ConfigMaps that were written, and what Argo CD and Flux delivered."""
        for probe in probes:
            pods, entity_of = self._snapshot.facts.pods.values(), self._entities
            found = [
                *rollouts(self._reader, entity_of),
                *config_changes(self._reader, pods, entity_of),
                *deliveries(self._reader, entity_of),
            ]
            inside = [change for change in found if probe.window.start <= change.at < probe.window.end]
            yield probe, self._answer(change_rows(inside, self._resolver()), probe.max_rows, probe.window)

    def logs(self, probes: Sequence[LogProbe]) -> Answers:
        """What the containers of each entity wrote lately, the one before a restart included."""
        end = max(probe.window.end for probe in probes)
        window = Window(start=max(min(probe.window.start for probe in probes), end - READ_BACK), end=end)
        pods: dict[EntityId, list[PodFacts]] = {probe.entity: [] for probe in probes}
        for pod in self._snapshot.facts.pods.values():
            of_pod = pods.get(self._entities(pod.namespace, pod.owner[1]))
            if of_pod is not None:
                of_pod.append(pod)
        read = dict(PodLogs(self._client, self._config).read(pods, window))
        reduction = LineReduction([found.sample for found in read.values()], pl.DataFrame(schema=COUNTS))
        try:
            for probe in probes:
                found = read[probe.entity]
                if not pods[probe.entity]:
                    yield probe, Answer(status=ObservationStatus.NOT_FOUND, detail="it has no pod here")
                elif found.failed is not None:
                    yield probe, Answer(status=found.failed.status, detail=found.failed.detail)
                else:
                    yield probe, reduction.answer(probe, found.window, found.notes)
        finally:
            reduction.close()

    @cached_property
    def _entities(self) -> "Callable[[str, str], EntityId]":
        resolver = self._resolver()

        def entity_of(namespace: str, workload: str) -> EntityId:
            found = resolver.entity({"namespace": namespace, "workload": workload})
            return found or entity_id(EntityKind.SERVICE, workload)

        return entity_of

    @property
    def _snapshot(self) -> "_Snapshot":
        """Pods and what is small beside them, read once however many probes want it."""
        with self._reading:
            if self._read is None:
                self._read = _Snapshot.of(self._reader)
            return self._read

    def _conditions(self, window: Window) -> Iterator[ClusterCondition | None]:
        snapshot = self._snapshot
        facts, states = snapshot.facts, dict(snapshot.states)
        cluster = Cluster(facts=facts, reader=self._reader, now=window.end)
        for pod, found, stated in snapshot.unwell:
            of_pod = self._entities(found.namespace, found.owner[1])
            for item in stated:
                yield _condition("Pod", pod, item, of_pod)
        for kind in LOOKED_AT:
            for thing in self._reader.each(kind):
                stated = list(states_of(kind, thing, cluster))
                namespace, name = _key(thing)
                states[(kind, namespace, name)] = _state(thing, stated)
                if any(not item.healthy for item in stated):
                    entity = self._entity(kind, namespace, name, thing, facts)
                    for item in stated:
                        yield _condition(kind, thing, item, entity)
        for event in event_rows(self._reader, window, lambda kind, space, name: states.get((kind, space, name))):
            entity = self._entity(event.kind, event.namespace, event.name, None, facts)
            yield from (item.model_copy(update={"entity": entity}) for item in event.conditions)

    def _entity(self, kind: str, namespace: str, name: str, item: Any, facts: Facts) -> EntityId | None:
        """Which entity an object belongs to."""
        if kind == "Node":
            return entity_id(EntityKind.NODE, name)
        if kind == "Pod":
            pod = facts.pods.get((namespace, name))
            return self._entities(namespace, pod.owner[1]) if pod is not None else None
        if kind == "ReplicaSet":
            owner = facts.replica_set_owners.get((namespace, name))
            return self._entities(namespace, owner[1] if owner else name)
        if kind == "Job":
            owner = facts.job_owners.get((namespace, name))
            return self._entities(namespace, owner[1] if owner else name)
        if kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob"):
            return self._entities(namespace, name)
        return self._of_related(kind, namespace, name, item, facts)

    def _of_related(self, kind: str, namespace: str, name: str, item: Any, facts: Facts) -> EntityId | None:
        """Of an object that stands for others: the workload it serves, scales, stores for, or is named by."""
        resolver = self._resolver()
        if kind == "Service":
            return resolver.entity({"namespace": namespace, "service": name})
        if kind == "HorizontalPodAutoscaler" and item is not None and item.spec is not None:
            return self._entities(namespace, item.spec.scale_target_ref.name)
        if kind in ("PodDisruptionBudget",) and item is not None and item.spec is not None:
            pods = facts.matching(namespace, item.spec.selector)
            return self._entities(namespace, pods[0].owner[1]) if pods else None
        if kind == "PersistentVolumeClaim":
            users = [pod for pod in facts.pods.values() if pod.namespace == namespace and name in pod.claims]
            return self._entities(namespace, users[0].owner[1]) if users else None
        if kind == "Ingress" and item is not None and item.spec is not None:
            names = [
                path.backend.service.name
                for found in item.spec.rules or ()
                if found.http is not None
                for path in found.http.paths or ()
                if path.backend.service is not None
            ]
            return resolver.entity({"namespace": namespace, "service": names[0]}) if names else None
        return None

    def _answer(self, rows: pl.DataFrame, limit: int, window: Window) -> Answer:
        """An answer that names the kinds that could not be read; none at all when nothing could be."""
        problems = [f"{kind}: {error.detail}" for kind, error in sorted(self._reader.unreadable.items())]
        problems += [
            f"{count} {kind} are not as the API describes" for kind, count in sorted(self._reader.damaged.items())
        ]
        if not problems:
            return answered(rows.head(limit), window, total=rows.height)
        detail = "; ".join(problems)[:900]
        if rows.is_empty() and self._reader.unreadable:
            statuses = {error.status for error in self._reader.unreadable.values()}
            status = statuses.pop() if len(statuses) == 1 else ObservationStatus.TRUNCATED
            return Answer(status=status, detail=detail)
        found = answered(rows.head(limit), window, total=rows.height)
        return Answer(status=ObservationStatus.TRUNCATED, rows=found.rows, coverage=found.coverage, detail=detail)


def _values(item: ClusterCondition) -> tuple[object, ...]:
    return (
        item.at,
        item.object_kind,
        item.object_name,
        item.entity or "",
        item.type,
        item.healthy,
        item.reason,
        item.message,
        item.count,
    )


class _Metadata:
    """Of a pod, what is kept of it while others are read."""

    def __init__(self, metadata: Any) -> None:
        self.metadata = metadata


def _key(item: Any) -> tuple[str, str]:
    if isinstance(item, Mapping):
        about = item.get("metadata") or {}
        return str(about.get("namespace") or ""), str(about.get("name") or "")
    return key_of(item)


def _state(item: Any, stated: Sequence[Stated]) -> _State:
    if isinstance(item, Mapping):
        return _State(str((item.get("metadata") or {}).get("uid") or ""), None, not stated)
    healthy = not any(not found.healthy for found in stated)
    since = max((found.at for found in stated if found.healthy and found.at is not None), default=None)
    return _State(item.metadata.uid or "", since or item.metadata.creation_timestamp, healthy)


def _condition(kind: str, item: Any, stated: Stated, entity: EntityId | None) -> ClusterCondition | None:
    namespace, name = _key(item)
    created = None if isinstance(item, Mapping) else item.metadata.creation_timestamp
    if isinstance(item, Mapping):
        text = str((item.get("metadata") or {}).get("creationTimestamp") or "").replace("Z", "+00:00")
        created = datetime.fromisoformat(text) if text else None
    at = stated.at or created
    if at is None or not name:
        return None
    return ClusterCondition(
        at=at.astimezone(UTC),
        object_kind=kind,
        object_name=f"{namespace}/{name}" if namespace else name,
        entity=entity,
        type=stated.type,
        healthy=stated.healthy,
        reason=stated.reason[:256],
        message=stated.message[:LONGEST_MESSAGE],
        count=max(0, stated.count),
    )


def _pod_rows(pod: PodFacts) -> list[tuple[Labels, str, Labels]]:
    labels = {"namespace": pod.namespace, "pod": pod.name, "pod_ip": pod.address}
    kind, name = pod.owner
    workload = {"kind": "workload", "namespace": pod.namespace, "workload": name}
    rows: list[tuple[Labels, str, Labels]] = [(labels, "owned_by", workload), (workload, "", {})]
    named = pod.labels.get("app.kubernetes.io/name")
    if named and named != name and kind != "Pod":
        rows.append(({**workload, "app.kubernetes.io/name": named}, "", {}))
    if pod.node:
        rows.append((labels, "runs_on", {"kind": "node", "node": pod.node}))
    return rows


def _service_rows(facts: Facts) -> list[tuple[Labels, str, Labels]]:
    rows: list[tuple[Labels, str, Labels]] = []
    for (namespace, name), service in facts.services.items():
        selector = (service.spec.selector or {}) if service.spec is not None else {}
        address = (service.spec.cluster_ip or "") if service.spec is not None else ""
        owners = {pod.owner[1] for pod in facts.selected(namespace, selector)} if selector else set()
        labels = {"namespace": namespace, "service": name, "ip": "" if address == "None" else address}
        for owner in sorted(owners):
            rows.append((labels, "selects", {"kind": "workload", "namespace": namespace, "workload": owner}))
    return rows


def check(opening: Opening) -> list[str]:
    """Whether the API server answers, and how many workloads it shows us."""
    backend = KubernetesBackend(opening)
    try:
        version = backend._client.get("/version")
        names = [item.metadata.name for item in backend._reader.each("Deployment")]
        refused = backend._reader.unreadable.get("Deployment")
    finally:
        backend.close()
    if refused is not None:
        raise QueryError(refused.status, f"Deployments: {refused.detail}")
    shown = version.get("gitVersion") if isinstance(version, dict) else None
    return [f"version {shown or 'unknown'}", f"{len(names)} Deployments"]
