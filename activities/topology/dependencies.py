"""Which way a fault travels along an edge, and how far an edge that was seen long ago is still believed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import EdgeKind

FORWARD = (EdgeKind.CALLS, EdgeKind.RUNS_ON)
"""The source depends on the target."""

BACKWARD = (EdgeKind.PART_OF,)
"""The target depends on the source: a workload on its instances."""

HALF_LIFE = timedelta(days=14)
"""After so long without being seen again an edge is believed half as much."""

BELIEVED_FROM = 0.2
"""Confidence below which an edge is forgotten."""

DECLARED = "declared"
"""The origin of what people say: it does not fade, it is withdrawn."""


@dataclass(frozen=True, kw_only=True)
class KnownEdge:
    """An edge as it was known at a moment."""

    source: EntityId
    target: EntityId
    kind: EdgeKind
    origin: str
    confidence: float
    """What its origin said, faded by the time since it was last seen."""

    first_seen: datetime
    last_seen: datetime

    @property
    def dependent(self) -> EntityId:
        """What feels a fault of the other end."""
        return self.target if self.kind in BACKWARD else self.source

    @property
    def dependency(self) -> EntityId:
        """The other end."""
        return self.source if self.kind in BACKWARD else self.target


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Something that a walk along the edges has come to."""

    entity: EntityId
    confidence: float
    """The product of those of the edges of its path."""

    path: tuple[EntityId, ...]
    """From where the walk began; of several paths the most confident."""


def faded(confidence: float, *, origin: str, last_seen: datetime, at: datetime) -> float:
    """The confidence in an edge some time after it was last seen; that of a declared one stays."""
    age = max(timedelta(0), at - last_seen)
    return confidence if origin == DECLARED else float(confidence * 0.5 ** (age / HALF_LIFE))
