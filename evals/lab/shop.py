"""What the shop consists of. Names and graph are data, so that a recording can be made with others."""

import random
from dataclasses import dataclass, field, replace

from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind, Topology, entity_id

DATABASE = "shopdb"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to another service while an operation is served."""

    service: str
    operation: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One HTTP path: some work, some SQL, some calls, in this order."""

    work_ms: float
    """Mean of the computing time; the real time varies around it."""

    sql: str | None = None
    """Name of a statement in `service.STATEMENTS`."""

    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Service:
    name: str
    operations: dict[str, Operation]


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Services by name, the entry through which people come, and what they do there (operation: weight)."""

    services: dict[str, Service]
    entry: str
    journeys: dict[str, float]
    roles: dict[str, str] = field(default_factory=dict)
    """Role (as in `standard_shop`) to the service's name, so that faults work under any names."""

    def topology(self) -> Topology:
        """Declared entities and edges, the database included."""
        database = entity_id(EntityKind.DATABASE, DATABASE)
        entities = [Entity(id=database, kind=EntityKind.DATABASE, name=DATABASE)]
        edges: set[tuple[EntityId, EntityId]] = set()
        for service in self.services.values():
            own = entity_id(EntityKind.SERVICE, service.name)
            entities.append(Entity(id=own, kind=EntityKind.SERVICE, name=service.name))
            for operation in service.operations.values():
                edges |= {(own, entity_id(EntityKind.SERVICE, call.service)) for call in operation.calls}
                if operation.sql:
                    edges.add((own, database))
        return Topology(
            entities=tuple(sorted(entities, key=lambda entity: entity.id)),
            edges=tuple(Edge(source=source, target=target, kind=EdgeKind.CALLS) for source, target in sorted(edges)),
        )

    def service_for(self, role: str) -> str:
        """The name of the service that plays `role`."""
        return self.roles.get(role, role)


def standard_shop() -> Shop:
    """Eight services: a storefront before catalogue, cart and checkout; stock, payment, shipping and advice behind."""

    def service(name: str, **operations: Operation) -> Service:
        return Service(name=name, operations=operations)

    services = (
        service(
            "storefront",
            browse=Operation(
                work_ms=2,
                calls=(
                    Call(service="catalog", operation="list"),
                    Call(service="recommend", operation="suggest"),
                ),
            ),
            basket=Operation(work_ms=2, calls=(Call(service="cart", operation="add"),)),
            buy=Operation(work_ms=2, calls=(Call(service="checkout", operation="order"),)),
        ),
        service("catalog", list=Operation(work_ms=3, sql="read_products"), price=Operation(work_ms=1)),
        service(
            "recommend",
            suggest=Operation(work_ms=4, calls=(Call(service="catalog", operation="price"),)),
        ),
        service(
            "cart",
            add=Operation(work_ms=1, sql="write_basket", calls=(Call(service="inventory", operation="check"),)),
            read=Operation(work_ms=1, sql="read_basket"),
        ),
        service(
            "checkout",
            order=Operation(
                work_ms=2,
                calls=(
                    Call(service="cart", operation="read"),
                    Call(service="inventory", operation="reserve"),
                    Call(service="shipping", operation="quote"),
                    Call(service="payment", operation="charge"),
                ),
            ),
        ),
        service(
            "inventory",
            check=Operation(work_ms=1, sql="read_stock"),
            reserve=Operation(work_ms=1, sql="take_stock"),
        ),
        service("payment", charge=Operation(work_ms=5, sql="write_payment")),
        service("shipping", quote=Operation(work_ms=3)),
    )
    return Shop(
        services={item.name: item for item in services},
        entry="storefront",
        journeys={"browse": 0.5, "basket": 0.25, "buy": 0.25},
    )


def renamed(shop: Shop, seed: int) -> Shop:
    """The same shop under drawn names, so that nothing can be tuned to the shipped ones."""
    rng = random.Random(seed)  # noqa: S311 - names for an experiment, not a secret
    syllables = ("ba", "do", "fi", "gu", "ka", "lo", "mi", "nu", "po", "ra", "se", "ti", "vu", "we", "zo")
    names: dict[str, str] = {}
    for name in shop.services:
        drawn = "".join(rng.choices(syllables, k=3))
        while drawn in names.values():
            drawn = "".join(rng.choices(syllables, k=3))
        names[name] = drawn
    services = {
        names[item.name]: Service(
            name=names[item.name],
            operations={
                path: replace(
                    operation,
                    calls=tuple(replace(call, service=names[call.service]) for call in operation.calls),
                )
                for path, operation in item.operations.items()
            },
        )
        for item in shop.services.values()
    }
    return Shop(services=services, entry=names[shop.entry], journeys=shop.journeys, roles=names)
