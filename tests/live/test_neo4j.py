"""A real Neo4j: the copy of the topology that is kept there, and a topology that somebody else keeps there."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from neo4j import GraphDatabase
from typer.testing import CliRunner

from activities.credentials.reference import CredentialReference
from activities.telemetry.backend import Answer, run_probe
from activities.telemetry.entities import Resolver
from activities.telemetry.exceptions import BackendUnavailableError, SourceRefusedError
from activities.telemetry.neo4j import KIND
from activities.telemetry.neo4j.config import Neo4jConfig
from activities.telemetry.registry import Opening
from activities.topology.declaration import read_declaration
from activities.topology.exceptions import GraphServerError
from activities.topology.graph_server import GraphAddress, GraphServer
from activities.topology.mirror import Mirrored, mirror
from activities.topology.record import TopologyRecord
from evals.lab.servers import Neo4j, neo4j
from workers.installation import Installation
from workers.topology_commands import GROUP
from workflows.contracts.identifiers import EntityId, Tenant
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import InventoryProbe, Window
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSWORD = "a-long-password"
PROBE = InventoryProbe(backend="graph", window=Window(start=NOON - timedelta(days=1), end=NOON))


class Server:
    """The running server, and what stands on it."""

    def __init__(self, running: Neo4j) -> None:
        self.url = running.url
        self._driver = GraphDatabase.driver(running.url, auth=("neo4j", PASSWORD), telemetry_disabled=True)

    def do(self, query: LiteralString, **given: Any) -> list[tuple[Any, ...]]:
        return [tuple(record.values()) for record in self._driver.execute_query(query, given).records]

    def close(self) -> None:
        self._driver.close()


@pytest.fixture(scope="module")
def server(need: Callable[..., None], folder: Path) -> Iterator[Server]:
    need("neo4j", "java")
    with neo4j(folder) as running:
        deadline = time.monotonic() + 60
        while True:  # it listens before its databases are open
            try:
                with GraphDatabase.driver(running.url, auth=("neo4j", "neo4j"), telemetry_disabled=True) as first:
                    first.execute_query(
                        f"ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO '{PASSWORD}'", database_="system"
                    )
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        with closing(Server(running)) as found:
            yield found


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> CredentialReference:
    monkeypatch.setenv("GRAPH_PASSWORD", PASSWORD)
    return CredentialReference(variable="GRAPH_PASSWORD", user="neo4j")


@pytest.fixture
def record(installation: Installation) -> TopologyRecord:
    return installation.store.topology(Tenant(f"mirror-{uuid4()}"))


def mirrored(record: TopologyRecord, server: Server, secret: CredentialReference) -> Mirrored:
    with closing(GraphServer(GraphAddress(url=server.url, credential=secret))) as graph:
        return mirror(record, "prod", graph)


def calls(source: str, target: str, confidence: float = 0.9) -> Edge:
    return Edge(
        source=EntityId(source), target=EntityId(target), kind=EdgeKind.CALLS, origin="traces", confidence=confidence
    )


def relations(server: Server, tenant: str) -> list[tuple[Any, ...]]:
    return server.do(
        "MATCH (a:InquestEntity {tenant: $tenant})-[r]->(b) "
        "RETURN a.id, type(r), b.id, r.origin, r.confidence, r.ended_at IS NOT NULL ORDER BY a.id, type(r), b.id",
        tenant=tenant,
    )


def test_the_copy_follows_the_record_and_nothing_is_written_twice(
    server: Server, record: TopologyRecord, secret: CredentialReference, tmp_path: Path
) -> None:
    server.do("CREATE (:Service {name: 'of somebody else'})")
    declared = tmp_path / "declared.yaml"
    declared.write_text("web: {owner: shop, tier: 0, calls: [cart]}\ncart: {calls: ['database:orders']}\n")
    record.declare("prod", read_declaration(declared), at=NOON)
    record.observe("prod", [], [calls("service:web", "service:cart"), calls("service:cart", "queue:mail")], at=NOON)
    record.observe("other", [], [calls("service:web", "service:elsewhere")], at=NOON)

    first = mirrored(record, server, secret)
    assert (first.entities, first.edges, first.removed) == (5, 5, 0)
    assert first.written == 10
    assert [row[:5] for row in relations(server, record.tenant)] == [
        ("service:cart", "CALLS", "database:orders", "declared", 1.0),
        ("service:cart", "CALLS", "queue:mail", "traces", 0.9),
        ("service:web", "CALLS", "service:cart", "declared", 1.0),
        ("service:web", "CALLS", "service:cart", "traces", 0.9),
        ("service:web", "OWNED_BY", "team:shop", "declared", 1.0),
    ]
    names = server.do(
        "MATCH (n:InquestEntity {tenant: $tenant, id: 'service:web'}) RETURN n.kind, n.name, n.tier, n.origins",
        tenant=record.tenant,
    )
    assert names == [("service", "web", 0, ["declared"])]
    constraints = {row[0] for row in server.do("SHOW CONSTRAINTS YIELD name RETURN name")}
    assert "inquest_entity" in constraints

    again = mirrored(record, server, secret)
    assert (again.written, again.removed) == (0, 0)

    declared.write_text("web: {owner: shop, tier: 1}\ncart: {calls: ['database:orders']}\n")
    record.declare("prod", read_declaration(declared), at=NOON + timedelta(hours=1))
    record.observe("prod", [], [calls("service:web", "service:cart", 0.5)], at=NOON + timedelta(hours=1))
    changed = mirrored(record, server, secret)
    assert 0 < changed.written <= 10
    ended = {row[:4]: row[5] for row in relations(server, record.tenant)}
    assert ended[("service:web", "CALLS", "service:cart", "declared")] is True
    assert ended[("service:web", "CALLS", "service:cart", "traces")] is False

    server.do(
        "MATCH (a:InquestEntity {tenant: $tenant, id: 'service:cart'}) DETACH DELETE a "
        "CREATE (:InquestEntity {tenant: $tenant, environment: 'prod', id: 'service:invented'})",
        tenant=record.tenant,
    )
    mended = mirrored(record, server, secret)
    assert mended.removed == 1
    assert mended.written == 1 + 4, "the entity and the four relations that went with it"
    assert server.do("MATCH (n:Service) RETURN n.name") == [("of somebody else",)]
    assert not server.do("MATCH (n:InquestEntity {id: 'service:elsewhere'}) RETURN n")


def test_names_from_outside_are_values_and_never_statements(
    server: Server, record: TopologyRecord, secret: CredentialReference
) -> None:
    hostile = "service:x'}) DETACH DELETE n //`$rows"
    record.observe(
        "prod",
        [Entity(id=EntityId(hostile), kind=EntityKind.SERVICE, name="x")],
        [calls(hostile, "service:b")],
        at=NOON,
    )
    mirrored(record, server, secret)
    assert [row[0] for row in relations(server, record.tenant)] == [hostile]


def test_the_command_mirrors_and_says_what_is_wrong(
    server: Server, secret: CredentialReference, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = f"sync-{uuid4()}"
    monkeypatch.setenv("INQUEST_DATA_DIR", str(installation.settings.data_dir))
    installation.store.topology(installation.tenant).observe(
        environment, [], [calls("service:a", "service:b")], at=NOON
    )
    signed_in = ["--environment", environment, "--user", "neo4j", "--password-variable", "GRAPH_PASSWORD"]
    done = CliRunner().invoke(GROUP, ["sync", "--to", server.url, *signed_in])
    assert done.stdout.strip() == "2 entities, 1 edges: 3 written, 0 removed there", done.output
    assert "0 written" in CliRunner().invoke(GROUP, ["sync", "--to", server.url, *signed_in]).stdout

    monkeypatch.setenv("GRAPH_PASSWORD", "another-password")
    wrong = CliRunner().invoke(GROUP, ["sync", "--to", server.url, *signed_in])
    assert (wrong.exit_code, "it refuses" in wrong.stderr) == (1, True), wrong.output
    routed = CliRunner().invoke(GROUP, ["sync", "--to", "neo4j://localhost", *signed_in])
    assert (routed.exit_code, "bolt://" in routed.stderr) == (1, True), routed.output
    away = CliRunner().invoke(GROUP, ["sync", "--to", "bolt://127.0.0.1:1", *signed_in])
    assert away.exit_code == 1
    assert "error: " in away.stderr


def asked(server: Server, **config: Any) -> Answer:
    made = Neo4jConfig.model_validate(
        {
            "name": "graph",
            "backend": "neo4j",
            "url": server.url,
            "credential": {"variable": "GRAPH_PASSWORD", "user": "neo4j"},
            **config,
        }
    )
    backend = KIND.open(Opening(config=made, resolver=lambda: Resolver({})))
    with closing(backend):
        return run_probe(backend, PROBE)


@pytest.fixture
def cmdb(server: Server, secret: CredentialReference) -> Iterator[Server]:
    """What a company keeps of its systems, in words of its own."""
    server.do(
        "CREATE (web:Microservice {title: 'web'})-[:USES]->(cart:Microservice {title: 'cart'}) "
        "CREATE (cart)-[:USES]->(:Database {title: 'orders'}) CREATE (cart)-[:DEPLOYED_ON]->(:Server {title: 'n1'}) "
        "CREATE (:Squad {title: 'shop'})-[:OWNS]->(web) CREATE (cart)-[:LIKES]->(web) "
        "CREATE (cart)-[:USES]->(:Microservice {title: 42}) CREATE (cart)-[:USES]->(:Poem {title: 'roses'})"
    )
    yield server
    server.do("MATCH (n) WHERE n.title IS NOT NULL DETACH DELETE n")


WORDS: dict[str, Any] = {
    "name_property": "title",
    "labels": {"Microservice": "service", "Server": "node", "Squad": "team", "Database": "database"},
    "relations": {"USES": "calls", "DEPLOYED_ON": "runs_on"},
    "reversed_relations": {"OWNS": "owned_by"},
}


def test_a_topology_is_read_in_the_words_of_its_owner(cmdb: Server) -> None:
    answer = asked(cmdb, **WORDS)
    assert answer.status is ObservationStatus.OK
    assert answer.rows is not None
    graph = Resolver({"graph": answer.rows}).topology()
    edges = {row[:3] for row in graph.select("source", "kind", "target", "origin").iter_rows() if row[2]}
    assert edges == {
        ("service:web", "calls", "service:cart"),
        ("service:cart", "calls", "database:orders"),
        ("service:cart", "runs_on", "node:n1"),
        ("service:web", "owned_by", "team:shop"),
    }
    assert set(graph["origin"]) == {"declared", "graph"}
    assert "42" not in str(graph), "a name that is no text names nobody"


def test_what_is_more_than_may_be_read_is_said(cmdb: Server) -> None:
    answer = asked(cmdb, **WORDS, most_edges=2)
    assert answer.status is ObservationStatus.TRUNCATED
    assert "most_edges" in answer.detail


def test_the_check_says_what_it_sees(cmdb: Server, secret: CredentialReference) -> None:
    def said(**words: Any) -> list[str]:
        config = Neo4jConfig.model_validate(
            {"name": "graph", "backend": "neo4j", "url": cmdb.url, "credential": secret, **words}
        )
        return list(KIND.check(Opening(config=config, resolver=lambda: Resolver({}))))

    version, unnamed = said(**WORDS)
    assert version == "Neo4j/5.26.0: 6 nodes with a label of the settings"
    assert unnamed == "1 of them have no property title: see name_property"
    assert "see labels" in said(labels={"Nothing": "service"})[1]


def test_failures_are_told_apart(cmdb: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceRefusedError) as missing:
        asked(cmdb, database="nowhere", **WORDS)
    assert missing.value.status is ObservationStatus.NOT_FOUND
    with pytest.raises(BackendUnavailableError, match="cannot be reached"):
        asked(cmdb, url="bolt://127.0.0.1:1", **WORDS)
    with pytest.raises(SourceRefusedError):
        asked(cmdb, url=cmdb.url.replace("bolt://", "bolt+s://"), trusted="/nowhere.pem", **WORDS)
    monkeypatch.setenv("GRAPH_PASSWORD", "another-password")
    with pytest.raises(SourceRefusedError) as refused:
        asked(cmdb, **WORDS)
    assert refused.value.status is ObservationStatus.FORBIDDEN


def test_a_server_that_is_silent_is_given_up(secret: CredentialReference) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url, began = f"bolt://127.0.0.1:{silent.getsockname()[1]}", time.monotonic()
        with (
            closing(GraphServer(GraphAddress(url=url, credential=secret, timeout=timedelta(seconds=1)))) as graph,
            pytest.raises(GraphServerError) as error,
        ):
            graph.agent()
        assert error.value.status is ObservationStatus.UNAVAILABLE
        assert time.monotonic() - began < 20


def test_a_query_that_takes_too_long_is_ended_by_the_server(cmdb: Server, secret: CredentialReference) -> None:
    address = GraphAddress(url=cmdb.url, credential=secret, timeout=timedelta(milliseconds=200))
    with closing(GraphServer(address)) as graph, pytest.raises(GraphServerError) as error:
        graph.read("UNWIND range(1, 100000000) AS a UNWIND range(1, 1000) AS b RETURN sum(a * b)", {}, most=1)
    assert error.value.status is ObservationStatus.TIMEOUT
