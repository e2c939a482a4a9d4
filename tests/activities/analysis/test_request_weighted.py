"""Means weighted by their requests, on numbers made for it."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.graph import Graph
from activities.answers import COLUMNS
from evals.offline import diagnose
from tests.running import an_alert
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.identifiers import Digest, EntityId
from workflows.contracts.probe import MetricProbe, Window

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AS_OF = NOON + timedelta(minutes=10)
STEP = timedelta(minutes=1)
BEFORE = 120
FRONT, BACK, RARE = EntityId("service:front"), EntityId("service:back"), EntityId("service:rare")


def calls(*pairs: tuple[EntityId, EntityId]) -> Graph:
    nodes = [(name, "", "service") for name in (FRONT, BACK, RARE)]
    rows = [(*row, "declared", 1.0) for row in [*nodes, *((a, b, "calls") for a, b in pairs)]]
    return Graph.from_answer(
        pl.DataFrame(rows, schema=["source", "target", "kind", "origin", "confidence"], orient="row")
    )


def course(
    entity: EntityId, *, since: timedelta = timedelta(minutes=1), **series: tuple[float, float]
) -> AnsweredProbe:
    """Two hours of points a minute; each series has a usual level, and another one from `since` before the alert."""
    rows = [
        {
            "metric": name,
            "ts": moment,
            "value": (faulty if moment >= NOON - since else usual) * (1 if name == "up" else 1 + 0.02 * (number % 3)),
        }
        for number in range(BEFORE + 10)
        for name, (usual, faulty) in series.items()
        for moment in [NOON + STEP * (number - BEFORE)]
    ]
    return AnsweredProbe(
        probe=MetricProbe(backend="b", window=Window(start=NOON - timedelta(hours=2), end=AS_OF), entity=entity),
        artifact=Digest("0" * 64),
        rows=pl.DataFrame(rows, schema=COLUMNS["metrics"], orient="row"),
    )


def hypotheses(graph: Graph, *answers: AnsweredProbe) -> list[Hypothesis]:
    evidence = Evidence(alerts=(an_alert(starts_at=NOON),), as_of=AS_OF, answers=answers, graph=graph)
    return list(diagnose(evidence, probes_planned=len(answers)).hypotheses)


def test_a_common_call_a_little_slower_outweighs_a_rare_one_much_slower() -> None:
    found = hypotheses(
        calls((FRONT, BACK), (FRONT, RARE)),
        course(BACK, latency_avg=(0.01, 0.06), requests=(900.0, 900.0)),
        course(RARE, latency_avg=(0.01, 0.12), requests=(20.0, 20.0)),
    )
    assert found[0].entity == BACK
    assert found[0].fault_kind is FaultKind.LATENCY


def test_what_a_callee_loses_is_not_its_callers_own() -> None:
    found = hypotheses(
        calls((FRONT, BACK)),
        course(FRONT, latency_avg=(0.05, 0.15), requests=(500.0, 500.0)),
        course(BACK, latency_avg=(0.01, 0.11), requests=(510.0, 510.0)),
    )
    assert found[0].entity == BACK
    assert not any("own time" in item.reason for item in found[1].supporting)


@pytest.mark.parametrize(("usual", "faulty"), [((100.0), 93.0), (1.0, 0.93)], ids=["percent", "ratio"])
def test_failures_are_counted_in_requests_whatever_their_unit(usual: float, faulty: float) -> None:
    found = hypotheses(
        calls((FRONT, BACK), (FRONT, RARE)),
        course(FRONT, availability_mean=(usual, (usual + faulty) / 2), requests=(900.0, 900.0)),
        course(BACK, availability_mean=(usual, faulty), requests=(900.0, 900.0)),
        course(RARE, availability_mean=(usual, usual / 2), requests=(2.0, 2.0)),
    )
    assert (found[0].entity, found[0].fault_kind) == (BACK, FaultKind.ERROR)


def test_seconds_or_milliseconds_make_no_difference() -> None:
    def ranking(scale: float) -> list[tuple[EntityId | None, float]]:
        found = hypotheses(
            calls((FRONT, BACK), (FRONT, RARE)),
            course(BACK, latency_avg=(0.01 * scale, 0.06 * scale), requests=(900.0, 900.0)),
            course(RARE, latency_avg=(0.01 * scale, 0.12 * scale), requests=(20.0, 20.0)),
        )
        return [(item.entity, round(item.probability, 5)) for item in found]

    assert ranking(1.0) == ranking(1_000.0)


def test_what_had_moved_long_before_is_not_new() -> None:
    found = hypotheses(
        calls((FRONT, BACK), (FRONT, RARE)),
        course(BACK, latency_avg=(0.01, 0.03), requests=(900.0, 900.0)),
        course(RARE, since=timedelta(minutes=50), latency_avg=(0.01, 0.5), requests=(900.0, 900.0)),
    )
    assert found[0].entity == BACK


def test_an_hour_without_any_recording_is_no_onset() -> None:
    """What differs on both sides of a coverage gap may have changed at any time in it."""
    gap = NOON - timedelta(minutes=5)
    answers = [
        course(BACK, latency_avg=(0.01, 0.03), requests=(900.0, 900.0)),
        course(RARE, since=timedelta(minutes=5), latency_avg=(0.01, 0.5), requests=(900.0, 900.0)),
    ]
    torn = [
        AnsweredProbe(
            probe=item.probe,
            artifact=item.artifact,
            rows=item.rows.with_columns(
                ts=pl.when(pl.col("ts") < gap).then(pl.col("ts") - timedelta(hours=5)).otherwise(pl.col("ts"))
            ),
        )
        for item in answers
    ]
    assert hypotheses(calls((FRONT, BACK), (FRONT, RARE)), *torn)[0].entity == BACK


def test_what_a_dead_callee_makes_its_caller_wait_for_is_not_the_callers_own() -> None:
    """No series of the callee counts the calls that it never answered."""
    found = hypotheses(
        calls((FRONT, BACK)),
        course(FRONT, latency_avg=(0.05, 2.0), requests=(500.0, 400.0)),
        course(BACK, latency_avg=(0.01, 0.01), requests=(510.0, 0.0), up=(1.0, 0.0)),
    )
    assert (found[0].entity, found[0].fault_kind) == (BACK, FaultKind.CRASH)


def test_without_a_better_reason_the_time_is_the_callers_own() -> None:
    found = hypotheses(
        calls((FRONT, BACK)),
        course(FRONT, latency_avg=(0.05, 2.0), requests=(500.0, 400.0)),
        course(BACK, latency_avg=(0.01, 0.01), requests=(510.0, 400.0), up=(1.0, 1.0)),
    )
    assert (found[0].entity, found[0].fault_kind) == (FRONT, FaultKind.LATENCY)
