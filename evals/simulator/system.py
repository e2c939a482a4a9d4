"""Drawn systems: services that call each other, databases and caches, replicas on nodes."""

import random
from dataclasses import dataclass, replace
from typing import Literal

from workflows.contracts.topology import EntityKind

Kind = Literal["service", "database", "cache"]
SIZES = ((5, 12, 0.5), (13, 40, 0.38), (41, 200, 0.12))
"""Services at least and at most, and how often."""

MOST_CALLS = 3.0
"""Requests that arrive at one component for each that comes in at the doors, at most."""

STYLES = ("{a}-{b}", "{a}_{b}", "{A}{B}Service", "{a}{b}", "svc-{a}")
FIRST = (
    *("order", "user", "price", "stock", "mail", "audit", "ledger", "route", "fleet", "claim", "policy", "media"),
    *("search", "ticket", "seat", "room", "meter", "grid", "sensor", "patient", "lab", "loan", "card", "quote"),
    *("invoice", "tax", "parcel", "track", "review", "rank", "feed", "chat", "session", "token", "profile", "menu"),
)
SECOND = ("api", "core", "worker", "engine", "store", "sync", "gate", "hub", "calc", "index", "proxy", "manager")
OPERATIONS = ("get", "list", "create", "update", "find", "apply", "check", "load")


@dataclass(frozen=True, kw_only=True)
class Component:
    """Something that serves requests."""

    name: str
    kind: Kind
    own_ms: float
    """Mean time of its own work for one request, without load."""

    cpu_ms: float
    """Processor time of one request."""

    replicas: int
    cores: float
    """Of one replica."""

    workers: int
    """Requests that one replica works on at once."""

    error_share: float
    memory_mb: float
    operations: tuple[str, ...]
    nodes: tuple[int, ...]
    """The node of each replica."""

    @property
    def entity_kind(self) -> EntityKind:
        """As topologies call it: caches are databases there."""
        return EntityKind.SERVICE if self.kind == "service" else EntityKind.DATABASE


@dataclass(frozen=True, kw_only=True)
class Link:
    """Who calls whom."""

    caller: int
    callee: int
    calls: float
    """Per request of the caller."""

    critical: float
    """Part of the failing calls that make the caller's request fail."""

    retries: int
    timeout_ms: float


@dataclass(frozen=True, kw_only=True)
class System:
    """Components in an order in which callers come before what they call."""

    components: tuple[Component, ...]
    links: tuple[Link, ...]
    entries: tuple[int, ...]
    """Where people come in."""

    rate: float
    """Requests a second at the entries together, at noon."""

    nodes: int

    def callers(self, number: int) -> list[Link]:
        """Links to a component."""
        return [link for link in self.links if link.callee == number]

    def calls(self, number: int) -> list[Link]:
        """Links from a component."""
        return [link for link in self.links if link.caller == number]

    def node_name(self, number: int) -> str:
        """Of a node."""
        return f"node-{number + 1:02d}"


def draw_system(rng: random.Random) -> System:
    """A system of 5 to 200 services."""
    low, high, _ = rng.choices(SIZES, weights=[weight for _, _, weight in SIZES])[0]
    services = rng.randint(low, high)
    stores = max(1, round(services * rng.uniform(0.1, 0.3)))
    nodes = max(2, round(services * rng.uniform(0.15, 0.4)))
    names = _names(rng, services)
    entries = tuple(range(rng.choice((1, 1, 2)) if services > 8 else 1))
    components = [_service(rng, name, nodes) for name in names]
    links = _links(rng, services, len(entries))
    for number in range(stores):
        cache = number > 0 and rng.random() < 0.3
        components.append(_store(rng, f"{rng.choice(FIRST)}{number}", cache=cache, nodes=nodes))
        users = rng.sample(range(len(entries), services), k=min(services - len(entries), rng.randint(1, 4)))
        calls = {user: rng.uniform(0.3, 3.0) for user in users}
        links += [_link(rng, user, services + number, calls=value) for user, value in calls.items()]
    rate = 10 ** rng.uniform(0.7, 2.3)
    links, rates = _bounded(links, len(components), entries, rate)
    return System(
        components=tuple(_sized(rng, item, rates[number]) for number, item in enumerate(components)),
        links=tuple(links),
        entries=entries,
        rate=rate,
        nodes=nodes,
    )


def _bounded(links: list[Link], count: int, entries: tuple[int, ...], rate: float) -> tuple[list[Link], list[float]]:
    """Links that call nothing much more often than people come in, and the requests a second of each component."""
    rates = [rate / len(entries) if number in entries else 0.0 for number in range(count)]
    found = []
    for callee in range(count):
        called = [link for link in links if link.callee == callee]
        arriving = sum(rates[link.caller] * link.calls for link in called)
        less = min(1.0, MOST_CALLS * rate / arriving) if arriving else 1.0
        found += [replace(link, calls=link.calls * less) for link in called]
        rates[callee] += arriving * less
    return found, rates


def _sized(rng: random.Random, item: Component, rate: float) -> Component:
    """As large as its load needs: nobody runs what is always full."""
    cores = max(item.cores, rate * item.cpu_ms / 1_000 / item.replicas / rng.uniform(0.15, 0.6))
    busy = rate * item.own_ms / 1_000 / item.replicas
    return replace(item, cores=cores, workers=max(item.workers, round(20 * busy)))


def _names(rng: random.Random, count: int) -> list[str]:
    style = rng.choice(STYLES)
    names: list[str] = []
    while len(names) < count:
        first, second = rng.choice(FIRST), rng.choice(SECOND)
        name = style.format(a=first, b=second, A=first.title(), B=second.title())
        names.append(name if name not in names else f"{name}{len(names)}")
    return names


def _service(rng: random.Random, name: str, nodes: int) -> Component:
    own = 10 ** rng.uniform(0.0, 1.5)
    replicas = rng.choice((1, 2, 2, 3, 4))
    return Component(
        name=name,
        kind="service",
        own_ms=own,
        cpu_ms=own * rng.uniform(0.2, 0.9),
        replicas=replicas,
        cores=1.0,
        workers=rng.choice((32, 64, 128, 200)),
        error_share=rng.choice((0.0, 0.0, 0.001, 0.005)),
        memory_mb=10 ** rng.uniform(2.0, 3.2),
        operations=tuple(rng.sample(OPERATIONS, k=rng.randint(1, 2))),
        nodes=tuple(rng.randrange(nodes) for _ in range(replicas)),
    )


def _store(rng: random.Random, name: str, *, cache: bool, nodes: int) -> Component:
    own = 10 ** (rng.uniform(-0.5, 0.1) if cache else rng.uniform(0.0, 0.9))
    return Component(
        name=f"{name}-{'cache' if cache else 'db'}",
        kind="cache" if cache else "database",
        own_ms=own,
        cpu_ms=own * 0.5,
        replicas=1,
        cores=4.0,
        workers=100,
        error_share=0.0,
        memory_mb=10 ** rng.uniform(3.0, 3.8),
        operations=("GET",) if cache else ("SELECT", "UPDATE"),
        nodes=(rng.randrange(nodes),),
    )


def _links(rng: random.Random, services: int, entries: int) -> list[Link]:
    """Each service below the entries is called by one to three that come before it."""
    links = []
    for callee in range(entries, services):
        near = [number for number in range(max(0, callee - 12), callee)]
        callers = set(rng.choices(near, k=rng.choice((1, 1, 1, 2, 3))))
        links += [_link(rng, caller, callee, calls=rng.choice((0.3, 0.6, 1.0, 1.0, 1.5))) for caller in sorted(callers)]
    return links


def _link(rng: random.Random, caller: int, callee: int, *, calls: float) -> Link:
    return Link(
        caller=caller,
        callee=callee,
        calls=calls,
        critical=rng.choice((1.0, 1.0, 1.0, 0.7, 0.1)),
        retries=rng.choice((0, 0, 1, 2)),
        timeout_ms=rng.choice((1_000.0, 2_000.0, 5_000.0, 10_000.0)),
    )
