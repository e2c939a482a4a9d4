"""What depends on what, as it is and as it was; and that an investigation gets it as an observation."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from typer.testing import CliRunner

from activities.answers import COLUMNS
from activities.memory.recall import Recall
from activities.topology.declaration import DeclarationError, read_declaration
from activities.topology.observed import topology_of
from activities.topology.record import TopologyRecord
from tests.running import an_alert
from workers.installation import Installation
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.environment import SourceRef
from workflows.contracts.identifiers import EntityId, IncidentId, InvestigationId, Tenant
from workflows.contracts.investigation import InvestigationRequest, Purpose
from workflows.contracts.probe import KnownTopologyProbe
from workflows.contracts.topology import Edge, EdgeKind

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PROD = "prod"


def edge(source: str, target: str, kind: EdgeKind = EdgeKind.CALLS, confidence: float = 1.0) -> Edge:
    return Edge(source=EntityId(source), target=EntityId(target), kind=kind, origin="traces", confidence=confidence)


@dataclass
class Map:
    """A topology of its own."""

    record: TopologyRecord
    tenant: Tenant

    def see(self, *edges: Edge, at: datetime = NOON) -> None:
        self.record.observe(PROD, [], edges, at=at)

    def felt_by(self, entity: str, at: datetime = NOON, hops: int = 3) -> list[str]:
        return [item.entity for item in self.record.dependents(PROD, EntityId(entity), at=at, hops=hops)]

    def causes_of(self, entity: str, at: datetime = NOON, hops: int = 3) -> list[str]:
        return [item.entity for item in self.record.dependencies(PROD, EntityId(entity), at=at, hops=hops)]


@pytest.fixture
def known(installation: Installation) -> Map:
    tenant = Tenant(f"topology-{uuid4()}")
    return Map(installation.store.topology(tenant), tenant)


SHOP = (
    edge("service:web", "service:cart"),
    edge("service:cart", "database:orders", confidence=0.8),
    edge("pod:cart-1", "service:cart", EdgeKind.PART_OF),
    edge("pod:cart-1", "node:n1", EdgeKind.RUNS_ON),
    edge("database:orders", "service:web"),
)


def test_a_fault_is_felt_by_callers_and_workloads_and_caused_by_what_they_depend_on(known: Map) -> None:
    known.see(*SHOP)
    assert known.felt_by("node:n1") == ["pod:cart-1", "service:cart", "service:web"]
    assert known.causes_of("service:web", hops=1) == ["service:cart"]
    assert known.causes_of("service:web") == ["service:cart", "pod:cart-1", "node:n1", "database:orders"]
    assert known.felt_by("service:nobody") == []
    [first, *_] = known.record.dependents(PROD, EntityId("database:orders"), at=NOON)
    assert first.path == ("database:orders", "service:cart")
    assert first.confidence == 0.8
    assert known.record.dependents("other", EntityId("node:n1"), at=NOON) == []


def test_it_is_asked_as_it_was_and_fades(known: Map) -> None:
    known.see(edge("service:a", "service:b"))
    known.see(edge("service:a", "service:c"), at=NOON + timedelta(days=14))
    assert known.causes_of("service:a", at=NOON - timedelta(seconds=1)) == []
    assert known.causes_of("service:a", at=NOON) == ["service:b"]
    [new, old] = known.record.dependencies(PROD, EntityId("service:a"), at=NOON + timedelta(days=14))
    assert (new.entity, new.confidence, old.entity) == ("service:c", 1.0, "service:b")
    assert old.confidence == pytest.approx(0.5)
    assert known.causes_of("service:a", at=NOON + timedelta(days=40)) == ["service:c"]
    known.see(edge("service:a", "service:b"), at=NOON + timedelta(days=40))
    assert known.causes_of("service:a", at=NOON + timedelta(days=40)) == ["service:b", "service:c"]
    known.see(edge("service:a", "service:b"), at=NOON - timedelta(days=1))
    assert known.causes_of("service:a", at=NOON - timedelta(days=1)) == ["service:b"], "an older sight is kept too"


def test_sources_that_disagree_are_both_kept(known: Map) -> None:
    known.see(edge("service:a", "service:b", confidence=0.4))
    known.record.observe(
        PROD, [], [edge("service:a", "service:b").model_copy(update={"origin": "kubernetes"})], at=NOON
    )
    both = known.record.edges_of(PROD, [EntityId("service:a")], at=NOON)
    assert {(item.origin, item.confidence) for item in both} == {("traces", 0.4), ("kubernetes", 1.0)}


def test_what_alerts_have_in_common(known: Map) -> None:
    known.see(
        edge("service:a", "service:left"),
        edge("service:b", "service:right"),
        edge("service:left", "database:orders"),
        edge("service:right", "database:orders", confidence=0.6),
        edge("service:right", "service:a", confidence=0.5),
    )
    names = [EntityId("service:a"), EntityId("service:b")]
    common = known.record.common_causes(PROD, names, at=NOON)
    assert [(item.entity, item.confidence) for item in common] == [
        ("database:orders", 0.6),
        ("service:a", 0.5),
        ("service:left", 0.5),
    ]
    assert known.record.common_causes(PROD, [], at=NOON) == []


def test_two_writers_at_once_lose_nothing(known: Map) -> None:
    names = [f"service:s{number}" for number in range(200)]
    edges = [edge(name, other) for name in names[:20] for other in names[20:]]
    writers = [
        threading.Thread(target=known.record.observe, args=(PROD, [], part), kwargs={"at": NOON})
        for part in (edges, list(reversed(edges)))
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(known.causes_of("service:s0", hops=1)) == 180


def test_an_investigation_recalls_what_is_near_its_alerts(known: Map, installation: Installation) -> None:
    owned = edge("service:cart", "team:shop", EdgeKind.OWNED_BY)
    known.see(*SHOP, owned, edge("service:far", "service:away"), edge("service:far", "team:far", EdgeKind.OWNED_BY))
    request = InvestigationRequest(
        tenant=known.tenant,
        investigation_id=InvestigationId(str(uuid4())),
        incident_id=IncidentId(str(uuid4())),
        as_of=NOON + timedelta(days=1),
        backend="live",
        environment=PROD,
        sources=(SourceRef(name="p", modalities=("metrics",)),),
    )
    recall = Recall(installation.store, request, [an_alert(entity="service:web")])
    [probe] = recall.probes()
    assert isinstance(probe, KnownTopologyProbe)
    answer = recall.answer(probe)
    assert answer.rows is not None
    rows = answer.rows.to_dicts()
    assert {(row["source"], row["target"]) for row in rows} == {(item.source, item.target) for item in (*SHOP, owned)}
    assert all(0.7 < row["confidence"] < 1 for row in rows), "a day old"
    _, edges = topology_of(answer.rows)
    assert len(edges) == len(SHOP) + 1
    evaluated = request.model_copy(update={"purpose": Purpose.EVALUATION})
    assert Recall(installation.store, evaluated, [an_alert(entity="service:web")]).probes() == []


def test_rows_of_another_version_are_left_out() -> None:
    rows = pl.DataFrame([("a", "b", "teleports_to", "x", 1.0)], schema=COLUMNS["topology"], orient="row")
    assert topology_of(rows) == ([], [])


DECLARED = """
checkout: {owner: shop, tier: 1, calls: [payment, "database:orders"]}
payment: {owner: "team:money"}
"pod:checkout-1": {part_of: [checkout], runs_on: ["node:n1"]}
"""


def test_people_declare_and_ask_by_command(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.cli import APP  # noqa: PLC0415 - the command's own entry

    monkeypatch.setenv("INQUEST_DATA_DIR", str(installation.settings.data_dir))
    environment = f"e-{uuid4()}"

    def told(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(APP, ["topology", *words, "--environment", environment])
        assert done.exit_code == code, done.output
        return " ".join(done.output.replace("│", "").split())

    file = tmp_path / "shop.yaml"
    file.write_text(DECLARED)
    assert told("declare", str(file)) == "7 entities, 6 edges"
    assert "service:checkout node:n1 > pod:checkout-1 > service:checkout" in told("dependents", "node:n1")
    assert "service:payment" in told("dependencies", "checkout")
    assert "service:payment" in told("common", "checkout", "payment")
    assert "service:checkout team:shop" in told("owners", "payment")
    assert "pod:checkout-1 team:shop" in told("owners", "pod:checkout-1"), "of its workload"
    shown = told("show", "checkout")
    assert "service:checkout calls service:payment declared, 100%" in shown
    assert "service:checkout is of tier 1" in shown
    assert "tier" not in told("show", "payment")
    assert "nothing is known" in told("dependents", "node:n1", "--at", "2020-01-01")
    assert "nothing is known" in told("changes", "checkout", "--since", "7d")
    now = datetime.now(UTC)
    announced = [
        Change(
            id=f"{environment}-{name}", at=now, kind=ChangeKind.DEPLOY, target=EntityId(name), title=f"roll out {name}"
        )
        for name in ("service:payment", "service:elsewhere")
    ]
    installation.store.announced_changes(installation.tenant).announce(
        announced, environment=environment, received_at=now
    )
    shown = told("changes", "checkout", "--since", "7d")
    assert "roll out service:payment" in shown
    assert "elsewhere" not in shown, "nothing that it depends on"
    assert '"confidence": 1.0' in told("dependents", "node:n1", "--json")
    file.write_text("checkout: {owner: shop}")
    assert told("declare", str(file)) == "2 entities, 1 edges"
    assert "nothing is known" in told("dependents", "node:n1")
    file.write_text("checkout: {owns: shop}")
    assert "Extra inputs are not permitted" in told("declare", str(file), code=2)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"- a\n- b", "valid dictionary"),
        (b"{", "no YAML"),
        (b"\xff\xfe\x00", "no YAML"),
        (b'"planet:mars": {}', "no entity"),
        (b'"service:": {}', "no entity"),
        (b"a: {tier: 99}", "tier"),
        (b"a: {calls: payment}", "valid tuple"),
        (b"a: &x [*x]", "a"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_said(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "shop.yaml"
    file.write_bytes(content)
    with pytest.raises(DeclarationError, match=problem):
        read_declaration(file)
