"""How a Kubernetes cluster is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from activities.telemetry.environment import HttpSourceConfig
from workflows.contracts.probe import Modality

Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class KubernetesConfig(HttpSourceConfig):
    """A Kubernetes API server.

    From within a cluster: the url `https://kubernetes.default.svc`, the credential's file
    `/var/run/secrets/kubernetes.io/serviceaccount/token` and trusted `.../ca.crt` beside it.
    """

    backend: Literal["kubernetes"]
    namespaces: Annotated[tuple[Namespace, ...], Field(max_length=100)] = ()
    """The namespaces that belong to this environment. Not set: all of them."""

    log_containers: Annotated[int, Field(ge=1, le=5_000)] = 150
    """Logs of containers that are read in one investigation, the previous ones included, where `answers` names logs."""

    log_lines: Annotated[int, Field(ge=100, le=100_000)] = 2_000
    """The latest lines of each."""

    page: Annotated[int, Field(ge=10, le=5_000)] = 500
    """Objects of one page of a list."""

    def modalities(self, possible: frozenset[Modality]) -> frozenset[Modality]:
        """Logs only where `answers` names them: most environments have them in a log store too."""
        return super().modalities(possible) if self.answers else possible - {"logs"}
