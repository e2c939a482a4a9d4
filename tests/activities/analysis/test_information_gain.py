"""Which queries are worth running next: gains are those of information theory, and say what an engineer would do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.analysis.graph import Graph
from activities.analysis.information_gain import first_look, mutual_information, worth, worth_running
from activities.analysis.parameters import DEFAULT
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import ChangeProbe, LogProbe, MetricProbe, Probe, TraceProbe, Window

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(start=AS_OF - timedelta(hours=1), end=AS_OF)
SHOP, CART, STORE, FAR = (EntityId(f"service:{name}") for name in ("shop", "cart", "store", "far"))
CALLS = Graph(
    kinds=dict.fromkeys((SHOP, CART, STORE, FAR), "service"),
    callees={SHOP: frozenset((CART,)), CART: frozenset((STORE,))},
    callers={CART: frozenset((SHOP,)), STORE: frozenset((CART,))},
)
shares = st.floats(0, 1)


def traces(name: EntityId) -> Probe:
    return TraceProbe(backend="recorded", window=WINDOW, entity=name, expected_cost=2)


def metrics(name: EntityId) -> Probe:
    return MetricProbe(backend="recorded", window=WINDOW, entity=name)


def logs(name: EntityId) -> Probe:
    return LogProbe(backend="recorded", window=WINDOW, entity=name, expected_cost=3)


def ranking(**probabilities: float) -> list[Hypothesis]:
    rows = [
        Hypothesis(
            rank=number, entity=EntityId(f"service:{name}"), fault_kind=FaultKind.ERROR, mechanism="", probability=p
        )
        for number, (name, p) in enumerate(probabilities.items(), start=1)
    ]
    left = 1 - sum(probabilities.values())
    none = Hypothesis(rank=9, entity=None, fault_kind=FaultKind.UNKNOWN, mechanism="", probability=left)
    return [*rows, none]


@given(shares, shares, shares)
def test_a_gain_is_never_negative_nor_above_what_is_unknown(
    share: float, sensitivity: float, false_sign: float
) -> None:
    gain = mutual_information(share, sensitivity, false_sign)
    assert 0 <= gain <= mutual_information(share, 1, 0) + 1e-9


def test_a_certain_or_meaningless_query_tells_nothing() -> None:
    assert mutual_information(0.5, 1, 0) == pytest.approx(1)
    assert mutual_information(1, 0.7, 0.1) == mutual_information(0, 0.7, 0.1) == 0
    assert mutual_information(0.5, 0.4, 0.4) == pytest.approx(0)


def test_the_first_look_sees_everything_once_and_what_alerts_in_full() -> None:
    changes = ChangeProbe(backend="recorded", window=WINDOW)
    plan = [changes, *(probe(name) for name in (SHOP, CART) for probe in (traces, metrics, logs)), metrics(FAR)]
    first, left = first_look(plan, {SHOP})
    assert first == [changes, traces(SHOP), metrics(SHOP), logs(SHOP), traces(CART), metrics(FAR)]
    assert left == [metrics(CART), logs(CART)]


def test_what_nobody_recorded_is_asked_for_once() -> None:
    plan = [probe(name) for name in (SHOP, CART) for probe in (traces, metrics, logs)]
    first, left = first_look(plan, (), absent={"traces", "logs"})
    assert first == [traces(SHOP), metrics(SHOP), logs(SHOP), metrics(CART)]
    assert left == []


def test_what_a_suspect_calls_comes_before_what_it_does_not_call() -> None:
    valued = worth(
        [metrics(CART), metrics(FAR)],
        ranking(shop=0.9),
        (),
        answered=dict.fromkeys((traces(name) for name in (SHOP, CART, FAR)), 1),
        alerting={SHOP},
        graph=CALLS,
    )
    assert [item.probe for item in valued] == [metrics(CART), metrics(FAR)]
    assert valued[0].gain > 2 * valued[1].gain


def test_two_suspects_are_told_apart_first() -> None:
    valued = worth(
        [logs(name) for name in (FAR, STORE, CART)],
        ranking(cart=0.5, store=0.45),
        (),
        answered=dict.fromkeys((traces(name) for name in (SHOP, CART, STORE, FAR)), 1),
        alerting={SHOP},
        graph=CALLS,
    )
    assert {item.probe for item in valued[:2]} == {logs(CART), logs(STORE)}


def test_of_two_that_tell_as_much_the_cheaper_comes_first() -> None:
    alike = replace(DEFAULT, sensitivity_logs=DEFAULT.sensitivity_metrics)
    valued = worth(
        [logs(CART), metrics(CART), metrics(FAR)],
        ranking(cart=0.5),
        (),
        answered={},
        alerting=(),
        graph=CALLS,
        parameters=alike,
    )
    order = [item.probe for item in valued]
    assert order.index(metrics(CART)) < order.index(logs(CART))


def test_what_was_silent_so_far_comes_last() -> None:
    names = (CART, FAR, STORE, SHOP)
    answered = {traces(name): 0 if name == CART else 3 for name in names}
    valued = worth([metrics(name) for name in names], ranking(), (), answered=answered, alerting=(), graph=CALLS)
    assert valued[-1].probe == metrics(CART)


def test_when_one_suspect_is_certain_nothing_is_worth_running() -> None:
    valued = worth([metrics(FAR)], ranking(store=0.999), (), answered={traces(STORE): 1}, alerting=(), graph=CALLS)
    assert worth_running(valued, planned=100) == []


def test_a_look_takes_no_more_than_its_share() -> None:
    names = [EntityId(f"service:s{number:03}") for number in range(100)]
    graph = Graph(kinds=dict.fromkeys(names, "service"))
    valued = worth([metrics(name) for name in names], ranking(), (), answered={}, alerting=(), graph=graph)
    looked = worth_running(valued, planned=100)
    assert len(looked) == int(DEFAULT.look_share * 100)
    assert looked == valued[: len(looked)]
    assert worth_running([], planned=100) == []


@given(st.permutations([probe(name) for name in (SHOP, CART, STORE, FAR) for probe in (metrics, logs)]))
def test_the_choice_does_not_depend_on_the_order_of_the_menu(menu: list[Probe]) -> None:
    def chosen(listed: list[Probe]) -> list[str]:
        valued = worth(
            listed, ranking(cart=0.4, store=0.3), (), answered={traces(CART): 1}, alerting={SHOP}, graph=CALLS
        )
        return [item.probe.key for item in valued]

    assert chosen(menu) == chosen(sorted(menu, key=lambda probe: probe.key))
