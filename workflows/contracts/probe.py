"""Typed, read-only queries. A probe carries no query text: a backend translates it."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.contract import Contract, Instant
from workflows.contracts.identifiers import EntityId, Name, ProbeKey


class Window(Contract):
    """A half-open span of time, [start, end)."""

    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _in_order(self) -> "Window":
        if self.end < self.start:
            raise ValueError(f"window ends ({self.end}) before it starts ({self.start})")
        return self

    @property
    def length(self) -> timedelta:
        return self.end - self.start


class _Question(Contract):
    backend: Name
    """Which configured backend is queried; its task queue is `telemetry-<backend>`."""

    window: Window
    expected_cost: Annotated[int, Field(ge=0)] = 1
    """Relative cost, used to order probes when a budget is short."""

    @property
    def key(self) -> ProbeKey:
        """Content-derived identity: the same query has the same key in every run."""
        plain = self.model_dump(mode="json", exclude={"expected_cost"})
        return ProbeKey(f"{plain['tool']}-{digest_of(canonical_json(plain))[:16]}")


class MetricProbe(_Question):
    """All series of one entity. Answer: rows of (metric, ts, value)."""

    tool: Literal["metrics"] = "metrics"
    entity: EntityId
    max_rows: Annotated[int, Field(gt=0)] = 200_000


class LogProbe(_Question):
    """How often each masked line occurred. Answer: rows of (severity, template, ts, count, example, after)."""

    tool: Literal["logs"] = "logs"
    entity: EntityId
    bucket: timedelta = timedelta(seconds=10)
    max_rows: Annotated[int, Field(gt=0)] = 50_000


class TraceProbe(_Question):
    """Spans of one entity by operation and caller. Answer: one row per operation, caller, caller's operation
    and bucket with counts, errors and summed durations in microseconds.
    """

    tool: Literal["traces"] = "traces"
    entity: EntityId
    bucket: timedelta = timedelta(seconds=10)
    max_rows: Annotated[int, Field(gt=0)] = 100_000


class ChangeProbe(_Question):
    """Every change in the window. Answer: rows of Change."""

    tool: Literal["changes"] = "changes"
    max_rows: Annotated[int, Field(gt=0)] = 2_000


class ClusterProbe(_Question):
    """Conditions and events of cluster objects. Answer: rows of ClusterCondition."""

    tool: Literal["cluster"] = "cluster"
    max_rows: Annotated[int, Field(gt=0)] = 20_000


class TopologyProbe(_Question):
    """What exists and who calls whom. Answer: rows of Edge, and entities without edges."""

    tool: Literal["topology"] = "topology"
    max_rows: Annotated[int, Field(gt=0)] = 100_000


class InventoryProbe(_Question):
    """By which names a source knows what exists. Answer: rows of (labels, relation, other)."""

    tool: Literal["inventory"] = "inventory"
    max_rows: Annotated[int, Field(gt=0)] = 200_000


class NamesProbe(_Question):
    """Which entity each name stands for, as resolved from the inventories. Answer: rows of (source, labels, entity,
    rule).
    """

    tool: Literal["names"] = "names"
    max_rows: Annotated[int, Field(gt=0)] = 200_000


class KnowledgeProbe(_Question):
    """What the organisation has written down about an alert. Answer: rows of passages, the best first."""

    tool: Literal["knowledge"] = "knowledge"
    text: Annotated[str, Field(max_length=4_000)]
    """What the alerts say, redacted."""

    names: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Runbooks that the alerts name: their addresses, and the names of the alerts themselves."""

    services: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Only documents about one of these, or about none in particular; empty: all."""

    max_rows: Annotated[int, Field(gt=0)] = 5


class RemediesProbe(_Question):
    """What the organisation has written down about a cause that was found. Answer: rows of passages, the best first."""

    tool: Literal["remedies"] = "remedies"
    text: Annotated[str, Field(max_length=4_000)]
    """What was found, as the report says it."""

    services: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Only documents about one of these, or about none in particular; empty: all."""

    max_rows: Annotated[int, Field(gt=0)] = 3


class FactsProbe(_Question):
    """What people know of their systems. Answer: rows of facts that somebody accepted, the newest first."""

    tool: Literal["facts"] = "facts"
    max_rows: Annotated[int, Field(gt=0)] = 5_000


class PastIncidentsProbe(_Question):
    """Earlier investigations with what they found. Answer: rows of past incidents; those that were judged first."""

    tool: Literal["past_incidents"] = "past_incidents"
    scope: Annotated[str, Field(min_length=1, max_length=256)]
    """The memory that is looked into."""

    alerting: Annotated[tuple[EntityId, ...], Field(max_length=100)] = ()
    """What the alerts are about: earlier alerts of these come before others."""

    max_rows: Annotated[int, Field(gt=0)] = 200


class KnownTopologyProbe(_Question):
    """What earlier investigations and people know of what depends on what. Answer: rows of Edge."""

    tool: Literal["known_topology"] = "known_topology"
    environment: Annotated[str, Field(min_length=1, max_length=200)]
    entities: Annotated[tuple[EntityId, ...], Field(max_length=100)]
    """From where the edges are followed, both ways."""

    hops: Annotated[int, Field(ge=1, le=10)] = 3
    max_rows: Annotated[int, Field(gt=0)] = 20_000


Probe = Annotated[
    MetricProbe
    | LogProbe
    | TraceProbe
    | ChangeProbe
    | ClusterProbe
    | TopologyProbe
    | InventoryProbe
    | NamesProbe
    | KnowledgeProbe
    | RemediesProbe
    | FactsProbe
    | PastIncidentsProbe
    | KnownTopologyProbe,
    Field(discriminator="tool"),
]
PROBE: TypeAdapter[Probe] = TypeAdapter(Probe)

Modality = Literal["metrics", "logs", "traces", "changes", "cluster", "topology"]
MODALITIES: tuple[Modality, ...] = ("metrics", "logs", "traces", "changes", "cluster", "topology")
MemoryTool = Literal["knowledge", "remedies", "facts", "past_incidents", "known_topology"]
MEMORY_TOOLS: tuple[MemoryTool, ...] = ("knowledge", "remedies", "facts", "past_incidents", "known_topology")
"""What the organisation knows: documents about the alert and about what was found, facts, what earlier investigations
found, and what depends on what."""

Tool = Modality | Literal["inventory", "names"] | MemoryTool
"""What is queried: a modality, how the sources' names hang together, or what the organisation knows."""


def entity_of(probe: Probe) -> EntityId | None:
    """The entity a probe is about; None when it asks about the whole system."""
    return getattr(probe, "entity", None)
