"""What an investigation saw of an environment's topology."""

import polars as pl

from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind


def topology_of(rows: pl.DataFrame) -> tuple[list[Entity], list[Edge]]:
    """The entities and edges of a `topology` answer; what this version has no name for is left out."""
    entities: list[Entity] = []
    edges: list[Edge] = []
    for row in rows.iter_rows(named=True):
        source, target = EntityId(row["source"]), EntityId(row["target"] or "")
        if not target:
            kind = EntityKind(row["kind"])
            entities.append(Entity(id=source, kind=kind, name=source.partition(":")[2] or source))
        elif (relation := EdgeKind(row["kind"])) is not EdgeKind.UNKNOWN:
            origin, confidence = row["origin"] or "observed", row["confidence"]
            edges.append(Edge(source=source, target=target, kind=relation, origin=origin, confidence=confidence))
    return entities, edges
