"""What kind of source a Kubernetes cluster is."""

from collections.abc import Sequence

from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.environment import SourceConfig
from activities.telemetry.kubernetes.config import KubernetesConfig
from activities.telemetry.kubernetes.resources import cluster_rules
from activities.telemetry.registry import BackendKind, ClusterRule, Opening
from workflows.contracts.probe import Modality

MODALITIES_OF_CLUSTERS: frozenset[Modality] = frozenset(("cluster", "changes", "logs"))


def _open(opening: Opening) -> TelemetryBackend:
    from activities.telemetry.kubernetes.backend import KubernetesBackend  # noqa: PLC0415 - its models take half a second

    return KubernetesBackend(opening)


def _check(opening: Opening) -> list[str]:
    from activities.telemetry.kubernetes.backend import check  # noqa: PLC0415

    return check(opening)


def _rules(config: SourceConfig) -> Sequence[ClusterRule]:
    return cluster_rules(logs="logs" in config.modalities(MODALITIES_OF_CLUSTERS))


KIND = BackendKind(
    name="kubernetes",
    title="state, events, rollouts and pod logs of a Kubernetes cluster",
    modalities=MODALITIES_OF_CLUSTERS,
    config=KubernetesConfig,
    open=_open,
    check=_check,
    permissions=("the ClusterRole below, and no more: secrets, exec and every write stay refused",),
    cluster_rules=_rules,
)
