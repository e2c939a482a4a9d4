"""Who is who: one entity has many names, and rules, tried in order, say which one a set of labels stands for.

A rule decides or passes on; what it decided is kept with its name. Labels that fit two known entities stand for
neither: both are listed. The sources of the rules: OpenTelemetry's semantic conventions for resources, databases and
messaging; Kubernetes' recommended labels and owner references; the labels that Prometheus' operator,
kube-state-metrics, cAdvisor, node_exporter and Loki's agents attach.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from activities.answers import COLUMNS
from workflows.contracts.canonical import canonical_json
from workflows.contracts.environment import EntityMapping
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import EntityKind, entity_id

Labels = Mapping[str, str]
UNMATCHED = "unmatched"
AMBIGUOUS = "ambiguous"
LONGEST_NAME = 253

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "namespace": (
        "exported_namespace",
        "k8s_namespace_name",
        "namespace",
        "kubernetes_namespace",
        "service_namespace",
        "destination_workload_namespace",
    ),
    "pod": ("exported_pod", "k8s_pod_name", "pod", "pod_name", "kubernetes_pod_name"),
    "workload": (
        "k8s_deployment_name",
        "k8s_statefulset_name",
        "k8s_daemonset_name",
        "k8s_cronjob_name",
        "deployment",
        "statefulset",
        "daemonset",
        "cronjob",
        "workload",
        "destination_workload",
    ),
    "otel_service": ("service_name",),
    "app": ("app_kubernetes_io_name", "app", "k8s_app"),
    "service": ("exported_service", "destination_service_name", "service"),
    "container": ("exported_container", "k8s_container_name", "container", "container_name"),
    "job": ("exported_job", "job"),
    "instance": ("exported_instance", "instance"),
    "address": ("server_address", "net_peer_name", "peer_address", "host_ip", "pod_ip", "ip"),
    "node": ("exported_node", "k8s_node_name", "node", "kubernetes_node", "nodename", "node_name"),
    "host": ("host_name", "host", "hostname"),
    "exported_database": ("datname",),
    "database": ("db_namespace", "db_name", "database"),
    "database_system": ("db_system_name", "db_system"),
    "database_instance": ("dbinstance_identifier", "db_instance"),
    "queue": ("messaging_destination_name", "messaging_destination", "queue", "topic", "queue_name"),
    "queue_system": ("messaging_system",),
    "entity": ("inquest_entity",),
}
"""What a label means by its spellings, the one that wins first. `exported_` is Prometheus' mark of the target's own."""

IDENTITY_LABELS: tuple[str, ...] = tuple(name for names in _SYNONYMS.values() for name in names)
"""Labels, as Prometheus spells them, that say what a series is about."""

_INFRASTRUCTURE = re.compile(
    r"(kubelet|cadvisor|kube-state-metrics|node-?exporter|prometheus|alertmanager|apiserver|kubernetes-.*|"
    r"(integrations/)?kubernetes(/.*)?|otel-?collector|opentelemetry-collector|blackbox.*|pushgateway|federate)",
    re.I,
)
"""Scrape jobs whose series are about others."""

_PROXY_SERVICES = frozenset(
    ("kube-state-metrics", "kubelet", "node-exporter", "prometheus-node-exporter", "kubernetes")
)
_GENERATED = re.compile(r"^(?P<name>.+?)(?:-[bcdfghjklmnpqrstvwxz2456789]{6,10})?-(?:[a-z0-9]{5}|\d{1,4})$")
"""The name of a pod as ReplicaSets and StatefulSets make it; Kubernetes' random names have no vowels."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f]")


def canonical(labels: Labels) -> str:
    """One spelling for one set of labels."""
    return canonical_json({str(key): str(value) for key, value in labels.items() if value}).decode()


def labels_of(text: str) -> dict[str, str]:
    """The labels in a `canonical` text."""
    found: dict[str, str] = json.loads(text)
    return found


@dataclass(frozen=True)
class Resolution:
    """Which entity a set of labels stands for."""

    entity: EntityId | None
    rule: str
    """The rule that decided, or why none did."""

    candidates: tuple[EntityId, ...] = ()
    """Where the labels fit several known entities."""


@dataclass
class _Known:
    """What the inventories say, by its names."""

    workloads: dict[str, set[str]] = field(default_factory=dict)
    """Namespaces by the name of a workload."""

    owners: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """(namespace, workload) by (namespace, pod)."""

    owners_by_pod: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    services: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=dict)
    """Workloads by (namespace, name) of the Kubernetes Service that selects them."""

    aliases: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Workloads by the OpenTelemetry service name that their pods report."""

    addresses: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Workloads by an address."""

    nodes: set[str] = field(default_factory=set)
    node_addresses: dict[str, str] = field(default_factory=dict)
    otel: set[str] = field(default_factory=set)


Rule = Callable[["Resolver", Labels], Resolution | None]


class Resolver:
    """Resolves sets of labels, knowing what all sources of an environment know.

    Args:
        inventories: the `inventory` answers by source.
        mappings: what people said; it comes before every rule.
    """

    def __init__(self, inventories: Mapping[str, pl.DataFrame], mappings: Sequence[EntityMapping] = ()) -> None:
        self._mappings = [(item.entity, _by_meaning(item.labels), dict(item.labels)) for item in mappings]
        self._inventories = {name: _parsed(rows) for name, rows in sorted(inventories.items())}
        self._known = _Known()
        self._cache: dict[str, Resolution] = {}
        sightings = [labels for rows in self._inventories.values() for labels, _, _ in rows]
        for labels, relation, other in (row for rows in self._inventories.values() for row in rows):
            self._learn(labels, relation, other)
        for labels in sightings:
            self._learn_alias(_by_meaning(labels))

    def resolve(self, labels: Labels) -> Resolution:
        """Which entity these labels stand for."""
        text = canonical(labels)
        found = self._cache.get(text)
        if found is None:
            found = self._cache[text] = self._resolve(labels)
        return found

    def entity(self, labels: Labels) -> EntityId | None:
        """The entity alone; None when the labels stand for nothing known or for several."""
        return self.resolve(labels).entity

    def names(self) -> Iterator[tuple[str, str, Resolution]]:
        """(source, labels, resolution) of every label set in the inventories, in order."""
        for source, rows in self._inventories.items():
            for text in sorted({canonical(side) for labels, _, other in rows for side in (labels, other) if side}):
                yield source, text, self.resolve(labels_of(text))

    def topology(self) -> pl.DataFrame:
        """Entities and edges, as a `topology` answer has them."""
        entities: dict[str, str] = {}
        edges: dict[tuple[str, str, str], str] = {}
        for source, rows in self._inventories.items():
            for labels, relation, other in rows:
                here = self.entity(labels)
                there = self.entity(other) if other else None
                for entity in (here, there):
                    if entity is not None:
                        entities[entity] = entity.partition(":")[0]
                if here is not None and there is not None and here != there and _is_edge(relation, there):
                    edges.setdefault((here, there, relation), source)
        rows_out = [(name, "", kind, "declared", 1.0) for name, kind in entities.items()]
        rows_out += [(here, there, kind, source, 1.0) for (here, there, kind), source in edges.items()]
        return pl.DataFrame(sorted(rows_out), schema=COLUMNS["topology"], orient="row")

    def known_by(self) -> dict[EntityId, set[str]]:
        """Sources by the entities they have a name for."""
        found: dict[EntityId, set[str]] = {}
        for source, _, resolution in self.names():
            if resolution.entity is not None:
                found.setdefault(resolution.entity, set()).add(source)
        return found

    def _resolve(self, labels: Labels) -> Resolution:
        given = _by_meaning(labels)
        for entity, meanings, exact in self._mappings:
            if all(labels.get(key) == value for key, value in exact.items()) or (
                meanings and all(given.get(key) == value for key, value in meanings.items())
            ):
                return Resolution(entity, "mapping")
        for name, rule in _RULES:
            found = rule(self, given)
            if found is not None:
                return Resolution(found.entity, found.rule or name, found.candidates)
        return Resolution(None, UNMATCHED)

    def _learn(self, labels: Labels, relation: str, other: Labels) -> None:
        given, known = _by_meaning(labels), self._known
        if relation == "owned_by" and other.get("workload"):
            owner = (other.get("namespace", ""), other.get("workload", ""))
            pod = (given.get("namespace", ""), given.get("pod", ""))
            known.owners[pod] = owner
            known.owners_by_pod.setdefault(pod[1], set()).add(owner)
            for address in (given.get("address"),):
                if address:
                    known.addresses.setdefault(address, set()).add(owner)
        elif relation == "selects":
            service = (given.get("namespace", ""), given.get("service", ""))
            owner = (other.get("namespace", ""), other.get("workload", ""))
            known.services.setdefault(service, set()).add(owner)
            address = given.get("address")
            if address and address != "None":
                known.addresses.setdefault(address, set()).add(owner)
        if labels.get("kind") == "workload":
            known.workloads.setdefault(given.get("workload", ""), set()).add(given.get("namespace", ""))
        if labels.get("kind") == "node":
            known.nodes.add(given.get("node", ""))
            if given.get("address"):
                known.node_addresses[given["address"]] = given["node"]
        if given.get("otel_service"):
            known.otel.add(given["otel_service"])

    def _learn_alias(self, given: Labels) -> None:
        """A service name of OpenTelemetry beside a pod or a workload is another name of that workload."""
        service = given.get("otel_service")
        if not service:
            return
        owners = self._owners(given)
        if len(owners) == 1:
            self._known.aliases.setdefault(service, set()).update(owners)

    def _owners(self, given: Labels) -> set[tuple[str, str]]:
        namespace, pod, workload = given.get("namespace"), given.get("pod"), given.get("workload")
        if pod:
            if namespace is not None and (namespace, pod) in self._known.owners:
                return {self._known.owners[(namespace, pod)]}
            if namespace is None and pod in self._known.owners_by_pod:
                return self._known.owners_by_pod[pod]
        if workload and workload in self._known.workloads:
            spaces = self._known.workloads[workload]
            if namespace in spaces:
                return {(str(namespace), workload)}
            if namespace is None:
                return {(space, workload) for space in spaces}
        return set()

    def _of_workloads(self, found: Iterable[tuple[str, str]], rule: str) -> Resolution | None:
        entities = tuple(sorted({self._workload(namespace, name) for namespace, name in found}))
        if not entities:
            return None
        if len(entities) > 1:
            return Resolution(None, f"{AMBIGUOUS}: {rule}", entities)
        return Resolution(entities[0], rule)

    def _workload(self, namespace: str, name: str) -> EntityId:
        """A workload's entity; its namespace is part of the name only where another namespace has one of that name."""
        shared = len(self._known.workloads.get(name, ())) > 1
        return entity_id(EntityKind.SERVICE, f"{namespace}/{name}" if shared and namespace else name)

    def _named(self, given: Labels, name: str | None, rule: str) -> Resolution | None:
        """The entity of that name: a workload's, the one behind a Service or alias, else one of its own."""
        if not name or not _usable(name):
            return None
        known, namespace = self._known, given.get("namespace")
        aliased = known.aliases.get(name)
        if aliased:
            within = {owner for owner in aliased if namespace in (None, owner[0])} or aliased
            return self._of_workloads(within, f"{rule}, alias")
        if name in known.workloads:
            spaces = known.workloads[name]
            within_spaces = {namespace} if namespace in spaces else spaces if namespace is None else set()
            if within_spaces:
                return self._of_workloads({(str(space), name) for space in within_spaces}, rule)
        selected = [
            owner
            for (space, service), owners in known.services.items()
            if service == name and namespace in (None, space)
            for owner in owners
        ]
        if selected:
            return self._of_workloads(selected, f"{rule}, selector")
        return Resolution(entity_id(EntityKind.SERVICE, name), rule)


def _pod(resolver: Resolver, given: Labels) -> Resolution | None:
    if given.get("pod"):
        return resolver._of_workloads(resolver._owners(given), "pod")
    return None


def _declared(_resolver: Resolver, given: Labels) -> Resolution | None:
    name = given.get("entity", "")
    kind, _, rest = name.partition(":")
    return Resolution(EntityId(name), "declared") if rest and kind in set(EntityKind) and _usable(name) else None


def _workload(resolver: Resolver, given: Labels) -> Resolution | None:
    owners = resolver._owners({key: value for key, value in given.items() if key != "pod"})
    return resolver._of_workloads(owners, "workload") or resolver._named(given, given.get("workload"), "workload")


def _database(_resolver: Resolver, given: Labels) -> Resolution | None:
    """What an exporter says of a database, whatever pod it runs in; a service's own view of one stays the service's."""
    name = given.get("exported_database") or given.get("database_instance")
    if name is None and not any(given.get(key) for key in ("pod", "otel_service", "app", "workload")):
        name = given.get("database")
        if name is None and given.get("database_system"):
            name = given.get("address") or given.get("host")
    return Resolution(entity_id(EntityKind.DATABASE, name), "database") if name and _usable(name) else None


def _queue(_resolver: Resolver, given: Labels) -> Resolution | None:
    name = given.get("queue")
    is_one = bool(given.get("queue_system")) or not (given.get("otel_service") or given.get("pod"))
    return Resolution(entity_id(EntityKind.QUEUE, name), "queue") if name and is_one and _usable(name) else None


def _otel(resolver: Resolver, given: Labels) -> Resolution | None:
    return resolver._named(given, given.get("otel_service"), "service.name")


def _app(resolver: Resolver, given: Labels) -> Resolution | None:
    name = given.get("app")
    return None if name in _PROXY_SERVICES else resolver._named(given, name, "app label")


def _service(resolver: Resolver, given: Labels) -> Resolution | None:
    name = given.get("service")
    return None if name in _PROXY_SERVICES else resolver._named(given, name, "service label")


def _address(resolver: Resolver, given: Labels) -> Resolution | None:
    for text in (given.get("address"), given.get("instance")):
        host = host_of(text or "")
        if not host:
            continue
        found = resolver._of_workloads(resolver._known.addresses.get(host, ()), "address")
        if found is not None:
            return found
        first, _, rest = host.partition(".")
        space = {"namespace": rest.split(".")[0]} if rest and not _is_address(host) else {}
        known = resolver._known
        if first in known.workloads or first in known.otel or any(name == first for _, name in known.services):
            return resolver._named({**given, **space}, first, "address")
    return None


def _generated(resolver: Resolver, given: Labels) -> Resolution | None:
    match = _GENERATED.match(given.get("pod", ""))
    return resolver._named(given, match["name"] if match else given.get("pod"), "pod's name")


def _node(resolver: Resolver, given: Labels) -> Resolution | None:
    known = resolver._known
    name = given.get("node") or known.node_addresses.get(host_of(given.get("instance", "")))
    about_node = not given.get("pod") and (name in known.nodes or not given.get("job") or _exporter_of_nodes(given))
    if name and about_node and _usable(name):
        return Resolution(entity_id(EntityKind.NODE, name), "node")
    if _exporter_of_nodes(given) and (host := host_of(given.get("instance", ""))):
        return Resolution(entity_id(EntityKind.NODE, host), "node")
    return None


def _exporter_of_nodes(given: Labels) -> bool:
    return bool(re.search(r"node-?_?exporter", given.get("job", "")))


def _job(resolver: Resolver, given: Labels) -> Resolution | None:
    name = given.get("job", "").rpartition("/")[2]
    if not name or _INFRASTRUCTURE.fullmatch(given.get("job", "")) or _INFRASTRUCTURE.fullmatch(name):
        return None
    return resolver._named(given, name, "job")


_RULES: tuple[tuple[str, Rule], ...] = (
    ("declared", _declared),
    ("database", _database),
    ("pod", _pod),
    ("queue", _queue),
    ("workload", _workload),
    ("service.name", _otel),
    ("app label", _app),
    ("service label", _service),
    ("address", _address),
    ("pod's name", _generated),
    ("node", _node),
    ("job", _job),
)
_EDGES = frozenset(("calls", "runs_on", "part_of"))


def _is_edge(relation: str, there: EntityId) -> bool:
    """Whether a relation of an inventory is one between entities: a pod that a workload owns is that workload."""
    return relation in _EDGES or (relation == "owned_by" and there.startswith(f"{EntityKind.TEAM.value}:"))


def _by_meaning(labels: Labels) -> dict[str, str]:
    """Labels by what they mean, whatever their spelling; empty values are no labels."""
    spelled = {_spelling(key): value for key, value in labels.items() if value}
    found = {}
    for meaning, names in _SYNONYMS.items():
        value = next((spelled[name] for name in names if name in spelled), None)
        if value is not None:
            found[meaning] = value
    return found


def _spelling(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_").removeprefix("label_")


def host_of(address: str) -> str:
    """The host of `host:port`, of a URL, or of a bare host; of IPv6 without its brackets."""
    text = address.partition("//")[2].partition("/")[0] if "//" in address else address
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def _is_address(host: str) -> bool:
    return ":" in host or re.fullmatch(r"[\d.]+", host) is not None


def _usable(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and not _UNFIT.search(name)


def _parsed(rows: pl.DataFrame) -> list[tuple[Labels, str, Labels]]:
    return [
        (labels_of(labels), relation, labels_of(other) if other else {})
        for labels, relation, other in rows.select("labels", "relation", "other").iter_rows()
    ]


def inventory_rows(rows: Iterable[tuple[Labels, str, Labels]]) -> pl.DataFrame:
    """An `inventory` answer from (labels, relation, other)."""
    plain = {(canonical(labels), relation, canonical(other) if other else "") for labels, relation, other in rows}
    return pl.DataFrame(sorted(plain), schema=COLUMNS["inventory"], orient="row")
