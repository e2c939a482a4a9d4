"""Deployments, ReplicaSets, StatefulSets, DaemonSets, autoscalers and disruption budgets."""

from collections.abc import Iterator
from typing import Any

from activities.telemetry.kubernetes.facts import controller, key_of
from activities.telemetry.kubernetes.rule import Cluster, Stated, rule


def _condition(item: Any, type_: str) -> Any:
    conditions = (item.status.conditions or ()) if item.status is not None else ()
    return next((found for found in conditions if found.type == type_), None)


@rule("Deployment")
def deployment(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """Fewer available replicas than wanted; a rollout that stands still; replicas that cannot be made."""
    wanted = item.spec.replicas if item.spec is not None and item.spec.replicas is not None else 1
    available = (item.status.available_replicas or 0) if item.status is not None else 0
    progressing, there = _condition(item, "Progressing"), _condition(item, "Available")
    if available < wanted:
        yield Stated(
            type="Available",
            reason="ReplicasUnavailable",
            message=f"{available} of {wanted} wanted replicas are available",
            at=there.last_transition_time if there is not None and there.status == "False" else None,
        )
    if progressing is not None and progressing.status == "False":
        yield Stated(
            type="Progressing",
            reason=progressing.reason or "ProgressDeadlineExceeded",
            message=progressing.message or "",
            at=progressing.last_transition_time,
        )
    yield from replica_failure(item)


@rule("ReplicaSet")
def replica_set(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """Of one that no Deployment looks after: the Deployment says it otherwise."""
    if controller(item.metadata) is None:
        yield from replica_failure(item)
        wanted = item.spec.replicas if item.spec is not None and item.spec.replicas is not None else 1
        ready = (item.status.ready_replicas or 0) if item.status is not None else 0
        if ready < wanted:
            yield Stated(
                type="Available", reason="ReplicasUnavailable", message=f"{ready} of {wanted} wanted replicas are ready"
            )


def replica_failure(item: Any) -> Iterator[Stated]:
    """Pods that are refused: by a quota, an admission webhook, a missing service account."""
    failure = _condition(item, "ReplicaFailure")
    if failure is not None and failure.status == "True":
        yield Stated(
            type="ReplicaFailure",
            reason=failure.reason or "FailedCreate",
            message=failure.message or "",
            at=failure.last_transition_time,
        )


@rule("StatefulSet")
def stateful_set(item: Any, cluster: Cluster) -> Iterator[Stated]:
    """Fewer ready replicas than wanted; the headless Service or the storage class it names is missing."""
    wanted = item.spec.replicas if item.spec is not None and item.spec.replicas is not None else 1
    ready = (item.status.ready_replicas or 0) if item.status is not None else 0
    if ready < wanted:
        yield Stated(
            type="Available", reason="ReplicasUnavailable", message=f"{ready} of {wanted} wanted replicas are ready"
        )
    service = item.spec.service_name if item.spec is not None else None
    namespace = key_of(item)[0]
    if service and cluster.knows("Service") and (namespace, service) not in cluster.facts.services:
        yield Stated(reason="ServiceMissing", message=f"the headless Service {service} does not exist")
    for template in (item.spec.volume_claim_templates or ()) if item.spec is not None else ():
        name = template.spec.storage_class_name if template.spec is not None else None
        if name and cluster.knows("StorageClass") and name not in cluster.facts.storage_classes:
            yield Stated(reason="StorageClassMissing", message=f"the storage class {name} does not exist")


@rule("DaemonSet")
def daemon_set(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """Nodes on which it should run and is not ready."""
    status = item.status
    if status is None:
        return
    wanted, ready = status.desired_number_scheduled or 0, status.number_ready or 0
    if ready < wanted:
        yield Stated(
            type="Available", reason="ReplicasUnavailable", message=f"it is ready on {ready} of {wanted} nodes"
        )


@rule("HorizontalPodAutoscaler")
def autoscaler(item: Any, cluster: Cluster) -> Iterator[Stated]:
    """It cannot scale, has no metric, is at its limit, or its target is missing."""
    for type_, bad in (("AbleToScale", "False"), ("ScalingActive", "False"), ("ScalingLimited", "True")):
        found = _condition(item, type_)
        at_least = type_ == "ScalingLimited" and found is not None and found.reason == "TooFewReplicas"
        disabled = found is not None and found.reason == "ScalingDisabled"
        if found is not None and found.status == bad and not at_least and not disabled:
            yield Stated(
                type=type_,
                reason=found.reason or type_,
                message=found.message or "",
                at=found.last_transition_time,
            )
    target = item.spec.scale_target_ref if item.spec is not None else None
    if target is None or target.kind not in ("Deployment", "StatefulSet", "ReplicaSet"):
        return
    if cluster.knows(target.kind) and (key_of(item)[0], target.kind, target.name) not in cluster.facts.workloads:
        yield Stated(reason="TargetMissing", message=f"its target {target.kind} {target.name} does not exist")


@rule("PodDisruptionBudget")
def disruption_budget(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """Fewer healthy pods than it asks for."""
    status = item.status
    if status is None:
        return
    healthy, wanted = status.current_healthy or 0, status.desired_healthy or 0
    if (status.expected_pods or 0) > 0 and healthy < wanted:
        found = _condition(item, "DisruptionAllowed")
        yield Stated(
            type="DisruptionAllowed",
            reason="InsufficientPods",
            message=f"{healthy} pods are healthy, {wanted} are asked for",
            at=found.last_transition_time if found is not None else None,
        )
