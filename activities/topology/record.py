"""The topology in Postgres: written by investigations and by people, read as it was at a moment."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    Column,
    Engine,
    Row,
    Select,
    Text,
    and_,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from activities.memory.session import as_librarian
from activities.memory.tables import TOPOLOGY_EDGE as EDGES
from activities.memory.tables import TOPOLOGY_ENTITY
from activities.safety.redaction import Redactor
from activities.topology.declaration import Declaration
from activities.topology.dependencies import (
    BACKWARD,
    BELIEVED_FROM,
    DECLARED,
    FORWARD,
    HALF_LIFE,
    KnownEdge,
    Reached,
    faded,
)
from workflows.contracts.identifiers import EntityId, Tenant
from workflows.contracts.topology import Edge, EdgeKind, Entity

EDGE = EDGES.c
BATCH = 2_000
MOST_ENTITIES = 10_000
"""Of one walk; what lies behind them is left out."""

MOST_HOPS = 10
LOOKED_BACK = HALF_LIFE * 3
"""An edge that was last seen before has faded away, whatever its confidence was."""


READ_AT_ONCE = 10_000


@dataclass(frozen=True, kw_only=True)
class RecordedEntity:
    """A row of the record: one entity as one origin has it."""

    id: EntityId
    origin: str
    tier: int | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class RecordedEdge:
    """A row of the record, not faded: one edge as one origin has it."""

    source: EntityId
    target: EntityId
    kind: EdgeKind
    origin: str
    confidence: float
    first_seen: datetime
    last_seen: datetime
    ended_at: datetime | None


Ends = Sequence[tuple[Column[Any], tuple[EdgeKind, ...]]]
"""At which end edges of which kinds are looked up."""


class TopologyRecord:
    """The topology of one tenant's environments."""

    def __init__(self, engine: Engine, tenant: Tenant, redactor: Redactor) -> None:
        self._engine = engine
        self.tenant = tenant
        self._redactor = redactor

    def observe(self, environment: str, entities: Iterable[Entity], edges: Iterable[Edge], *, at: datetime) -> None:
        """Keep what was seen at a moment; what was known before lives on from then. Names must be redacted."""
        of_entities: Iterable[dict[str, object]] = (
            {"entity": item.id, "kind": item.kind.value, "origin": "observed", "tier": None} for item in entities
        )
        of_edges: Iterable[dict[str, object]] = (
            {
                "source": item.source,
                "target": item.target,
                "kind": item.kind.value,
                "origin": item.origin,
                "confidence": item.confidence,
            }
            for item in edges
        )
        self._keep(environment, of_entities, of_edges, at=at)

    def declare(self, environment: str, declaration: Declaration, *, at: datetime) -> None:
        """Keep what people say of an environment, redacted; what they no longer say has ended."""
        redact = self._redactor.redact
        entities: list[dict[str, object]] = [
            {
                "entity": redact(item.id),
                "kind": item.kind.value,
                "origin": DECLARED,
                "tier": declaration.tiers.get(item.id),
            }
            for item in declaration.entities
        ]
        edges: list[dict[str, object]] = [
            {
                "source": redact(item.source),
                "target": redact(item.target),
                "kind": item.kind.value,
                "origin": DECLARED,
                "confidence": item.confidence,
            }
            for item in declaration.edges
        ]
        with as_librarian(self._engine) as connection:
            for table in (TOPOLOGY_ENTITY, EDGES):
                said = and_(
                    table.c.tenant == self.tenant,
                    table.c.environment == environment,
                    table.c.origin == DECLARED,
                    table.c.ended_at.is_(None),
                )
                connection.execute(update(table).where(said).values(ended_at=at))
        self._keep(environment, entities, edges, at=at)

    def _keep(
        self,
        environment: str,
        entities: Iterable[dict[str, object]],
        edges: Iterable[dict[str, object]],
        *,
        at: datetime,
    ) -> None:
        """One transaction a batch, in the order of the keys, so that two writers wait for each other and no more."""
        common = {"tenant": self.tenant, "environment": environment, "first_seen": at, "last_seen": at}
        for table, keys, rows in (
            (TOPOLOGY_ENTITY, ("entity", "origin"), entities),
            (EDGES, ("source", "target", "kind", "origin"), edges),
        ):
            unique = {tuple(str(row[key]) for key in keys): {**common, **row, "ended_at": None} for row in rows}
            ordered = iter([unique[key] for key in sorted(unique)])
            while batch := list(islice(ordered, BATCH)):
                statement = insert(table)
                new = statement.excluded
                values: dict[str, object] = {
                    "first_seen": func.least(table.c.first_seen, new.first_seen),
                    "last_seen": func.greatest(table.c.last_seen, new.last_seen),
                    "ended_at": None,
                }
                values |= {"confidence": new.confidence} if table is EDGES else {"tier": new.tier}
                with as_librarian(self._engine) as connection:
                    connection.execute(
                        statement.on_conflict_do_update(index_elements=["tenant", "environment", *keys], set_=values),
                        batch,
                    )

    def every_entity(self, environment: str) -> Iterator[RecordedEntity]:
        """All that was ever known to exist, in the order of names."""
        table = TOPOLOGY_ENTITY.c
        query = select(table.entity, table.origin, table.tier, table.ended_at).where(
            table.tenant == self.tenant, table.environment == environment
        )
        for entity, origin, tier, ended_at in self._each(query, table.entity, table.origin):
            yield RecordedEntity(id=EntityId(entity), origin=origin, tier=tier, ended_at=_in_utc(ended_at))

    def every_edge(self, environment: str) -> Iterator[RecordedEdge]:
        """All edges that were ever known, in the order of their ends."""
        keys = (EDGE.source, EDGE.target, EDGE.kind, EDGE.origin)
        query = select(*keys, EDGE.confidence, EDGE.first_seen, EDGE.last_seen, EDGE.ended_at).where(
            EDGE.tenant == self.tenant, EDGE.environment == environment
        )
        for source, target, kind, origin, confidence, first_seen, last_seen, ended_at in self._each(query, *keys):
            yield RecordedEdge(
                source=EntityId(source),
                target=EntityId(target),
                kind=EdgeKind(kind),
                origin=origin,
                confidence=confidence,
                first_seen=first_seen.astimezone(UTC),
                last_seen=last_seen.astimezone(UTC),
                ended_at=_in_utc(ended_at),
            )

    def _each(self, query: Select[Any], *keys: Column[Any]) -> Iterator[tuple[Any, ...]]:
        """Rows in the order of these keys, the first columns of the query, a page at a time."""
        page = query.order_by(*keys).limit(READ_AT_ONCE)
        following = page
        while True:
            with self._engine.connect() as connection:
                rows = connection.execute(following).all()
            yield from (tuple(row) for row in rows)
            if len(rows) < READ_AT_ONCE:
                return
            following = page.where(tuple_(*keys) > tuple_(*rows[-1][: len(keys)]))

    def is_empty(self, environment: str) -> bool:
        """Whether nothing is known of an environment."""
        query = select(EDGES.c.source).where(EDGES.c.tenant == self.tenant, EDGES.c.environment == environment)
        with self._engine.connect() as connection:
            return connection.execute(query.limit(1)).first() is None

    def tier_of(self, environment: str, entity: EntityId, *, at: datetime) -> int | None:
        """How much people said depends on an entity, 0 the most important; None where nobody said so."""
        table = TOPOLOGY_ENTITY.c
        query = select(table.tier).where(
            table.tenant == self.tenant,
            table.environment == environment,
            table.entity == entity,
            table.tier.is_not(None),
            table.first_seen <= at,
            or_(table.ended_at.is_(None), table.ended_at > at),
        )
        with self._engine.connect() as connection:
            return connection.scalars(query.limit(1)).first()

    def edges_of(self, environment: str, entities: Sequence[EntityId], *, at: datetime) -> list[KnownEdge]:
        """Every edge from or to one of these, as it was known at `at`."""
        every, names = tuple(EdgeKind), list(entities)
        found = self._edges(environment, names, [(EDGE.source, every), (EDGE.target, every)], at)
        unique = {(item.source, item.target, item.kind, item.origin): item for item in found}
        return list(unique.values())

    def dependents(self, environment: str, start: EntityId, *, at: datetime, hops: int = 3) -> list[Reached]:
        """What feels a fault of `start` (its blast radius), the most confident first, each with its path."""
        ends = [(EDGE.target, FORWARD), (EDGE.source, BACKWARD)]
        return self._walk(environment, start, ends, lambda item: (item.dependency, item.dependent), at=at, hops=hops)

    def dependencies(self, environment: str, start: EntityId, *, at: datetime, hops: int = 3) -> list[Reached]:
        """What can be the cause of a fault that `start` feels, the most confident first, each with its path."""
        ends = [(EDGE.source, FORWARD), (EDGE.target, BACKWARD)]
        return self._walk(environment, start, ends, lambda item: (item.dependent, item.dependency), at=at, hops=hops)

    def common_causes(
        self, environment: str, felt_by: Sequence[EntityId], *, at: datetime, hops: int = 3
    ) -> list[Reached]:
        """What every one of these depends on, or is: the most confident first, with the least certain of the paths."""
        shared: dict[EntityId, Reached] | None = None
        for entity in felt_by:
            own = Reached(entity=entity, confidence=1.0, path=(entity,))
            found = {item.entity: item for item in (own, *self.dependencies(environment, entity, at=at, hops=hops))}
            if shared is None:
                shared = found
            else:
                both = shared.keys() & found.keys()
                shared = {name: min(shared[name], found[name], key=lambda item: item.confidence) for name in both}
        return _ordered((shared or {}).values())

    def owners(self, environment: str, entities: Sequence[EntityId], *, at: datetime) -> dict[EntityId, list[EntityId]]:
        """Who is to be notified of each: its owners, else those of the workload that it is an instance of."""
        edges = self.edges_of(environment, entities, at=at)
        workloads = {item.source: item.target for item in edges if item.kind is EdgeKind.PART_OF}
        edges += self.edges_of(environment, sorted(set(workloads.values())), at=at)
        owned: dict[EntityId, set[EntityId]] = {}
        for item in edges:
            if item.kind is EdgeKind.OWNED_BY:
                owned.setdefault(item.source, set()).add(item.target)
        found = {name: owned.get(name) or owned.get(workloads.get(name, name), set()) for name in entities}
        return {name: sorted(teams) for name, teams in found.items() if teams}

    def around(self, environment: str, entities: Sequence[EntityId], *, at: datetime, hops: int) -> list[KnownEdge]:
        """Every edge on the way to what these depend on and to what depends on them, and who owns all that."""
        near = set(entities)
        for entity in entities:
            near |= {item.entity for item in self.dependencies(environment, entity, at=at, hops=hops)}
            near |= {item.entity for item in self.dependents(environment, entity, at=at, hops=hops)}
        found = self.edges_of(environment, sorted(near)[:MOST_ENTITIES], at=at)
        return [
            item for item in found if item.source in near and (item.target in near or item.kind is EdgeKind.OWNED_BY)
        ]

    def _walk(
        self,
        environment: str,
        start: EntityId,
        from_ends: Ends,
        ends: Callable[[KnownEdge], tuple[EntityId, EntityId]],
        *,
        at: datetime,
        hops: int,
    ) -> list[Reached]:
        """Breadth first, one query a hop: every entity once, by its most confident shortest path."""
        reached = {start: Reached(entity=start, confidence=1.0, path=(start,))}
        frontier = [start]
        for _ in range(min(hops, MOST_HOPS)):
            level: dict[EntityId, Reached] = {}
            for edge in self._edges(environment, frontier, from_ends, at):
                here, there = ends(edge)
                if there in reached or here not in reached:
                    continue
                confidence = reached[here].confidence * edge.confidence
                if there not in level or confidence > level[there].confidence:
                    level[there] = Reached(entity=there, confidence=confidence, path=(*reached[here].path, there))
            best = _ordered(level.values())[: MOST_ENTITIES - len(reached)]
            reached |= {item.entity: item for item in best}
            frontier = [item.entity for item in best]
            if not frontier:
                break
        return _ordered(item for item in reached.values() if item.entity != start)

    def _edges(self, environment: str, names: list[EntityId], ends: Ends, at: datetime) -> list[KnownEdge]:
        """Edges that were known at a moment, of several origins each by itself, without those that have faded.

        Each name is looked up by itself, at each of the given ends: whatever the planner believes of the table, that is
        one search in the index of that end.
        """
        parts = []
        for column, kinds in ends:
            wanted = func.unnest(literal(names, ARRAY(Text))).table_valued("name", name="wanted")
            known = (
                select(EDGES)
                .where(
                    EDGE.tenant == self.tenant,
                    EDGE.environment == environment,
                    column == wanted.c.name,
                    EDGE.kind.in_([kind.value for kind in kinds]),
                    EDGE.first_seen <= at,
                    or_(EDGE.ended_at.is_(None), EDGE.ended_at > at),
                    or_(EDGE.origin == DECLARED, EDGE.last_seen >= at - LOOKED_BACK),
                )
                .limit(MOST_ENTITIES)
                .lateral()
            )
            parts.append(select(known).select_from(wanted).join(known, true()))
        with self._engine.connect() as connection:
            rows = connection.execute(union_all(*parts).limit(10 * MOST_ENTITIES)).all()
        return list(_believed(rows, at))


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def _believed(rows: Iterable[Row[Any]], at: datetime) -> Iterator[KnownEdge]:
    for row in rows:
        values = row._mapping
        last_seen: datetime = min(values["last_seen"], at)
        confidence = faded(values["confidence"], origin=values["origin"], last_seen=last_seen, at=at)
        if confidence >= BELIEVED_FROM:
            yield KnownEdge(
                source=EntityId(values["source"]),
                target=EntityId(values["target"]),
                kind=EdgeKind(values["kind"]),
                origin=values["origin"],
                confidence=confidence,
                first_seen=values["first_seen"],
                last_seen=last_seen,
            )


def _ordered(found: Iterable[Reached]) -> list[Reached]:
    return sorted(found, key=lambda item: (-item.confidence, len(item.path), item.entity))
