"""Pods: not scheduled, not started, not ready, ended badly."""

from collections.abc import Iterator
from typing import Any

from activities.telemetry.kubernetes.rule import Cluster, Stated, rule

_NOT_STARTED = frozenset(
    (
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PostStartHookError",
        "PreCreateHookError",
        "PreStartHookError",
    )
)
"""Reasons of a waiting container that do not pass by themselves (kubelet's source, `images` and `kuberuntime`)."""

_ENDED_BADLY = frozenset(("Evicted", "Preempting", "Preempted", "NodeLost", "NodeShutdown", "Terminated", "Shutdown"))
OOM_KILLED = "OOMKilled"


@rule("Pod")
def not_scheduled(pod: Any, _cluster: Cluster) -> Iterator[Stated]:
    """No node takes it, or something holds it back; a pod that runs is past that."""
    if pod.status is None or (pod.spec is not None and pod.spec.node_name):
        return
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            yield Stated(
                type="PodScheduled",
                reason=condition.reason or "Unschedulable",
                message=condition.message or "",
                at=condition.last_transition_time,
            )


@rule("Pod")
def ended_badly(pod: Any, _cluster: Cluster) -> Iterator[Stated]:
    """The whole pod failed: evicted, preempted, or its containers ended with an error and are not started again."""
    status = pod.status
    if status is None or status.phase != "Failed":
        return
    ends = [
        found.state.terminated.finished_at
        for found in status.container_statuses or ()
        if found.state is not None and found.state.terminated is not None
    ]
    at = max((end for end in ends if end is not None), default=status.start_time)
    reason = status.reason if status.reason in _ENDED_BADLY else status.reason or "PodFailed"
    yield Stated(type="Failed", reason=reason, message=status.message or "", at=at)


@rule("Pod")
def containers(pod: Any, _cluster: Cluster) -> Iterator[Stated]:
    """Containers that wait for a bad reason, crash again and again, or were killed for their memory."""
    if pod.status is None or pod.status.phase in ("Succeeded", "Failed"):
        return
    first = pod.status.init_container_statuses or ()
    for status in (*first, *(pod.status.container_statuses or ())):
        again = f"started {status.restart_count} times again"
        waiting = status.state.waiting if status.state is not None else None
        last = status.last_state.terminated if status.last_state is not None else None
        ended = status.state.terminated if status.state is not None else None
        if waiting is not None and waiting.reason in _NOT_STARTED:
            yield Stated(
                type="Waiting", reason=waiting.reason, message=f"container {status.name}: {waiting.message or ''}"
            )
        elif waiting is not None and waiting.reason == "CrashLoopBackOff":
            how = _ending(last) if last is not None else waiting.message or ""
            yield Stated(
                type="Waiting",
                reason="CrashLoopBackOff",
                message=f"container {status.name} was {again}; {how}",
                at=last.finished_at if last is not None else None,
                count=max(1, status.restart_count or 1),
            )
        if (
            ended is not None
            and (ended.exit_code or 0) != 0
            and status not in (pod.status.init_container_statuses or ())
        ):
            yield Stated(
                type="Terminated",
                reason=ended.reason or "Error",
                message=f"container {status.name}: {_ending(ended)}",
                at=ended.finished_at,
            )
        if last is not None and last.reason == OOM_KILLED:
            yield Stated(
                type="Terminated",
                reason=OOM_KILLED,
                message=f"container {status.name} was killed for its memory, and {again}",
                at=last.finished_at,
                count=max(1, status.restart_count or 1),
            )


@rule("Pod")
def not_ready(pod: Any, _cluster: Cluster) -> Iterator[Stated]:
    """It runs and does not serve."""
    status = pod.status
    if status is None or status.phase != "Running" or pod.metadata.deletion_timestamp is not None:
        return
    for condition in status.conditions or ():
        if condition.type == "Ready" and condition.status == "False" and condition.reason != "PodCompleted":
            yield Stated(
                type="Ready",
                reason=condition.reason or "NotReady",
                message=condition.message or "it runs and is not ready",
                at=condition.last_transition_time,
            )
        elif condition.type == "Ready" and condition.status == "True":
            yield Stated(type="Ready", reason="Ready", healthy=True, at=condition.last_transition_time)


def _ending(terminated: Any) -> str:
    reason = terminated.reason or "Error"
    said = f": {terminated.message.strip()[-300:]}" if terminated.message else ""
    return f"it ended with exit code {terminated.exit_code} ({reason}){said}"
