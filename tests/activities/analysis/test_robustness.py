"""Recorded incidents, damaged: the cause stays in place or the confidence falls."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from activities.analysis.evidence import TELEMETRY, AnsweredProbe, Evidence
from activities.analysis.graph import Graph
from activities.answers import COLUMNS
from evals.offline import diagnose, evidence_of
from tests.conftest import recorded
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.identifiers import Digest, EntityId
from workflows.contracts.probe import MetricProbe, entity_of

CASES = {"bad_deploy": "service:payment", "row_lock": "database:shopdb", "memory_leak": "service:recommend"}
BYSTANDERS = 1_000
FAR = timedelta(days=200, hours=7)


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[str, Evidence]:
    return CASES[request.param], evidence_of(recorded(request.param))[0]


def hypotheses(evidence: Evidence) -> list[Hypothesis]:
    return list(diagnose(evidence, probes_planned=len(evidence.answers)).hypotheses)


def with_rows(evidence: Evidence, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Evidence:
    """Every answer with a course in time, changed."""
    answers = tuple(
        replace(item, rows=change(item.rows)) if item.probe.tool in TELEMETRY else item for item in evidence.answers
    )
    return replace(evidence, answers=answers)


def in_place_or_less_sure(before: list[Hypothesis], after: list[Hypothesis], cause: str) -> bool:
    return after[0].entity == cause or after[0].probability <= before[0].probability


def test_a_third_of_the_samples_lost(case: tuple[str, Evidence]) -> None:
    cause, evidence = case
    holed = with_rows(evidence, lambda rows: rows.sample(fraction=0.67, seed=5) if "metric" in rows.columns else rows)
    assert hypotheses(holed)[0].entity == cause


def test_the_thousand_bystanders(case: tuple[str, Evidence]) -> None:
    """Healthy, noisy, and many: each has moments that are its worst so far."""
    cause, evidence = case
    rng = np.random.default_rng(11)
    moments = pl.datetime_range(evidence.window.start, evidence.as_of, "15s", eager=True, closed="left")
    noise = []
    for number in range(BYSTANDERS):
        entity = EntityId(f"service:bystander-{number}")
        values = rng.lognormal(0.0, 0.3, len(moments))
        rows = pl.DataFrame({"metric": "cpu_usage", "ts": moments, "value": values}).cast(COLUMNS["metrics"])
        probe = MetricProbe(backend="b", window=evidence.window, entity=entity)
        noise.append(AnsweredProbe(probe=probe, artifact=Digest("0" * 64), rows=rows))
    crowded = replace(evidence, answers=(*evidence.answers, *noise))
    assert hypotheses(crowded)[0].entity == cause


def test_another_time_zone_and_year(case: tuple[str, Evidence]) -> None:
    _, evidence = case
    moved = replace(
        with_rows(evidence, lambda rows: rows.with_columns(pl.col("ts") + FAR)),
        alerts=tuple(item.model_copy(update={"starts_at": item.starts_at + FAR}) for item in evidence.alerts),
        as_of=evidence.as_of + FAR,
    )
    without_changes = replace(
        evidence, answers=tuple(item for item in evidence.answers if item.probe.tool in TELEMETRY)
    )
    moved = replace(moved, answers=tuple(item for item in moved.answers if item.probe.tool in TELEMETRY))
    first, second = hypotheses(without_changes), hypotheses(moved)
    assert [(item.entity, item.fault_kind) for item in first] == [(item.entity, item.fault_kind) for item in second]
    assert [item.probability for item in first] == pytest.approx([item.probability for item in second], abs=1e-6)


def test_no_topology(case: tuple[str, Evidence]) -> None:
    cause, evidence = case
    before = hypotheses(evidence)
    after = hypotheses(replace(evidence, graph=Graph(kinds=evidence.graph.kinds)))
    assert in_place_or_less_sure(before, after, cause)
    assert cause in [item.entity for item in after[:3]]


def test_one_service_only(case: tuple[str, Evidence]) -> None:
    cause, evidence = case
    own = tuple(item for item in evidence.answers if entity_of(item.probe) in (cause, None))
    after = hypotheses(replace(evidence, answers=own, graph=Graph(kinds={EntityId(cause): "service"})))
    assert after[0].entity in (cause, None)


def test_without_a_baseline_nobody_is_named_wrongly(case: tuple[str, Evidence]) -> None:
    """What was recorded only since the fault shows no change: no crash, and no more certainty than with a history."""
    cause, evidence = case
    start = evidence.alert_at - timedelta(seconds=30)
    before = hypotheses(evidence)
    after = hypotheses(with_rows(evidence, lambda rows: rows.filter(pl.col("ts") >= start)))
    assert in_place_or_less_sure(before, after, cause)


def test_constant_series_say_nothing(case: tuple[str, Evidence]) -> None:
    _, evidence = case
    flat = with_rows(
        evidence,
        lambda rows: rows.with_columns(value=pl.lit(1.0)) if "metric" in rows.columns else rows.clear(),
    )
    found = hypotheses(replace(flat, answers=tuple(item for item in flat.answers if item.probe.tool in TELEMETRY)))
    assert found[0].entity is None


def test_every_row_twice(case: tuple[str, Evidence]) -> None:
    """Duplicated telemetry doubles every count on both sides."""
    cause, evidence = case
    doubled = with_rows(evidence, lambda rows: pl.concat([rows, rows]))
    assert hypotheses(doubled)[0].entity == cause


@pytest.mark.parametrize("seconds", [-90, 90])
def test_an_alert_that_came_early_or_late(case: tuple[str, Evidence], seconds: int) -> None:
    cause, evidence = case
    moved = tuple(
        item.model_copy(update={"starts_at": min(evidence.as_of, item.starts_at + timedelta(seconds=seconds))})
        for item in evidence.alerts
    )
    assert hypotheses(replace(evidence, alerts=moved))[0].entity == cause


def test_one_minute_of_history(case: tuple[str, Evidence]) -> None:
    """The lab's alerts come within a quarter of a minute of the fault."""
    cause, evidence = case
    start = evidence.alert_at - timedelta(seconds=75)
    before = hypotheses(evidence)
    after = hypotheses(with_rows(evidence, lambda rows: rows.filter(pl.col("ts") >= start)))
    assert in_place_or_less_sure(before, after, cause)
    assert cause in [item.entity for item in after[:3]]


def test_units_do_not_matter(case: tuple[str, Evidence]) -> None:
    """A mean duration in milliseconds, named so: the same ranking, probabilities included."""
    _, evidence = case
    name = pl.col("metric").cast(pl.String)
    in_seconds = name.str.contains("duration_seconds_mean")

    def converted(rows: pl.DataFrame) -> pl.DataFrame:
        if "metric" not in rows.columns:
            return rows
        return rows.with_columns(
            value=pl.when(in_seconds).then(pl.col("value") * 1_000).otherwise("value"),
            metric=name.str.replace("duration_seconds_mean", "duration_milliseconds_mean"),
        )

    first, second = hypotheses(evidence), hypotheses(with_rows(evidence, converted))
    assert [(item.entity, item.fault_kind) for item in first] == [(item.entity, item.fault_kind) for item in second]
    assert [item.probability for item in first] == pytest.approx([item.probability for item in second], abs=1e-3)


@pytest.mark.parametrize("name", sorted(CASES))
def test_clocks_that_differ_by_two_seconds(name: str, tmp_path: Path) -> None:
    """Every second service reports its spans two seconds late."""
    cause = EntityId(CASES[name])
    bundle = shutil.copytree(recorded(name), tmp_path / "skewed")
    spans = pl.read_parquet(bundle / "traces.parquet")
    late = spans["entity"].unique().sort().gather_every(2).to_list()
    skewed = spans.with_columns(
        ts=pl.when(pl.col("entity").is_in(late)).then(pl.col("ts") + timedelta(seconds=2)).otherwise("ts")
    )
    skewed.write_parquet(bundle / "traces.parquet")
    before = hypotheses(evidence_of(recorded(name))[0])
    after = hypotheses(evidence_of(bundle)[0])
    assert in_place_or_less_sure(before, after, cause)
    assert cause in [item.entity for item in after[:3]]
