"""What exists and how it hangs together."""

from typing import Annotated

from pydantic import Field

from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.identifiers import EntityId, EntityName, Name


class EntityKind(OpenEnum):
    SERVICE = "service"
    POD = "pod"
    NODE = "node"
    DATABASE = "database"
    QUEUE = "queue"
    CLOUD_RESOURCE = "cloud_resource"
    TEAM = "team"
    UNKNOWN = "unknown"


class EdgeKind(OpenEnum):
    CALLS = "calls"
    """source sends requests to target."""

    RUNS_ON = "runs_on"
    """source runs on target (a pod on a node)."""

    PART_OF = "part_of"
    """source is an instance of target (a pod of a service)."""

    OWNED_BY = "owned_by"
    UNKNOWN = "unknown"


class Entity(Contract):
    """Something that can fail or own what fails."""

    id: EntityName
    kind: EntityKind
    name: Name


class Edge(Contract):
    """A directed relation between two entities."""

    source: EntityName
    target: EntityName
    kind: EdgeKind
    origin: Name = "declared"
    """Where the edge was learned: `declared`, `traces`, `kubernetes`."""

    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0
    last_seen: Instant | None = None


class Topology(Contract):
    """Entities and the edges between them."""

    entities: tuple[Entity, ...] = ()
    edges: tuple[Edge, ...] = ()


def entity_id(kind: EntityKind, name: str) -> EntityId:
    """The id of the entity of that kind and name."""
    return EntityId(f"{kind.value}:{name}")
