"""Signs that speak of somebody else: errors that name a callee, hosts whose guests died, load from outside."""

import pytest

from activities.analysis.context import IncidentContext
from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.failing_callee import failing_callee
from activities.analysis.findings import find
from activities.analysis.ranking import rank
from activities.analysis.shared_host import says_down
from activities.analysis.verification import claims_of, verified
from evals.offline import diagnose
from tests.activities.analysis.test_families import lines, metric
from tests.activities.analysis.test_meaning import SERVICES, a_graph, an_incident, level
from tests.activities.inference.test_turn import a_finding
from workflows.contracts.finding import Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId

FRONT, CART, STOCK, MAIL, SEARCH, PAY = SERVICES
NODES = (EntityId("node:n1"), EntityId("node:n2"))


def first_suspect(evidence: Evidence) -> EntityId | None:
    return next(item.entity for item in diagnose(evidence).hypotheses if item.entity is not None)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("call to cart failed: context deadline exceeded", CART),
        ("dial tcp: lookup cart on 10.0.0.10:53: no such host", CART),
        ("GET http://cart:8080/items returned 503", CART),
        ("upstream connect error: cart", CART),
        ("the cart is empty", None),
        ("call to cart and stock failed", None),
        ("call to mail failed", None),
        ("cartoon could not be drawn: connection reset", None),
    ],
)
def test_an_error_tells_of_the_one_callee_that_it_names(text: str, meant: EntityId | None) -> None:
    graph = a_graph((FRONT, CART, "calls"), (FRONT, STOCK, "calls"))
    assert failing_callee(text, FRONT, graph) == meant


def test_a_name_of_several_words_needs_no_sentence_about_a_call() -> None:
    names = (FRONT, EntityId("service:stock-api"))
    graph = a_graph((names[0], names[1], "calls"), names=names)
    assert failing_callee("stock-api: 500 Internal Server Error", FRONT, graph) == names[1]


def test_who_logs_that_another_fails_is_not_the_suspect() -> None:
    text = "call to stock failed: connection refused"
    graph = a_graph((FRONT, CART, "calls"), (CART, STOCK, "calls"), (MAIL, STOCK, "calls"))
    evidence = an_incident(
        *(lines(name, {"reply sent": (5, 5), text: (0, 20 if name in (CART, MAIL) else 0)}) for name in SERVICES),
        graph=graph,
    )
    told = [item for item in find(evidence) if item.mechanism is Mechanism.LOGGED_FAILED_CALLS]
    assert {(item.entity, item.caller) for item in told} == {(STOCK, CART), (STOCK, MAIL)}
    assert len({item.key for item in told}) == 2
    assert first_suspect(evidence) == STOCK


def up(entity: EntityId, *, dies: bool) -> AnsweredProbe:
    return level(entity, "up", 1.0, 0.0 if dies else 1.0)


@pytest.mark.parametrize(
    ("dead", "suspect"), [((CART, STOCK, MAIL), NODES[0]), ((CART,), CART), ((CART, SEARCH), None)]
)
def test_a_node_is_suspected_by_what_died_on_it_and_only_there(
    dead: tuple[EntityId, ...], suspect: EntityId | None
) -> None:
    on = [(name, NODES[0], "runs_on") for name in (CART, STOCK, MAIL)]
    on += [(name, NODES[1], "runs_on") for name in (FRONT, SEARCH, PAY)]
    graph = a_graph(*on, names=(*SERVICES, *NODES))
    evidence = an_incident(*(up(name, dies=name in dead) for name in SERVICES), graph=graph)
    hosts = [item for item in find(evidence) if item.mechanism is Mechanism.DEAD_HOST]
    assert [item.entity for item in hosts] == ([suspect] if suspect in NODES else [])
    assert all(says_down(item) for item in hosts)
    if suspect is not None:
        assert first_suspect(evidence) == suspect


def test_a_node_is_suspected_by_what_others_log_of_its_guests() -> None:
    on = [(name, NODES[0], "runs_on") for name in (CART, STOCK, MAIL)]
    calls = [(FRONT, CART, "calls"), (SEARCH, STOCK, "calls"), (PAY, MAIL, "calls")]
    graph = a_graph(*on, *calls, names=(*SERVICES, *NODES))
    callers = {FRONT: "cart", SEARCH: "stock", PAY: "mail"}
    evidence = an_incident(
        *(
            lines(name, {"reply sent": (5, 5), f"call to {callee} failed: connection refused": (0, 20)})
            for name, callee in callers.items()
        ),
        graph=graph,
    )
    [host] = [item for item in find(evidence) if item.mechanism is Mechanism.DEAD_HOST]
    assert host.entity == NODES[0]
    assert {item.mechanism for item in verified([host], claims_of([host], evidence.frames()))} == {Mechanism.DEAD_HOST}


def test_load_from_outside_explains_who_is_busy() -> None:
    graph = a_graph((FRONT, CART, "calls"), (CART, STOCK, "calls"))
    busy = [
        metric(FRONT, "http_requests_count", 100, 900),
        metric(CART, "http_requests_count", 100, 900),
        metric(STOCK, "cpu_utilization", 0.2, 0.93),
    ]
    calm = [metric(name, "http_requests_count", 50, 50) for name in (MAIL, SEARCH, PAY)]
    evidence = an_incident(*busy, *calm, graph=graph)
    [surge] = [item for item in find(evidence) if item.mechanism is Mechanism.LOAD_SURGE]
    assert (surge.entity, surge.fault_kinds) == (FRONT, {FaultKind.TRAFFIC: 1.0})
    assert first_suspect(evidence) == FRONT


def test_what_a_caller_counts_of_a_callee_does_not_enter_at_the_caller() -> None:
    graph = a_graph((FRONT, CART, "calls"))
    counted = [metric(FRONT, 'istio_requests{destination_workload="cart"}', 100, 900)]
    assert [item for item in find(an_incident(*counted, graph=graph)) if item.mechanism is Mechanism.LOAD_SURGE] == []


def test_what_spans_and_lines_of_one_caller_say_of_the_same_calls_counts_once() -> None:
    def told(mechanism: Mechanism, family: FindingFamily, caller: EntityId, strength: float) -> Finding:
        return Finding.model_validate(
            {
                **a_finding(CART, strength).model_dump(),
                "key": f"{family.value}-{caller}",
                "mechanism": mechanism,
                "family": family,
                "caller": caller,
                "strength": strength,
            }
        )

    context = IncidentContext.of(an_incident(graph=a_graph((FRONT, CART, "calls"), (PAY, CART, "calls"))))
    spans = told(Mechanism.ORIGINATING_ERRORS, FindingFamily.TRACE, FRONT, 0.6)
    same = told(Mechanism.LOGGED_FAILED_CALLS, FindingFamily.LOG, FRONT, 0.6)
    other = told(Mechanism.LOGGED_FAILED_CALLS, FindingFamily.LOG, PAY, 0.6)

    def score(*findings: Finding) -> float:
        return next(item.score for item in rank(findings, context) if item.entity == CART)

    assert score(spans, same) == pytest.approx(score(spans))
    assert score(spans, other) > score(spans)
