"""Services, Ingresses, gateways, network policies."""

from collections.abc import Iterator, Mapping
from typing import Any

from activities.telemetry.documents import moment
from activities.telemetry.kubernetes.facts import key_of
from activities.telemetry.kubernetes.rule import Cluster, Stated, rule

_LEADER = "control-plane.alpha.kubernetes.io/leader"


@rule("Service")
def service(item: Any, cluster: Cluster) -> Iterator[Stated]:
    """Its selector matches nothing, or nothing of what it matches is ready."""
    selector = (item.spec.selector or {}) if item.spec is not None else {}
    if not selector or (item.metadata.annotations or {}).get(_LEADER) or not cluster.knows("Pod", "EndpointSlice"):
        return
    namespace = key_of(item)[0]
    pods = [pod for pod in cluster.facts.selected(namespace, selector) if not pod.ended]
    if not pods:
        if not _scaled_to_nothing(namespace, selector, cluster):
            shown = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
            yield Stated(reason="NoEndpoints", message=f"no pod has the labels {shown}")
        return
    ready, waiting = cluster.facts.endpoints.get(key_of(item), (0, 0))
    if ready == 0:
        yield Stated(reason="NoReadyEndpoints", message=f"none of its {len(pods)} pods is ready")
    elif waiting:
        yield Stated(reason="EndpointsNotReady", message=f"{waiting} of its {ready + waiting} addresses are not ready")


def _scaled_to_nothing(namespace: str, selector: Mapping[str, str], cluster: Cluster) -> bool:
    """Whether a workload would answer it that a person scaled to zero."""
    wanted = selector.items()
    return any(
        space == namespace and wanted <= dict(labels).items()
        for (space, _, _), labels in cluster.facts.workloads.items()
    )


@rule("Ingress")
def ingress(item: Any, cluster: Cluster) -> Iterator[Stated]:
    """Its class, a Service behind it, or the port of that Service is missing."""
    spec = item.spec
    if spec is None:
        return
    name = spec.ingress_class_name or (item.metadata.annotations or {}).get("kubernetes.io/ingress.class")
    if cluster.knows("IngressClass"):
        if name and name not in cluster.facts.ingress_classes and spec.ingress_class_name:
            yield Stated(reason="IngressClassMissing", message=f"the ingress class {name} does not exist")
        elif not name and not any(cluster.facts.ingress_classes.values()):
            yield Stated(reason="NoIngressClass", message="it names no class, and none is the default")
    backends = [spec.default_backend] if spec.default_backend is not None else []
    backends += [path.backend for found in spec.rules or () if found.http for path in found.http.paths or ()]
    for backend in backends:
        if backend.service is not None and cluster.knows("Service"):
            yield from _backend(key_of(item)[0], backend.service.name, backend.service.port, cluster)


def _backend(namespace: str, name: str, port: Any, cluster: Cluster) -> Iterator[Stated]:
    found = cluster.facts.services.get((namespace, name))
    if found is None:
        yield Stated(reason="BackendMissing", message=f"the Service {namespace}/{name} behind it does not exist")
        return
    wanted = (port.number or port.name) if port is not None else None
    ports = {value for item in found.spec.ports or () for value in (item.port, item.name)}
    if wanted is not None and wanted not in ports:
        yield Stated(reason="BackendPortMissing", message=f"the Service {namespace}/{name} has no port {wanted}")


@rule("Gateway", "HTTPRoute")
def gateway(item: Mapping[str, Any], _cluster: Cluster) -> Iterator[Stated]:
    """A gateway, or one of a route's parents, does not accept it, or a reference of it does not resolve."""
    status = item.get("status") or {}
    groups = [("", status.get("conditions") or [])]
    groups += [
        (f"listener {listener.get('name', '')}: ", listener.get("conditions") or [])
        for listener in status.get("listeners") or []
    ]
    groups += [
        (f"parent {(parent.get('parentRef') or {}).get('name', '')}: ", parent.get("conditions") or [])
        for parent in status.get("parents") or []
    ]
    for where, conditions in groups:
        for condition in conditions:
            wanted = condition.get("type") in ("Accepted", "Programmed", "ResolvedRefs")
            if wanted and condition.get("status") == "False":
                yield Stated(
                    type=str(condition["type"]),
                    reason=str(condition.get("reason") or condition["type"]),
                    message=where + str(condition.get("message") or ""),
                    at=moment(condition.get("lastTransitionTime")),
                )


@rule("NetworkPolicy")
def network_policy(item: Any, cluster: Cluster) -> Iterator[Stated]:
    """It selects no pod. One that selects all and allows nothing denies everything: that is what it is for."""
    selector = item.spec.pod_selector if item.spec is not None else None
    if selector is None or not cluster.knows("Pod"):
        return
    is_empty = not selector.match_labels and not selector.match_expressions
    if not is_empty and not cluster.facts.matching(key_of(item)[0], selector):
        yield Stated(reason="NoPodSelected", message="its selector matches no pod")
