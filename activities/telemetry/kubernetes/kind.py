"""What kind of source a Kubernetes cluster is."""

from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.kubernetes.config import KubernetesConfig
from activities.telemetry.kubernetes.resources import cluster_rules
from activities.telemetry.registry import BackendKind, Opening


def _open(opening: Opening) -> TelemetryBackend:
    from activities.telemetry.kubernetes.backend import KubernetesBackend  # noqa: PLC0415 - its models take half a second

    return KubernetesBackend(opening)


def _check(opening: Opening) -> list[str]:
    from activities.telemetry.kubernetes.backend import check  # noqa: PLC0415

    return check(opening)


KIND = BackendKind(
    name="kubernetes",
    title="state, events and rollouts of a Kubernetes cluster",
    modalities=frozenset(("cluster", "changes")),
    config=KubernetesConfig,
    open=_open,
    check=_check,
    permissions=("the ClusterRole below, and no more: secrets, exec and every write stay refused",),
    cluster_rules=cluster_rules(),
)
