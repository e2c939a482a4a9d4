"""Nodes: not ready, out of reach, short of something."""

from collections.abc import Iterator
from typing import Any

from activities.telemetry.kubernetes.rule import Cluster, Stated, rule

_BAD_WHEN_TRUE = frozenset(("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"))


@rule("Node")
def node(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """Every condition is looked at, those that others than the kubelet set (node-problem-detector) too."""
    for condition in (item.status.conditions or ()) if item.status is not None else ():
        if condition.type == "Ready":
            bad = condition.status != "True"
            reason = condition.reason or "NodeNotReady"
            reason = "NodeStatusUnknown" if condition.status == "Unknown" else reason
            yield Stated(
                type="Ready",
                reason=reason if bad else "KubeletReady",
                message=condition.message or "" if bad else "",
                healthy=not bad,
                at=condition.last_transition_time,
            )
        elif condition.status == "True" and condition.type in _BAD_WHEN_TRUE:
            yield Stated(
                type=condition.type,
                reason=condition.type,
                message=condition.message or "",
                at=condition.last_transition_time,
            )
        elif condition.status == "True" and condition.type not in _BAD_WHEN_TRUE and _says_problem(condition.type):
            yield Stated(
                type=condition.type,
                reason=condition.reason or condition.type,
                message=condition.message or "",
                at=condition.last_transition_time,
            )


def _says_problem(type_: str) -> bool:
    """Whether a condition of node-problem-detector is a problem when it is true, by its documented names."""
    return type_ in (
        "KernelDeadlock",
        "ReadonlyFilesystem",
        "CorruptDockerOverlay2",
        "FrequentKubeletRestart",
        "FrequentDockerRestart",
        "FrequentContainerdRestart",
        "FrequentUnregisterNetDevice",
        "CorruptContainerd",
    )
