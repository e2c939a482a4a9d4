"""Claims are evaluated from stored answers by code that did not make them."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.analysis.verification import evaluate
from workflows.contracts.claim import ClaimState
from workflows.contracts.identifiers import ProbeKey
from workflows.contracts.predicate import AllOf, Occurred, Predicate, RowCount, SeriesShift
from workflows.contracts.probe import Window

KEY = ProbeKey("metrics-1")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEFORE = Window(start=NOON - timedelta(minutes=10), end=NOON)
AFTER = Window(start=NOON, end=NOON + timedelta(minutes=10))


def rows(before: list[float], after: list[float]) -> pl.DataFrame:
    moments = [NOON - timedelta(minutes=len(before) - number) for number in range(len(before))]
    moments += [NOON + timedelta(minutes=number) for number in range(len(after))]
    return pl.DataFrame(
        {"metric": ["m"] * len(moments), "ts": moments, "value": [*before, *after], "count": [1] * len(moments)},
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "value": pl.Float64},
    )


def shift(threshold: float, reference: float, **fields: object) -> SeriesShift:
    values: dict[str, object] = {
        "probe_key": KEY,
        "select": {"metric": "m"},
        "column": "value",
        "statistic": "max",
        "before": BEFORE,
        "after": AFTER,
        "direction": "up",
        "threshold": threshold,
        "reference": reference,
        **fields,
    }
    return SeriesShift.model_validate(values)


def state(predicate: Predicate, frame: pl.DataFrame) -> ClaimState:
    return evaluate(predicate, {KEY: frame})[0]


def test_a_true_shift_is_verified_and_a_false_one_contradicted() -> None:
    frame = rows([1, 1, 1], [5, 9, 5])
    assert state(shift(9, 1), frame) is ClaimState.VERIFIED
    assert state(shift(9.5, 1), frame) is ClaimState.CONTRADICTED
    assert state(shift(9, 0.5), frame) is ClaimState.CONTRADICTED


def test_a_fall_is_verified_downwards() -> None:
    frame = rows([5, 5, 5], [5, 0, 0])
    down = shift(0, 5, direction="down", statistic="min")
    assert state(down, frame) is ClaimState.VERIFIED
    assert state(shift(-1, 5, direction="down", statistic="min"), frame) is ClaimState.CONTRADICTED


@pytest.mark.parametrize(
    "predicate",
    [
        shift(1, 1, probe_key=ProbeKey("another")),
        shift(1, 1, column="absent"),
        shift(1, 1, select={"metric": "another"}),
        shift(1, 1, before=Window(start=NOON - timedelta(days=2), end=NOON - timedelta(days=1))),
        AllOf(parts=()),
    ],
)
def test_what_the_answers_do_not_tell_is_unsupported(predicate: Predicate) -> None:
    found, reason = evaluate(predicate, {KEY: rows([1, 1], [2, 2])})
    assert found is ClaimState.UNSUPPORTED
    assert reason


def test_a_ratio_is_summed_before_it_is_divided() -> None:
    frame = rows([1, 1], [2, 4])
    assert state(shift(3, 1, per="count", statistic="mean"), frame) is ClaimState.VERIFIED


def test_counts_and_occurrences() -> None:
    frame = rows([], [1, 1, 1])
    assert state(RowCount(probe_key=KEY, select={}, window=AFTER, at_least=3, at_most=3), frame) is ClaimState.VERIFIED
    assert state(RowCount(probe_key=KEY, select={}, window=AFTER, at_most=2), frame) is ClaimState.CONTRADICTED
    assert state(Occurred(probe_key=KEY, select={"metric": "m"}, at=NOON), frame) is ClaimState.VERIFIED
    late = Occurred(probe_key=KEY, select={"metric": "m"}, at=NOON + timedelta(seconds=1))
    assert state(late, frame) is ClaimState.CONTRADICTED
    assert state(AllOf(parts=(Occurred(probe_key=KEY, select={}, at=NOON), late)), frame) is ClaimState.CONTRADICTED


@given(
    before=st.lists(st.floats(0, 100), min_size=1, max_size=8),
    after=st.lists(st.floats(0, 100), min_size=1, max_size=8),
    claimed=st.floats(0, 100),
)
def test_a_claimed_maximum_holds_exactly_when_it_is_reached(
    before: list[float], after: list[float], claimed: float
) -> None:
    reference = sorted(before)[len(before) // 2] + 1
    verified = state(shift(claimed, reference), rows(before, after)) is ClaimState.VERIFIED
    assert verified == (max(after) >= claimed * (1 - 1e-5))
