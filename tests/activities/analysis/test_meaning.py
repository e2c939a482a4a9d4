"""What telemetry means decides, and not how it is spelled: the same incident in other words has the same root cause."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.findings import find
from activities.analysis.graph import Graph
from evals.offline import diagnose
from tests.activities.analysis.test_families import AS_OF, DAY, NOON, answered, metric, together
from tests.running import an_alert
from workflows.contracts.finding import Finding
from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import ClusterProbe, MetricProbe
from workflows.contracts.report import Outcome, Verdict

SERVICES = tuple(EntityId(f"service:{name}") for name in ("front", "cart", "stock", "mail", "search", "pay"))
TOPOLOGY = ["source", "target", "kind", "origin", "confidence"]


def a_graph(*edges: tuple[str, str, str], names: tuple[EntityId, ...] = SERVICES) -> Graph:
    """These entities, and edges between them."""
    entities = [(name, "", name.partition(":")[0], "declared", 1.0) for name in names]
    rows = [*entities, *((source, target, kind, "declared", 1.0) for source, target, kind in edges)]
    return Graph.from_answer(pl.DataFrame(rows, schema=TOPOLOGY, orient="row"))


def an_incident(*answers: AnsweredProbe, graph: Graph | None = None, entity: EntityId | None = None) -> Evidence:
    alert = an_alert(starts_at=NOON, entity=entity)
    return Evidence(alerts=(alert,), as_of=AS_OF, answers=answers, graph=graph or a_graph())


def strongest(evidence: Evidence, entity: EntityId) -> Finding:
    return max((item for item in find(evidence) if item.entity == entity), key=lambda item: item.strength)


SPELLINGS = [
    ("http_request_error_ratio", 0.002, 0.6),
    ("http_request_success_ratio", 0.998, 0.4),
    ("http_request_success_rate", 0.998, 0.4),
    ("http_request_success_rate", 99.8, 40.0),
    ("http_availability_percent", 99.8, 40.0),
    ("successRate", 99.8, 40.0),
]


def waving(entity: EntityId, name: str, usual: float, faulty: float) -> AnsweredProbe:
    """A share whose missing or failing part has a little wave, however it is spelled."""
    whole = 100.0 if max(usual, faulty) > 1 else 1.0
    bad = min(usual, whole - usual)
    plain = metric(entity, name, bad, min(faulty, whole - faulty) if usual == bad else whole - faulty)
    values = plain.rows["value"] if usual == bad else whole - plain.rows["value"]
    return replace(plain, rows=plain.rows.with_columns(value=values))


@pytest.mark.parametrize(("name", "usual", "faulty"), SPELLINGS[1:])
def test_a_share_is_judged_by_what_fails_of_it(name: str, usual: float, faulty: float) -> None:
    def said(spelled: str, before: float, after: float) -> Finding:
        bystanders = [waving(entity, spelled, before, before) for entity in SERVICES[1:]]
        return strongest(an_incident(waving(SERVICES[0], spelled, before, after), *bystanders), SERVICES[0])

    plain = said(*SPELLINGS[0][:1], *SPELLINGS[0][1:])
    other = said(name, usual, faulty)
    assert other.strength == pytest.approx(plain.strength, rel=0.02)
    assert other.fault_kinds == plain.fault_kinds
    assert other.strength > 0.5


def level(entity: EntityId, name: str, usual: float, faulty: float) -> AnsweredProbe:
    """A series without any wave."""
    plain = metric(entity, name, usual, faulty)
    return replace(
        plain, rows=plain.rows.with_columns(value=pl.when(pl.col("value") == faulty).then(faulty).otherwise(usual))
    )


@pytest.mark.parametrize(("name", "usual"), [("up", 1.0), ("kube_deployment_status_replicas_available", 3.0)])
def test_a_fall_to_nothing_is_as_strong_as_a_finding_can_be(name: str, usual: float) -> None:
    bystanders = [level(entity, name, usual, usual) for entity in SERVICES[1:]]
    found = strongest(an_incident(level(SERVICES[0], name, usual, 0.0), *bystanders), SERVICES[0])
    assert found.strength > 0.9, found


def test_a_share_moves_little_where_little_fails() -> None:
    name = "http_request_success_ratio"
    bystanders = [level(entity, name, 0.999, 0.999) for entity in SERVICES[1:]]
    found = find(an_incident(level(SERVICES[0], name, 0.999, 0.996), *bystanders))
    assert found == [], "three in a thousand are of no practical importance"


def condition(
    entity: EntityId, name: str, seconds: int, *, type_: str, reason: str, healthy: bool = False, kind: str = "Pod"
) -> dict[str, object]:
    return {
        "ts": NOON - timedelta(seconds=seconds),
        "object_kind": kind,
        "object_name": name,
        "entity": entity,
        "type": type_,
        "healthy": healthy,
        "reason": reason,
        "message": "",
        "count": 1,
    }


def cluster(*rows: dict[str, object]) -> AnsweredProbe:
    return answered(ClusterProbe(backend="b", window=DAY), list(rows))


@pytest.mark.parametrize(
    ("problem", "later", "over"),
    [
        (("Warning", "FailedScheduling"), ("Normal", "Scheduled", True), True),
        (("Warning", "FailedScheduling"), ("Normal", "Pulling", True), False),
        (("Progressing", "ProgressDeadlineExceeded"), ("Progressing", "NewReplicaSetAvailable", True), True),
        (("Warning", "FailedMount"), ("Normal", "Started", True), True),
        (("Warning", "BackOff"), ("Normal", "Started", True), False),
        (("Warning", "FailedScheduling"), ("Ready", "", True), True),
        (("Warning", "FailedScheduling"), ("Ready", "ContainersNotReady", False), False),
    ],
)
def test_what_an_object_is_counts_before_what_happened_to_it(
    problem: tuple[str, str], later: tuple[str, str, bool], over: bool
) -> None:
    """Documented pairs of events do not carry the same name, and states and events often bear the same second."""
    (type_, reason), (state, why, healthy) = problem, later
    pod = EntityId("pod:cart-0")
    rows = [
        condition(pod, "cart-0", 60, type_=type_, reason=reason),
        condition(pod, "cart-0", 60, type_=state, reason=why, healthy=healthy),
    ]
    if type_ == state:
        rows[1]["ts"] = NOON - timedelta(seconds=30)
    found = {item.signal: item for item in find(an_incident(cluster(*rows), graph=a_graph(names=(*SERVICES, pod))))}
    assert (found[f"Pod {reason}"].note == "since recovered") == over


def test_a_dead_node_is_the_cause_of_what_dies_on_it() -> None:
    node = EntityId("node:n1")
    pods = tuple(EntityId(f"pod:{name.partition(':')[2]}-0") for name in SERVICES)
    hosted = [
        edge
        for pod, name in zip(pods, SERVICES, strict=True)
        for edge in ((pod, node, "runs_on"), (pod, name, "part_of"))
    ]
    rows = [condition(node, "n1", 90, type_="Ready", reason="NodeNotReady", kind="Node")]
    rows += [condition(pod, pod.partition(":")[2], 60, type_="Ready", reason="NodeLost") for pod in pods]
    evidence = an_incident(cluster(*rows), graph=a_graph(*hosted, names=(*SERVICES, *pods, node)), entity=SERVICES[0])
    assert diagnose(evidence, probes_planned=9).hypotheses[0].entity == node


def of_instances(*loads: tuple[str, float]) -> Evidence:
    """Three instances of one workload, each with a metric of its own that leaves its range."""
    pods = tuple(EntityId(f"pod:cart-{number}") for number in range(len(loads)))
    names = {name for name, _ in loads}
    usual = {name: 0.1 for name in names}
    answers = []
    for pod, (moved, faulty) in zip(pods, loads, strict=True):
        series = [metric(pod, name, usual[name], faulty if name == moved else usual[name]) for name in sorted(names)]
        answers.append(together(*series))
    parts = [(pod, SERVICES[1], "part_of") for pod in pods]
    return an_incident(*answers, graph=a_graph(*parts, names=(*SERVICES, *pods)))


CPU, DISK, MEMORY = "cpu_usage_ratio", "disk_usage_ratio", "memory_usage_ratio"


def first(evidence: Evidence) -> EntityId | None:
    return diagnose(evidence, probes_planned=len(evidence.answers)).hypotheses[0].entity


def test_a_workload_is_accused_where_its_instances_show_the_same() -> None:
    assert first(of_instances((CPU, 0.9), (CPU, 0.9), (CPU, 0.9))) == SERVICES[1]
    assert first(of_instances((CPU, 0.9), (CPU, 0.1), (CPU, 0.1))) == "pod:cart-0", "one of them alone"
    assert first(of_instances((CPU, 0.9), (CPU, 0.1))) == "pod:cart-0", "one of two"
    assert first(of_instances((CPU, 0.9), (DISK, 0.9), (MEMORY, 0.9))) != SERVICES[1], (
        "signs that have nothing in common"
    )


def test_what_everybody_shows_accuses_nobody() -> None:
    common = [together(metric(name, CPU, 0.1, 0.9), metric(name, DISK, 0.1, 0.1)) for name in SERVICES[1:]]
    alone = together(metric(SERVICES[0], CPU, 0.1, 0.1), metric(SERVICES[0], DISK, 0.1, 0.9))
    assert first(an_incident(alone, *common)) == SERVICES[0]


@pytest.mark.parametrize(
    "labels",
    [
        'peer_service="stock"',
        'destination_workload="stock",reporter="source"',
        'server.address="stock.shop.svc.cluster.local:8080"',
        'upstream_cluster="outbound|80||stock.shop.svc.cluster.local"',
    ],
)
def test_what_callers_measure_of_a_callee_accuses_the_callee(labels: str) -> None:
    front, cart, stock = SERVICES[:3]
    name = f"http_requests_error_ratio{{{labels}}}"
    calls = [(front, stock, "calls"), (cart, stock, "calls")]
    answers = [level(front, name, 0.0, 0.6), level(cart, name, 0.0, 0.5)]
    evidence = an_incident(*answers, graph=a_graph(*calls), entity=front)
    found = strongest(evidence, stock)
    assert found.caller in (front, cart)
    assert first(evidence) == stock


def test_a_label_that_names_nobody_known_changes_nothing() -> None:
    plain, labelled = (
        strongest(an_incident(level(SERVICES[0], name, 0.0, 0.6)), SERVICES[0])
        for name in ("http_requests_error_ratio", 'http_requests_error_ratio{peer_service="elsewhere"}')
    )
    assert plain.strength == labelled.strength
    assert labelled.caller is None


def verdict_of_front(*answers: AnsweredProbe) -> Verdict:
    evidence = an_incident(*answers, entity=SERVICES[0])
    return diagnose(evidence, probes_planned=len(answers)).verdict


ERRORS = "http_requests_error_ratio"
OVER_S = -60
"""Seconds after the alert at which a passing symptom ends."""


def test_where_nothing_is_out_of_its_range_no_fault_is_found() -> None:
    quiet = [level(name, ERRORS, 0.001, 0.001) for name in SERVICES]
    found = verdict_of_front(*quiet)
    assert found.outcome is Outcome.NO_FAULT_FOUND
    assert found.sentence.startswith("No fault found")


def test_of_what_was_not_looked_at_nobody_says_that_it_is_well() -> None:
    others = [level(name, ERRORS, 0.001, 0.001) for name in SERVICES[1:]]
    assert verdict_of_front(*others).outcome is Outcome.INCONCLUSIVE


def test_a_symptom_that_is_over_has_an_end() -> None:
    def passing(entity: EntityId) -> AnsweredProbe:
        rows = level(entity, ERRORS, 0.001, 0.6).rows
        ended = NOON + timedelta(seconds=OVER_S)
        value = pl.when(pl.col("ts") >= ended).then(0.001).otherwise(pl.col("value"))
        return answered(MetricProbe(backend="b", window=DAY, entity=entity), rows.with_columns(value=value).to_dicts())

    others = [level(name, ERRORS, 0.001, 0.001) for name in SERVICES[1:]]
    lasting = verdict_of_front(level(SERVICES[0], ERRORS, 0.001, 0.6), *others)
    assert lasting.recovered_at is None
    assert lasting.entity == SERVICES[0]
    over = verdict_of_front(passing(SERVICES[0]), *others)
    assert over.recovered_at is not None
    assert over.recovered_at == NOON + timedelta(seconds=OVER_S)
    assert f"the symptom ended at {over.recovered_at:%H:%M:%S}" in over.sentence
