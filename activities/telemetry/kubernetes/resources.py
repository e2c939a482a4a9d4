"""Which objects are read, where their lists are, and the rules of the ClusterRole that allow it."""

from dataclasses import dataclass

from activities.telemetry.registry import ClusterRule


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind of object."""

    kind: str
    group: str
    """Empty for the core group."""

    version: str
    plural: str
    namespaced: bool = True
    optional: bool = False
    """Whether a cluster may not have it at all: then its absence is no data gap."""

    field_selector: str = ""

    def path(self, namespace: str | None) -> str:
        """Of its list, in one namespace or in all."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace is not None and self.namespaced else ""
        return f"{base}{inside}/{self.plural}"


def _core(kind: str, plural: str, **more: object) -> Resource:
    return Resource(kind=kind, group="", version="v1", plural=plural, **more)  # type: ignore[arg-type]


def _of(group: str, kind: str, plural: str, **more: object) -> Resource:
    return Resource(kind=kind, group=group, version="v1", plural=plural, **more)  # type: ignore[arg-type]


RESOURCES: tuple[Resource, ...] = (
    _core("Node", "nodes", namespaced=False),
    _core("Service", "services"),
    _core("ConfigMap", "configmaps"),
    _core("PersistentVolumeClaim", "persistentvolumeclaims"),
    _core("PersistentVolume", "persistentvolumes", namespaced=False),
    _core("ResourceQuota", "resourcequotas"),
    _core("Event", "events", field_selector="type=Warning"),
    _core("Pod", "pods"),
    _of("apps", "Deployment", "deployments"),
    _of("apps", "ReplicaSet", "replicasets"),
    _of("apps", "StatefulSet", "statefulsets"),
    _of("apps", "DaemonSet", "daemonsets"),
    _of("apps", "ControllerRevision", "controllerrevisions"),
    _of("batch", "Job", "jobs"),
    _of("batch", "CronJob", "cronjobs"),
    Resource(kind="HorizontalPodAutoscaler", group="autoscaling", version="v2", plural="horizontalpodautoscalers"),
    _of("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
    _of("networking.k8s.io", "Ingress", "ingresses"),
    _of("networking.k8s.io", "IngressClass", "ingressclasses", namespaced=False),
    _of("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    _of("discovery.k8s.io", "EndpointSlice", "endpointslices"),
    _of("storage.k8s.io", "StorageClass", "storageclasses", namespaced=False),
    _of(
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        namespaced=False,
    ),
    _of(
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        namespaced=False,
    ),
    _of("gateway.networking.k8s.io", "Gateway", "gateways", optional=True),
    _of("gateway.networking.k8s.io", "HTTPRoute", "httproutes", optional=True),
    _of("cert-manager.io", "Certificate", "certificates", optional=True),
    Resource(kind="Application", group="argoproj.io", version="v1alpha1", plural="applications", optional=True),
    _of("kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations", optional=True),
    Resource(kind="HelmRelease", group="helm.toolkit.fluxcd.io", version="v2", plural="helmreleases", optional=True),
)
BY_KIND = {resource.kind: resource for resource in RESOURCES}


def cluster_rules(*, logs: bool) -> tuple[ClusterRule, ...]:
    """One rule for each API group, with what is read of it.

    Args:
        logs: whether the logs of pods are read too.
    """
    groups: dict[str, list[str]] = {}
    for resource in RESOURCES:
        groups.setdefault(resource.group, []).append(resource.plural)
    lists = [
        ClusterRule(groups=(group,), resources=tuple(sorted(plurals)), verbs=("list",))
        for group, plurals in sorted(groups.items())
    ]
    of_logs = [ClusterRule(groups=("",), resources=("pods/log",), verbs=("get",))] if logs else []
    return (*lists, *of_logs)
