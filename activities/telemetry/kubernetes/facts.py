"""What the rules need to know of other objects than the one they look at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any

from activities.telemetry.kubernetes.reader import ClusterReader

Key = tuple[str, str]
"""(namespace, name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """Of one pod, what others need."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    ready: bool
    ended: bool
    """Whether it ran to its end, and is not expected to serve."""

    node: str
    address: str
    owner: Key
    """(kind, name) of what made it, through its ReplicaSet or Job."""

    config_maps: frozenset[str]
    """It does not start without them."""

    claims: frozenset[str]
    containers: tuple[tuple[str, int], ...]
    """Name and restarts of each."""


@dataclass
class Facts:
    """Everything small about a cluster."""

    pods: dict[Key, PodFacts] = field(default_factory=dict)
    replica_set_owners: dict[Key, Key] = field(default_factory=dict)
    job_owners: dict[Key, Key] = field(default_factory=dict)
    workloads: dict[tuple[str, str, str], Mapping[str, str]] = field(default_factory=dict)
    """Labels of the pods that (namespace, kind, name) makes."""

    services: dict[Key, Any] = field(default_factory=dict)
    endpoints: dict[Key, tuple[int, int]] = field(default_factory=dict)
    """(ready, not ready) addresses of a Service."""

    config_maps: set[Key] = field(default_factory=set)
    claims: set[Key] = field(default_factory=set)
    storage_classes: dict[str, bool] = field(default_factory=dict)
    """Whether each is the default one."""

    ingress_classes: dict[str, bool] = field(default_factory=dict)
    nodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses of each node."""

    def selected(self, namespace: str, selector: Mapping[str, str]) -> list[PodFacts]:
        """The pods that a selector of equal labels matches."""
        wanted = selector.items()
        return [pod for pod in self.pods.values() if pod.namespace == namespace and wanted <= dict(pod.labels).items()]

    def matching(self, namespace: str, selector: Any) -> list[PodFacts]:
        """The pods that a label selector matches, expressions included."""
        return [pod for pod in self.pods.values() if pod.namespace == namespace and matches(selector, pod.labels)]


def matches(selector: Any, labels: Mapping[str, str]) -> bool:
    """Whether a `LabelSelector` matches; an empty one matches everything, none at all nothing."""
    if selector is None:
        return False
    equal = (selector.match_labels or {}).items() <= dict(labels).items()
    return equal and all(_holds(item, labels) for item in selector.match_expressions or ())


def _holds(requirement: Any, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in (requirement.values or ())
        case "NotIn":
            return value not in (requirement.values or ())
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False


def learn(reader: ClusterReader, facts: Facts) -> None:
    """Read what is small: owners, services, endpoints, names. Pods are learned when they are read."""
    for kind, learned in _LEARNED.items():
        for item in reader.each(kind):
            learned(kind, item, facts)


def _workload(kind: str, item: Any, facts: Facts) -> None:
    namespace, name = key_of(item)
    facts.workloads[(namespace, kind, name)] = _template_labels(item)
    owner = controller(item.metadata)
    if owner is not None and kind in ("ReplicaSet", "Job"):
        (facts.replica_set_owners if kind == "ReplicaSet" else facts.job_owners)[namespace, name] = owner


def _service(_kind: str, item: Any, facts: Facts) -> None:
    facts.services[key_of(item)] = item


def _endpoints(_kind: str, item: Any, facts: Facts) -> None:
    service = (item.metadata.labels or {}).get("kubernetes.io/service-name")
    if not service:
        return
    key = (item.metadata.namespace or "", service)
    ready, waiting = facts.endpoints.get(key, (0, 0))
    for endpoint in item.endpoints or ():
        count = len(endpoint.addresses or ())
        serves = endpoint.conditions is None or endpoint.conditions.ready is not False
        ready, waiting = (ready + count, waiting) if serves else (ready, waiting + count)
    facts.endpoints[key] = (ready, waiting)


def _name(kind: str, item: Any, facts: Facts) -> None:
    (facts.config_maps if kind == "ConfigMap" else facts.claims).add(key_of(item))


def _class(kind: str, item: Any, facts: Facts) -> None:
    annotation = f"{kind.lower()}.kubernetes.io/is-default-class"
    found = facts.storage_classes if kind == "StorageClass" else facts.ingress_classes
    found[item.metadata.name] = (item.metadata.annotations or {}).get(annotation) == "true"


def _node(_kind: str, item: Any, facts: Facts) -> None:
    addresses = (item.status.addresses or ()) if item.status else ()
    facts.nodes[item.metadata.name] = tuple(found.address for found in addresses)


_LEARNED: dict[str, Callable[[str, Any, Facts], None]] = {
    "ReplicaSet": _workload,
    "Job": _workload,
    "Deployment": _workload,
    "StatefulSet": _workload,
    "DaemonSet": _workload,
    "Service": _service,
    "EndpointSlice": _endpoints,
    "ConfigMap": _name,
    "PersistentVolumeClaim": _name,
    "StorageClass": _class,
    "IngressClass": _class,
    "Node": _node,
}


def pod_facts(pod: Any, facts: Facts) -> PodFacts:
    """What others need to know of a pod."""
    namespace, name = key_of(pod)
    spec, status = pod.spec, pod.status
    owner = controller(pod.metadata) or ("Pod", name)
    owner = facts.replica_set_owners.get((namespace, owner[1]), owner) if owner[0] == "ReplicaSet" else owner
    owner = facts.job_owners.get((namespace, owner[1]), owner) if owner[0] == "Job" else owner
    conditions = (status.conditions or ()) if status else ()
    return PodFacts(
        namespace=namespace,
        name=name,
        labels=pod.metadata.labels or {},
        ready=any(item.type == "Ready" and item.status == "True" for item in conditions),
        ended=status is not None and status.phase == "Succeeded",
        node=(spec.node_name or "") if spec else "",
        address=(status.pod_ip or "") if status else "",
        owner=owner,
        config_maps=frozenset(_config_maps(spec)) if spec else frozenset(),
        claims=frozenset(
            volume.persistent_volume_claim.claim_name
            for volume in (spec.volumes or () if spec else ())
            if volume.persistent_volume_claim is not None
        ),
        containers=_containers(pod),
    )


def _containers(pod: Any) -> tuple[tuple[str, int], ...]:
    statuses = (pod.status.container_statuses or ()) if pod.status is not None else ()
    restarts = {item.name: item.restart_count or 0 for item in statuses}
    named = (pod.spec.containers or ()) if pod.spec is not None else ()
    return tuple((intern(item.name), restarts.get(item.name, 0)) for item in named)


def controller(metadata: Any) -> Key | None:
    """(kind, name) of what manages an object."""
    for owner in metadata.owner_references or ():
        if owner.controller:
            return (owner.kind, owner.name)
    return None


def key_of(item: Any) -> Key:
    """(namespace, name) of an object."""
    return (item.metadata.namespace or "", item.metadata.name)


def _template_labels(item: Any) -> Mapping[str, str]:
    template = item.spec.template if item.spec is not None else None
    return (template.metadata.labels or {}) if template is not None and template.metadata is not None else {}


def _config_maps(spec: Any) -> Iterable[str]:
    """ConfigMaps without which a pod does not start."""
    for volume in spec.volumes or ():
        if volume.config_map is not None and not volume.config_map.optional and volume.config_map.name:
            yield volume.config_map.name
        for part in (volume.projected.sources or ()) if volume.projected is not None else ():
            if part.config_map is not None and not part.config_map.optional and part.config_map.name:
                yield part.config_map.name
    for container in (*(spec.init_containers or ()), *(spec.containers or ())):
        for source in container.env_from or ():
            if source.config_map_ref is not None and not source.config_map_ref.optional and source.config_map_ref.name:
                yield source.config_map_ref.name
        for variable in container.env or ():
            chosen = variable.value_from.config_map_key_ref if variable.value_from is not None else None
            if chosen is not None and not chosen.optional and chosen.name:
                yield chosen.name


def latest(*moments: datetime | None) -> datetime | None:
    """The latest of those that are known."""
    known = [moment for moment in moments if moment is not None]
    return max(known) if known else None
