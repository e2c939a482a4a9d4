"""Identifiers. Each is a string with a meaning of its own, so that the type checker keeps them apart."""

from typing import Annotated, NewType

from pydantic import Field, StringConstraints

Tenant = NewType("Tenant", str)
"""Who the data belongs to; the first part of every key. `default` until there are more."""

IncidentId = NewType("IncidentId", str)
"""UUIDv7 of the group of alerts that belong together."""

InvestigationId = NewType("InvestigationId", str)
"""UUIDv7 of one investigation."""

EntityId = NewType("EntityId", str)
"""`kind:name` of something that can fail, for instance `service:checkout`."""

ProbeKey = NewType("ProbeKey", str)
"""Content-derived key of one query, equal in every investigation that runs the same query."""

ClaimKey = NewType("ClaimKey", str)
"""Content-derived key of one sentence of a report."""

Digest = NewType("Digest", str)
"""Lower-case hexadecimal SHA-256."""

EntityName = Annotated[EntityId, Field(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An entity's id from outside: bounded, without control characters."""

DEFAULT_TENANT = Tenant("default")

Name = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name from outside: bounded, without control characters, otherwise opaque (it is data, never a command)."""


def workflow_id_of(investigation_id: InvestigationId) -> str:
    """The Temporal workflow id of an investigation."""
    return f"inv-{investigation_id}"


def investigation_id_of(workflow_id: str) -> InvestigationId:
    """The investigation of a Temporal workflow id."""
    return InvestigationId(workflow_id.removeprefix("inv-"))
