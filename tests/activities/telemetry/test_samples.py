"""Samples stand for what they were taken of: as many, as often, at the right times."""

from datetime import UTC, datetime, timedelta

import polars as pl

from activities.telemetry.lines import COUNTS, LINES, LineReduction
from activities.telemetry.lines import Sample as LineSample
from activities.telemetry.spans import SPANS, Sample, SpanReduction, tiled
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import LogProbe, TraceProbe, Window

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
A, B = EntityId("service:a"), EntityId("service:b")


def window(seconds: float, end: datetime = NOW) -> Window:
    return Window(start=end - timedelta(seconds=seconds), end=end)


def requests(count: int, spacing_s: float, *, error: bool = False) -> pl.DataFrame:
    """So many requests of two spans, the latest just before now."""
    rows: list[tuple[object, ...]] = []
    for number in range(count):
        at = NOW - timedelta(seconds=(number + 0.5) * spacing_s)
        rows.append((at, 10_000, f"t{number}", "1", "", A, "GET /", B, error))
        rows.append((at + timedelta(milliseconds=1), 8_000, f"t{number}", "2", "1", B, "serve", None, error))
    return pl.DataFrame(rows, schema=SPANS, orient="row")


def test_all_traces_stay_as_they_are() -> None:
    spans = requests(20, 1.0)
    found, times = tiled(Sample(window=window(60), spans=spans, whole=True))
    assert found.equals(spans)
    assert times == 1


def test_the_latest_traces_stand_for_the_whole_part() -> None:
    """20 requests of the last 10 s out of a minute: 120 in all, evenly spread, each trace whole."""
    found, times = tiled(Sample(window=window(60), spans=requests(20, 0.5), whole=False))
    assert 5.9 <= times <= 6.3
    traces = found.group_by("trace_id").agg(pl.len(), pl.col("ts").min())
    assert 115 <= traces.height <= 125
    assert set(traces["len"]) == {2}
    assert found["ts"].min() >= NOW - timedelta(seconds=60)  # type: ignore[operator]
    counts = traces.sort("ts").group_by_dynamic("ts", every="10s").agg(pl.len())
    assert counts["len"].min() >= 18  # type: ignore[operator]


def test_failed_traces_keep_their_number_beside_sampled_ordinary_ones() -> None:
    part = window(60)
    spans = requests(3, 5.0, error=True).with_columns(trace_id=pl.format("f{}", "trace_id"))
    failed = Sample(window=part, spans=spans, whole=True)
    ordinary = Sample(window=part, spans=requests(20, 0.5), whole=False)
    reduction = SpanReduction([failed, ordinary], part)
    try:
        answer = reduction.answer(TraceProbe(backend="s", window=part, entity=A), [])
        assert answer.status is ObservationStatus.OK
        assert answer.rows is not None
        assert answer.rows["errors"].sum() == 3
        assert 118 <= answer.rows["count"].sum() <= 128
        assert reduction.share < 0.25
    finally:
        reduction.close()


def lines(count: int, message: str, severity: str, spacing_s: float) -> pl.DataFrame:
    rows = [(NOW - timedelta(seconds=(n + 0.5) * spacing_s), A, severity, message, "", "") for n in range(count)]
    return pl.DataFrame(rows, schema=LINES, orient="row")


def test_sampled_lines_are_spread_as_all_lines_were_counted() -> None:
    part = window(60)
    sampled = pl.concat([lines(40, "served request", "info", 0.1), lines(10, "cache miss", "info", 0.4)])
    severe = lines(2, "charge failed", "error", 20.0)
    counts = [(A, "info", NOW - timedelta(seconds=10 * (n + 1)), 1_000.0) for n in range(6)]
    counts += [(A, "error", NOW - timedelta(seconds=10), 1.0), (A, "error", NOW - timedelta(seconds=30), 1.0)]
    reduction = LineReduction(
        [LineSample(window=part, lines=pl.concat([sampled, severe]), whole=False)],
        pl.DataFrame(counts, schema=COUNTS, orient="row"),
    )
    try:
        answer = reduction.answer(LogProbe(backend="s", window=part, entity=A), part, [])
    finally:
        reduction.close()
    assert answer.rows is not None
    total = dict(answer.rows.group_by("template").agg(pl.col("count").sum()).iter_rows())
    assert total == {"served request": 4_800, "cache miss": 1_200, "charge failed": 2}
    assert answer.status is ObservationStatus.OK
    buckets = answer.rows.filter(pl.col("template") == "served request")["ts"].n_unique()
    assert buckets == 6


def test_an_entity_without_a_sampled_line_is_still_counted() -> None:
    part = window(60)
    counts = [(B, "info", NOW - timedelta(seconds=10), 70.0)]
    reduction = LineReduction(
        [LineSample(window=part, lines=lines(5, "x", "info", 1.0), whole=False)],
        pl.DataFrame(counts, schema=COUNTS, orient="row"),
    )
    try:
        answer = reduction.answer(LogProbe(backend="s", window=part, entity=B), part, ["one part is missing"])
    finally:
        reduction.close()
    assert answer.rows is not None
    assert answer.rows["count"].to_list() == [70]
    assert answer.status is ObservationStatus.TRUNCATED
    assert "one part is missing" in answer.detail
