"""Who is who: every rule, in its order, told with numbers of names that sources really give."""

import pytest

from activities.telemetry.entities import Labels, Resolver, inventory_rows
from workflows.contracts.environment import EntityMapping
from workflows.contracts.identifiers import EntityId

POD = "checkout-7d4b9c6f5d-x2x0z"
WORKLOADS = [("shop", "checkout"), ("shop", "cart"), ("ops", "cart"), ("shop", "payments-v2")]


def pod(namespace: str, workload: str, suffix: str, address: str) -> list[tuple[Labels, str, Labels]]:
    owner = {"kind": "workload", "namespace": namespace, "workload": workload}
    labels = {"namespace": namespace, "pod": f"{workload}-{suffix}", "pod_ip": address}
    return [(owner, "", {}), (labels, "owned_by", owner), (labels, "runs_on", {"kind": "node", "node": "n1"})]


@pytest.fixture(scope="module")
def resolver() -> Resolver:
    cluster = [
        row
        for number, (namespace, workload) in enumerate(WORKLOADS)
        for row in pod(namespace, workload, f"7d4b9c6f5d-x2x{number}z", f"10.1.0.{number}")
    ]
    cluster.append(({"kind": "node", "node": "n1", "host_ip": "192.168.0.7"}, "", {}))
    payments = {"kind": "workload", "namespace": "shop", "workload": "payments-v2"}
    cluster.append(({"namespace": "shop", "service": "pay", "ip": "10.9.0.1"}, "selects", payments))
    traces: list[tuple[Labels, str, Labels]] = [
        (
            {
                "service_name": "checkoutservice",
                "k8s.namespace.name": "shop",
                "k8s.pod.name": POD,
            },
            "",
            {},
        ),
        ({"service_name": "checkoutservice"}, "calls", {"service_name": "legacy-mainframe"}),
        ({"service_name": "legacy-mainframe"}, "calls", {"db.system": "postgresql", "db.namespace": "orders"}),
    ]
    mapping = EntityMapping(entity=EntityId("database:ledger"), labels={"job": "pg-main"})
    return Resolver({"cluster": inventory_rows(cluster), "traces": inventory_rows(traces)}, [mapping])


CASES: list[tuple[str, Labels, str | None, str]] = [
    ("a person's mapping comes first", {"job": "pg-main", "datname": "other"}, "database:ledger", "mapping"),
    (
        "a pod belongs to its workload",
        {"namespace": "shop", "pod": POD},
        "service:checkout",
        "pod",
    ),
    (
        "cAdvisor is about the pod it names",
        {"job": "kubelet", "instance": "192.168.0.7:10250", "namespace": "shop", "pod": POD},
        "service:checkout",
        "pod",
    ),
    (
        "the target's own labels win over the exporter's",
        {"pod": "kube-state-metrics-0", "exported_pod": POD, "namespace": "shop"},
        "service:checkout",
        "pod",
    ),
    (
        "a deployment",
        {"namespace": "shop", "deployment": "checkout", "job": "kube-state-metrics"},
        "service:checkout",
        "workload",
    ),
    (
        "OpenTelemetry's name is an alias",
        {"service.name": "checkoutservice"},
        "service:checkout",
        "service.name, alias",
    ),
    ("Loki's spelling of it", {"service_name": "checkoutservice"}, "service:checkout", "service.name, alias"),
    ("a service nobody else knows", {"service_name": "legacy-mainframe"}, "service:legacy-mainframe", "service.name"),
    ("one name in two namespaces, told apart", {"namespace": "ops", "app": "cart"}, "service:ops/cart", "app label"),
    (
        "a Service by its selector",
        {"namespace": "shop", "service": "pay"},
        "service:payments-v2",
        "service label, selector",
    ),
    (
        "the recommended label",
        {"namespace": "shop", "app_kubernetes_io_name": "checkout"},
        "service:checkout",
        "app label",
    ),
    ("an address of a pod", {"server_address": "10.1.0.0"}, "service:checkout", "address"),
    ("an address of a Service", {"instance": "10.9.0.1:80"}, "service:payments-v2", "address"),
    (
        "a name in the cluster's DNS",
        {"server.address": "pay.shop.svc.cluster.local"},
        "service:payments-v2",
        "address, selector",
    ),
    ("a database by its name", {"db.system": "postgresql", "db.namespace": "orders"}, "database:orders", "database"),
    (
        "a database by its address",
        {"db.system": "mysql", "server.address": "db7:3306"},
        "database:db7:3306",
        "database",
    ),
    ("an exporter's database", {"job": "postgres", "datname": "orders"}, "database:orders", "database"),
    ("an exporter in a pod", {"namespace": "shop", "pod": POD, "datname": "orders"}, "database:orders", "database"),
    (
        "a service's own view of a database",
        {"app": "checkout", "namespace": "shop", "db_system": "postgresql", "db_namespace": "orders"},
        "service:checkout",
        "app label",
    ),
    ("a queue", {"messaging.system": "kafka", "messaging.destination.name": "orders"}, "queue:orders", "queue"),
    ("a node by its exporter", {"job": "node-exporter", "instance": "192.168.0.7:9100"}, "node:n1", "node"),
    ("a node by its name", {"node": "n1"}, "node:n1", "node"),
    ("a pod that is gone, by its name", {"pod": "checkout-6b8f7d9c4-abcde"}, "service:checkout", "pod's name"),
    ("a scrape job", {"job": "shop/checkout", "instance": "h:1"}, "service:checkout", "job"),
    ("an infrastructure job is nobody", {"job": "kube-state-metrics", "instance": "10.7.0.3:8080"}, None, "unmatched"),
    ("nothing to go by", {"le": "0.5"}, None, "unmatched"),
]


@pytest.mark.parametrize(("labels", "entity", "rule"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_rules(resolver: Resolver, labels: Labels, entity: str | None, rule: str) -> None:
    found = resolver.resolve(labels)
    assert (found.entity, found.rule) == (entity, rule)


def test_two_candidates_are_both_listed_and_none_is_guessed(resolver: Resolver) -> None:
    found = resolver.resolve({"app": "cart"})
    assert found.entity is None
    assert found.candidates == ("service:ops/cart", "service:shop/cart")
    assert found.rule.startswith("ambiguous")


def test_the_topology_is_in_the_names_of_entities(resolver: Resolver) -> None:
    edges = {(source, target, kind) for source, target, kind, *_ in resolver.topology().iter_rows() if target}
    assert ("service:checkout", "service:legacy-mainframe", "calls") in edges
    assert ("service:legacy-mainframe", "database:orders", "calls") in edges
    assert ("service:checkout", "node:n1", "runs_on") in edges


def test_the_order_of_sources_changes_nothing(resolver: Resolver) -> None:
    again = Resolver(
        {name: inventory_rows(rows) for name, rows in reversed(resolver._inventories.items())},
        [EntityMapping(entity=EntityId("database:ledger"), labels={"job": "pg-main"})],
    )
    assert again.topology().equals(resolver.topology())
    assert list(again.names()) == list(resolver.names())


@pytest.mark.parametrize("name", ["x" * 300, "line\nbreak", "nul\x00"])
def test_names_that_cannot_be_used_stand_for_nothing(resolver: Resolver, name: str) -> None:
    assert resolver.entity({"service_name": name}) is None
