"""How a Kubernetes cluster is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from activities.telemetry.environment import SourceConfig

Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class KubernetesConfig(SourceConfig):
    """A Kubernetes API server.

    From within a cluster: the url `https://kubernetes.default.svc`, the credential's file
    `/var/run/secrets/kubernetes.io/serviceaccount/token` and trusted `.../ca.crt` beside it.
    """

    backend: Literal["kubernetes"]
    namespaces: Annotated[tuple[Namespace, ...], Field(max_length=100)] = ()
    """The namespaces that belong to this environment. Not set: all of them."""

    page: Annotated[int, Field(ge=10, le=5_000)] = 500
    """Objects of one page of a list."""
