"""Conditions of cluster objects, as a cluster's API states them."""

from typing import Annotated

from pydantic import Field, StringConstraints

from workflows.contracts.contract import Contract, Instant
from workflows.contracts.identifiers import EntityName, Name


class ClusterCondition(Contract):
    """One condition or event of one object."""

    at: Instant
    """When the condition last changed, or the event was last seen."""

    object_kind: Name
    """Kubernetes kind, for instance `Pod`."""

    object_name: Name
    entity: EntityName | None = None
    """The entity the object belongs to."""

    type: Name
    """Condition or event type, for instance `Ready` or `Warning`."""

    healthy: bool
    """False when the condition states a fault (`Ready=False`, `OOMKilled`)."""

    reason: Annotated[str, StringConstraints(max_length=256)] = ""
    message: Annotated[str, StringConstraints(max_length=4096)] = ""
    count: Annotated[int, Field(ge=0, lt=2**63)] = 1
