"""What the shop consists of. Names and graph are data, so that a recording can be made with others."""

import random
from dataclasses import dataclass, field, replace

from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind, Topology, entity_id

DATABASE = "shopdb"
QUEUE = "orders"


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

    journal: bool = False
    """Writes a line to the service's own volume."""

    calls: tuple[Call, ...] = ()
    enqueues: bool = False
    """Ends by putting an order into the queue."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process of the shop."""

    name: str
    operations: dict[str, Operation]
    tls: bool = False
    """Served over TLS, with a certificate of its own."""

    volume: bool = False
    """Has a small volume of its own."""

    consumes: Operation | None = None
    """What is done with each order that it takes from the queue."""

    @property
    def work(self) -> tuple[Operation, ...]:
        """Everything it does."""
        return (*self.operations.values(), *((self.consumes,) if self.consumes else ()))


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
        queue = entity_id(EntityKind.QUEUE, QUEUE)
        entities = [
            Entity(id=database, kind=EntityKind.DATABASE, name=DATABASE),
            Entity(id=queue, kind=EntityKind.QUEUE, name=QUEUE),
        ]
        edges: set[tuple[EntityId, EntityId]] = set()
        for service in self.services.values():
            own = entity_id(EntityKind.SERVICE, service.name)
            entities.append(Entity(id=own, kind=EntityKind.SERVICE, name=service.name))
            for operation in service.work:
                edges |= {(own, entity_id(EntityKind.SERVICE, call.service)) for call in operation.calls}
                if operation.sql:
                    edges.add((own, database))
                if operation.enqueues:
                    edges.add((own, queue))
                if operation is service.consumes:
                    edges.add((queue, own))  # as work flows: who fills the queue depends on who empties it
        return Topology(
            entities=tuple(sorted(entities, key=lambda entity: entity.id)),
            edges=tuple(Edge(source=source, target=target, kind=EdgeKind.CALLS) for source, target in sorted(edges)),
        )

    def service_for(self, role: str) -> str:
        """The name of the service that plays `role`."""
        return self.roles.get(role, role)


def standard_shop() -> Shop:
    """Nine services: a storefront before catalogue, cart and checkout; stock, payment, shipping and advice behind.

    Orders go through a queue to fulfilment; payment and shipping speak TLS; payment and stock keep a journal.
    """

    def service(name: str, *, tls: bool = False, volume: bool = False, **operations: Operation) -> Service:
        return Service(name=name, operations=operations, tls=tls, volume=volume)

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
                enqueues=True,
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
            volume=True,
            check=Operation(work_ms=1, sql="read_stock"),
            reserve=Operation(work_ms=1, sql="take_stock", journal=True),
        ),
        service("payment", tls=True, volume=True, charge=Operation(work_ms=5, sql="write_payment", journal=True)),
        service("shipping", tls=True, quote=Operation(work_ms=3)),
        Service(name="fulfilment", operations={}, consumes=Operation(work_ms=6)),
    )
    return Shop(
        services={item.name: item for item in services},
        entry="storefront",
        journeys={"browse": 0.5, "basket": 0.25, "buy": 0.25},
    )


def grown_shop(services: int, seed: int) -> Shop:
    """The standard shop with further services below it, each called by one that was there before.

    Args:
        services: how many there shall be in all; the standard shop when that many are there already.
        seed: of the drawn graph.
    """
    rng = random.Random(seed)  # noqa: S311 - a drawn graph, not a secret
    shop = standard_shop()
    grown = dict(shop.services)
    callers = ["catalog", "recommend", "cart", "shipping"]
    while len(grown) < services:
        name, caller = f"part{len(grown):02d}", rng.choice(callers)
        grown[name] = Service(name=name, operations={"fetch": Operation(work_ms=rng.uniform(0.5, 3))})
        path, operation = rng.choice(sorted(grown[caller].operations.items()))
        longer = replace(operation, calls=(*operation.calls, Call(service=name, operation="fetch")))
        grown[caller] = replace(grown[caller], operations={**grown[caller].operations, path: longer})
        callers.append(name)
    return replace(shop, services=grown)


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
        names[item.name]: replace(
            item,
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
