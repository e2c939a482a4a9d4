"""A copy of the topology on a graph server, for those who look at it there. Postgres remains the record.

The copy is compared with the record, and what differs is written: so a second run writes nothing, a run that was cut
off is finished by the next, and what somebody changed in the copy is put right.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from activities.topology.graph_server import GraphServer
from activities.topology.record import RecordedEdge, RecordedEntity, TopologyRecord
from workflows.contracts.topology import EdgeKind

BATCH = 5_000
MOST = 5_000_000
"""Rows of the copy that are compared at most."""

_SET_UP: tuple[LiteralString, ...] = (
    (
        "CREATE CONSTRAINT inquest_entity IF NOT EXISTS "
        "FOR (n:InquestEntity) REQUIRE (n.tenant, n.environment, n.id) IS UNIQUE"
    ),
    "CREATE INDEX inquest_entity_name IF NOT EXISTS FOR (n:InquestEntity) ON (n.name)",
)
_NODES: LiteralString = (
    "MATCH (n:InquestEntity {tenant: $tenant, environment: $environment}) "
    "RETURN n.id, properties(n) ORDER BY n.id LIMIT $most"
)
_PUT_NODES: LiteralString = (
    "UNWIND $rows AS row MERGE (n:InquestEntity {tenant: $tenant, environment: $environment, id: row.id}) "
    "SET n = row.properties"
)
_REMOVE_NODES: LiteralString = (
    "UNWIND $rows AS row MATCH (n:InquestEntity {tenant: $tenant, environment: $environment, id: row.id}) "
    "DETACH DELETE n"
)
_PAIR: LiteralString = (
    "UNWIND $rows AS row "
    "MATCH (a:InquestEntity {tenant: $tenant, environment: $environment, id: row.source}) "
    "MATCH (b:InquestEntity {tenant: $tenant, environment: $environment, id: row.target}) "
)


@dataclass(frozen=True)
class _Relation:
    """The statements of one kind of edge: a relation's type cannot be a parameter."""

    read: LiteralString
    put: LiteralString
    remove: LiteralString


def _relation(name: LiteralString) -> _Relation:
    return _Relation(
        read="MATCH (a:InquestEntity {tenant: $tenant, environment: $environment})-[r:"
        + name
        + "]->(b:InquestEntity) RETURN a.id, b.id, r.origin, properties(r) LIMIT $most",
        put=_PAIR + "MERGE (a)-[r:" + name + " {origin: row.origin}]->(b) SET r = row.properties",
        remove=_PAIR + "MATCH (a)-[r:" + name + " {origin: row.origin}]->(b) DELETE r",
    )


_RELATIONS: dict[EdgeKind, _Relation] = {
    EdgeKind.CALLS: _relation("CALLS"),
    EdgeKind.RUNS_ON: _relation("RUNS_ON"),
    EdgeKind.PART_OF: _relation("PART_OF"),
    EdgeKind.OWNED_BY: _relation("OWNED_BY"),
}


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """What a run found and wrote."""

    entities: int
    edges: int
    """In the record, ended ones included."""

    written: int
    removed: int


def mirror(record: TopologyRecord, environment: str, server: GraphServer) -> Mirrored:
    """Make the copy of an environment equal to the record.

    Raises:
        GraphServerError: it could not be finished; the next run goes on.
    """
    for statement in _SET_UP:
        server.write(statement)
    scope: dict[str, Any] = {"tenant": record.tenant, "environment": environment}
    edges = list(record.every_edge(environment))
    wanted = _nodes(record.every_entity(environment), edges, scope)
    there = {row[0]: row[1] for row in server.read(_NODES, {**scope, "most": MOST}, most=MOST)}
    differing = [name for name, properties in wanted.items() if there.get(name) != properties]
    server.write_rows(_PUT_NODES, [{"id": name, "properties": wanted[name]} for name in differing], scope, batch=BATCH)
    written, removed = len(differing), 0
    for kind, relation in _RELATIONS.items():
        put, gone = _mirror_edges(server, relation, [edge for edge in edges if edge.kind is kind], scope)
        written, removed = written + put, removed + gone
    gone_nodes = [{"id": name} for name in there.keys() - wanted.keys()]
    server.write_rows(_REMOVE_NODES, gone_nodes, scope, batch=BATCH)
    return Mirrored(entities=len(wanted), edges=len(edges), written=written, removed=removed + len(gone_nodes))


def _nodes(
    entities: Iterable[RecordedEntity], edges: Iterable[RecordedEdge], scope: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Properties by id, of all entities and of the ends of edges that nobody has described."""
    found: dict[str, dict[str, Any]] = {}
    for edge in edges:
        for end in (edge.source, edge.target):
            found.setdefault(end, {**_named(end), **scope})
    for entity in entities:
        known = found.setdefault(entity.id, {**_named(entity.id), **scope})
        known["origins"] = sorted({*known.get("origins", ()), entity.origin})
        if entity.tier is not None and entity.ended_at is None:
            known["tier"] = entity.tier
    return found


def _named(entity: str) -> dict[str, Any]:
    kind, _, name = entity.partition(":")
    return {"id": entity, "kind": kind, "name": name or entity}


def _mirror_edges(
    server: GraphServer, relation: _Relation, edges: Iterable[RecordedEdge], scope: Mapping[str, Any]
) -> tuple[int, int]:
    """How many were written, and how many removed."""
    there = {(row[0], row[1], row[2]): row[3] for row in server.read(relation.read, {**scope, "most": MOST}, most=MOST)}
    wanted = {(edge.source, edge.target, edge.origin): _properties(edge) for edge in edges}
    put = [
        {**_ends(key), "properties": properties} for key, properties in wanted.items() if there.get(key) != properties
    ]
    server.write_rows(relation.put, put, scope, batch=BATCH)
    gone = [_ends(key) for key in there.keys() - wanted.keys()]
    server.write_rows(relation.remove, gone, scope, batch=BATCH)
    return len(put), len(gone)


def _ends(key: tuple[str, str, str]) -> dict[str, Any]:
    return {"source": key[0], "target": key[1], "origin": key[2]}


def _properties(edge: RecordedEdge) -> dict[str, Any]:
    """Moments as text in UTC: they sort, and every client reads them."""
    found: dict[str, Any] = {
        "origin": edge.origin,
        "confidence": edge.confidence,
        "first_seen": edge.first_seen.isoformat(),
        "last_seen": edge.last_seen.isoformat(),
    }
    if edge.ended_at is not None:
        found["ended_at"] = edge.ended_at.isoformat()
    return found
