"""How a graph server is configured as a source."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from activities.credentials.reference import CredentialReference
from activities.safety.egress import bolt_destination_of
from activities.telemetry.environment import Limits, SourceConfig
from workflows.contracts.topology import EdgeKind, EntityKind

Word = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
KnownEntity = Literal["service", "pod", "node", "database", "queue", "cloud_resource", "team"]
KnownEdge = Literal["calls", "runs_on", "part_of", "owned_by"]


LABELS: Mapping[str, KnownEntity] = {
    "Service": "service",
    "Application": "service",
    "Pod": "pod",
    "Node": "node",
    "Host": "node",
    "Database": "database",
    "Queue": "queue",
    "Topic": "queue",
    "Team": "team",
}
RELATIONS: Mapping[str, KnownEdge] = {
    "CALLS": "calls",
    "DEPENDS_ON": "calls",
    "RUNS_ON": "runs_on",
    "PART_OF": "part_of",
    "OWNED_BY": "owned_by",
}
REVERSED_RELATIONS: Mapping[str, KnownEdge] = {"OWNS": "owned_by"}


class GraphLimits(Limits):
    """A query reads the whole graph."""

    query_timeout: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(minutes=10))] = timedelta(seconds=30)


class Neo4jConfig(SourceConfig):
    """Neo4j, Memgraph, or what else speaks Bolt."""

    backend: Literal["neo4j"]
    limits: GraphLimits = GraphLimits()
    url: Annotated[str, Field(max_length=2_048)]
    """`bolt://host:7687`, or `bolt+s://host:7687` with TLS. Routing (`neo4j://`) is not followed."""

    credential: CredentialReference | None = None
    """User (`neo4j` if none is named) and password."""

    trusted: Path | None = None
    """PEM file of the authorities that may sign its certificate. Not set: the system's."""

    database: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Not set: the server's default."""

    name_property: Word = "name"
    """The property of a node that holds its name."""

    labels: Annotated[dict[Word, KnownEntity], Field(min_length=1, max_length=100)] = Field(
        default_factory=lambda: dict(LABELS)
    )
    """What nodes with a label are; nodes with none of these are not read."""

    relations: Annotated[dict[Word, KnownEdge], Field(max_length=100)] = Field(default_factory=lambda: dict(RELATIONS))
    """What relations of a type say of their first end."""

    reversed_relations: Annotated[dict[Word, KnownEdge], Field(max_length=100)] = Field(
        default_factory=lambda: dict(REVERSED_RELATIONS)
    )
    """What relations of a type say of their second end."""

    most_edges: Annotated[int, Field(ge=1, le=500_000)] = 50_000
    """Relations, and nodes, that are read; with more, the answer is truncated."""

    @model_validator(mode="after")
    def _is_an_address(self) -> "Neo4jConfig":
        try:
            bolt_destination_of(self.url)
        except ValueError as error:
            raise PydanticCustomError("address", "{problem}", {"problem": f"url: {error}"}) from None
        if twice := self.relations.keys() & self.reversed_relations.keys():
            raise PydanticCustomError(
                "relations", "{problem}", {"problem": f"{min(twice)} is both a relation and a reversed one: name one"}
            )
        return self

    def entity_kind(self, labels: list[str]) -> EntityKind | None:
        """What a node with these labels is: by the first of the configured labels that it has."""
        return next((EntityKind(kind) for label, kind in self.labels.items() if label in labels), None)

    def edge_kind(self, relation: str) -> tuple[EdgeKind, bool] | None:
        """What a relation says, and whether of its second end."""
        if relation in self.relations:
            return EdgeKind(self.relations[relation]), False
        return (EdgeKind(self.reversed_relations[relation]), True) if relation in self.reversed_relations else None
