"""Reads lists of objects page by page; what may not be read is remembered, and is not taken for absent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kubernetes import client as models
from pydantic import ValidationError

from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import SourceClient
from activities.telemetry.kubernetes.config import KubernetesConfig
from activities.telemetry.kubernetes.resources import BY_KIND, Resource
from workflows.contracts.observation import ObservationStatus

Model = TypeVar("Model")
MOST_PAGES = 200
_TYPED = {
    "Node": models.V1Node,
    "Service": models.V1Service,
    "ConfigMap": models.V1ConfigMap,
    "PersistentVolumeClaim": models.V1PersistentVolumeClaim,
    "PersistentVolume": models.V1PersistentVolume,
    "ResourceQuota": models.V1ResourceQuota,
    "Event": models.CoreV1Event,
    "Pod": models.V1Pod,
    "Deployment": models.V1Deployment,
    "ReplicaSet": models.V1ReplicaSet,
    "StatefulSet": models.V1StatefulSet,
    "DaemonSet": models.V1DaemonSet,
    "ControllerRevision": models.V1ControllerRevision,
    "Job": models.V1Job,
    "CronJob": models.V1CronJob,
    "HorizontalPodAutoscaler": models.V2HorizontalPodAutoscaler,
    "PodDisruptionBudget": models.V1PodDisruptionBudget,
    "Ingress": models.V1Ingress,
    "IngressClass": models.V1IngressClass,
    "NetworkPolicy": models.V1NetworkPolicy,
    "EndpointSlice": models.V1EndpointSlice,
    "StorageClass": models.V1StorageClass,
    "ValidatingWebhookConfiguration": models.V1ValidatingWebhookConfiguration,
    "MutatingWebhookConfiguration": models.V1MutatingWebhookConfiguration,
}
"""The client's own model of each kind; of the others the plain document is read."""

_UNREAD = ("data", "binaryData")
"""What of a ConfigMap is never kept."""


@dataclass
class ClusterReader:
    """Reads one cluster for one attempt at one step."""

    client: SourceClient
    config: KubernetesConfig
    unreadable: dict[str, QueryError] = field(default_factory=dict)
    """Why lists of a kind have no answer."""

    damaged: dict[str, int] = field(default_factory=dict)
    """Objects of a kind that are not as the API describes them."""

    def each(self, kind: str) -> Iterator[Any]:
        """Every object of a kind, in the client's model where there is one. One page is held at a time."""
        resource = BY_KIND[kind]
        for namespace in self.config.namespaces if resource.namespaced and self.config.namespaces else (None,):
            try:
                yield from self._of_namespace(resource, namespace)
            except QueryError as error:
                if resource.optional and error.status is ObservationStatus.NOT_FOUND:
                    return
                self.unreadable.setdefault(kind, error)

    def knows(self, kind: str) -> bool:
        """Whether every list of a kind that was read could be read: only then does absence mean something."""
        return kind not in self.unreadable

    def _of_namespace(self, resource: Resource, namespace: str | None) -> Iterator[Any]:
        model = _TYPED.get(resource.kind)
        following = ""
        for _ in range(MOST_PAGES):
            parameters = {"limit": str(self.config.page)}
            if resource.field_selector:
                parameters["fieldSelector"] = resource.field_selector
            if following:
                parameters["continue"] = following
            document = self.client.get(resource.path(namespace), parameters)
            items = document.get("items") if isinstance(document, dict) else None
            if not isinstance(document, dict) or not isinstance(items, list):
                raise QueryError(ObservationStatus.ERROR, "is no list of Kubernetes' API")
            for item in items:
                found = self._parsed(resource.kind, model, item)
                if found is not None:
                    yield found
            about = document.get("metadata")
            following = str(about.get("continue") or "") if isinstance(about, dict) else ""
            if not following:
                return
        raise QueryError(ObservationStatus.TRUNCATED, f"there are more than {MOST_PAGES * self.config.page:,} of them")

    def _parsed(self, kind: str, model: Any, item: object) -> Any:
        if not isinstance(item, Mapping):
            self.damaged[kind] = self.damaged.get(kind, 0) + 1
            return None
        if model is None:
            return item
        try:
            return model.from_dict({key: value for key, value in item.items() if key not in _UNREAD})
        except (ValidationError, ValueError, TypeError, KeyError):
            self.damaged[kind] = self.damaged.get(kind, 0) + 1
            return None
