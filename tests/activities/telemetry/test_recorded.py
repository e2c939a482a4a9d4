"""The recorded backend answers as a live one would have: clamped, typed, never inventing."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from activities.answers import COLUMNS, decode, encode
from activities.telemetry.backend import Answer, run_probe
from activities.telemetry.recorded import BundleError, RecordedBackend, open_bundle
from activities.telemetry.series import rates
from evals.bundles import Recording, write_bundle
from tests.running import an_alert, check
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe, LogProbe, MetricProbe, Probe, TopologyProbe, TraceProbe, Window

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
A, B = EntityId("service:a"), EntityId("service:b")
DAY = Window(start=NOON - timedelta(days=1), end=NOON + timedelta(days=1))


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def span(start: float, ms: float, ids: tuple[str, str, str], entity: str, **fields: object) -> dict[str, object]:
    trace, own, parent = ids
    return {
        "ts": at(start),
        "duration_us": round(ms * 1000),
        "trace_id": trace,
        "span_id": own,
        "parent_span_id": parent,
        "entity": entity,
        "operation": "op",
        "peer": "",
        "error": False,
        **fields,
    }


def write(tmp_path: Path, **modalities: object) -> Path:
    recording = Recording(
        bundle_id="b1",
        alert=an_alert(),
        visible=VisibleWindow(start=NOON - timedelta(minutes=10), end=NOON),
        as_of=NOON,
        **modalities,  # type: ignore[arg-type]
    )
    write_bundle(recording, tmp_path / "b1")
    return tmp_path / "b1"


def answer(folder: Path, probe: Probe) -> Answer:
    backend = RecordedBackend(open_bundle(folder))
    try:
        return run_probe(backend, probe)
    finally:
        backend.close()


def rows_of(found: Answer) -> list[dict[str, object]]:
    assert found.rows is not None
    return found.rows.to_dicts()


def test_a_modality_that_is_not_there_is_not_recorded(tmp_path: Path) -> None:
    folder = write(tmp_path)
    for probe in (MetricProbe, LogProbe, TraceProbe):
        assert answer(folder, probe(backend="r", window=DAY, entity=A)).status is ObservationStatus.NOT_RECORDED
    assert answer(folder, ChangeProbe(backend="r", window=DAY)).status is ObservationStatus.NOT_RECORDED


def test_nothing_outside_of_the_visible_window_is_answered(tmp_path: Path) -> None:
    change = Change(id="late", at=at(1), kind=ChangeKind.DEPLOY, title="t")
    metrics = pl.DataFrame({"ts": [at(-60), at(-1)], "entity": [A, A], "metric": ["m", "m"], "value": [1.0, 2.0]})
    folder = write(tmp_path, metrics=metrics, changes=[change])
    # Rows after the window are put into the file behind the writer's back, as another producer might.
    late = pl.concat([metrics, metrics.with_columns(ts=pl.lit(at(30)).cast(pl.Datetime("us", "UTC")))])
    late.select(pl.col("ts").cast(pl.Datetime("us", "UTC")), "entity", "metric", "value").write_parquet(
        folder / "metrics.parquet"
    )
    found = answer(folder, MetricProbe(backend="r", window=DAY, entity=A))
    assert [row["value"] for row in rows_of(found)] == [1.0, 2.0]
    assert found.coverage is not None
    assert found.coverage.window.end == NOON
    assert answer(folder, ChangeProbe(backend="r", window=DAY)).status is ObservationStatus.EMPTY
    future = Window(start=at(1), end=at(60))
    assert answer(folder, MetricProbe(backend="r", window=future, entity=A)).status is ObservationStatus.NOT_RECORDED


def test_a_span_that_has_not_ended_is_not_visible(tmp_path: Path) -> None:
    spans = pl.DataFrame([span(-20, 10, ("t", "1", ""), A), span(-1, 5_000, ("t", "2", ""), A)])
    found = answer(write(tmp_path, traces=spans), TraceProbe(backend="r", window=DAY, entity=A))
    assert sum(int(str(row["count"])) for row in rows_of(found)) == 1


def test_self_time_is_the_part_no_child_covers(tmp_path: Path) -> None:
    spans = pl.DataFrame(
        [
            span(-20, 100, ("t", "1", ""), A, operation="outer"),
            span(-19.99, 30, ("t", "2", "1"), A, operation="inner"),
            span(-19.98, 30, ("t", "3", "1"), A, operation="inner"),
        ]
    )
    found = answer(write(tmp_path, traces=spans), TraceProbe(backend="r", window=DAY, entity=A))
    outer = next(row for row in rows_of(found) if row["operation"] == "outer")
    assert outer["self_us"] == 60_000, "the children overlap by 20 ms"


def test_time_on_the_way_belongs_to_the_edge(tmp_path: Path) -> None:
    spans = pl.DataFrame(
        [
            span(-20, 50, ("t", "1", ""), A, operation="GET b", peer=B),
            span(-19.99, 20, ("t", "2", "1"), B, operation="serve"),
        ]
    )
    folder = write(tmp_path, traces=spans)
    served = rows_of(answer(folder, TraceProbe(backend="r", window=DAY, entity=B)))[0]
    called = rows_of(answer(folder, TraceProbe(backend="r", window=DAY, entity=A)))[0]
    assert (served["caller"], served["gap_us"], served["self_us"]) == (A, 30_000, 20_000)
    assert called["self_us"] == 0
    assert not called["unanswered"]


def test_a_call_without_an_answer_and_an_error_of_its_own(tmp_path: Path) -> None:
    spans = pl.DataFrame(
        [
            span(-20, 50, ("t", "1", ""), A, operation="serve", error=True),
            span(-19.99, 20, ("t", "2", "1"), A, operation="GET b", peer=B, error=True),
        ]
    )
    found = {
        str(row["operation"]): row
        for row in rows_of(answer(write(tmp_path, traces=spans), TraceProbe(backend="r", window=DAY, entity=A)))
    }
    assert found["GET b"]["unanswered"]
    assert (found["GET b"]["originating_errors"], found["serve"]["originating_errors"], found["serve"]["errors"]) == (
        1,
        0,
        1,
    )


def test_duplicated_spans_count_once_and_cycles_end(tmp_path: Path) -> None:
    one = span(-20, 10, ("t", "1", ""), A)
    cycle = [span(-20, 10, ("u", "1", "2"), A), span(-20, 10, ("u", "2", "1"), A)]
    found = answer(
        write(tmp_path, traces=pl.DataFrame([one, one, *cycle])), TraceProbe(backend="r", window=DAY, entity=A)
    )
    assert sum(int(str(row["count"])) for row in rows_of(found)) == 3


def test_lines_are_masked_and_counted(tmp_path: Path) -> None:
    texts = ["took 12 ms", "took 7 ms", "id 6f1c2a34-0000-4000-8000-0123456789ab", "at Route#53 now"]
    logs = pl.DataFrame(
        {
            "ts": [at(-5)] * 4,
            "entity": [A] * 4,
            "severity": ["INFO"] * 4,
            "message": texts,
            "trace_id": [""] * 4,
            "span_id": [""] * 4,
        }
    )
    found = rows_of(answer(write(tmp_path, logs=logs), LogProbe(backend="r", window=DAY, entity=A)))
    assert {(str(row["template"]), row["count"]) for row in found} == {
        ("took <*> ms", 2),
        ("id <*>", 1),
        ("at Route#53 now", 1),
    }
    assert {row["severity"] for row in found} == {"info"}


def test_lines_of_a_request_are_told_with_the_line_before(tmp_path: Path) -> None:
    logs = pl.DataFrame(
        {
            "ts": [at(-5), at(-4), at(-3), at(-2), at(-1)],
            "entity": [A] * 5,
            "severity": ["info"] * 5,
            "message": ["asked 1", "asked 2", "served 1", "served 2", "swept"],
            "trace_id": ["t", "t", "t", "t", ""],
            "span_id": ["s1", "s2", "s1", "s2", ""],
        }
    )
    probe = LogProbe(backend="r", window=DAY, entity=A)
    found = {
        (row["template"], row["after"], row["count"]) for row in rows_of(answer(write(tmp_path, logs=logs), probe))
    }
    assert found == {("asked <*>", "", 2), ("served <*>", "asked <*>", 2), ("swept", None, 1)}
    (tmp_path / "without").mkdir()
    bare = write(tmp_path / "without", logs=logs)
    pl.read_parquet(bare / "logs.parquet").drop("trace_id", "span_id").write_parquet(bare / "logs.parquet")
    assert {row["after"] for row in rows_of(answer(bare, probe))} == {None}


def test_more_rows_than_allowed_are_truncated_with_their_coverage(tmp_path: Path) -> None:
    logs = pl.DataFrame(
        {
            "ts": [at(-5)] * 30,
            "entity": [A] * 30,
            "severity": ["info"] * 30,
            "message": [f"word{'x' * number}" for number in range(30)],
            "trace_id": [""] * 30,
            "span_id": [""] * 30,
        }
    )
    found = answer(write(tmp_path, logs=logs), LogProbe(backend="r", window=DAY, entity=A, max_rows=10))
    assert found.status is ObservationStatus.TRUNCATED
    assert len(rows_of(found)) == 10


def test_values_that_are_no_numbers_are_left_out_and_told(tmp_path: Path) -> None:
    values = [1.0, float("nan"), float("inf"), 2.0]
    metrics = pl.DataFrame(
        {"ts": [at(-n) for n in (4, 3, 2, 1)], "entity": [A] * 4, "metric": ["m"] * 4, "value": values}
    )
    found = answer(write(tmp_path, metrics=metrics), MetricProbe(backend="r", window=DAY, entity=A))
    assert [row["value"] for row in rows_of(found)] == [1.0, 2.0]
    assert "2 values" in found.detail


@pytest.mark.parametrize("name", ["x'; DROP TABLE metrics; --", "$(reboot)", "a\u202eb"])
def test_names_are_data(tmp_path: Path, name: str) -> None:
    entity = EntityId(f"service:{name}")
    metrics = pl.DataFrame({"ts": [at(-1)], "entity": [entity], "metric": [name], "value": [1.0]})
    folder = write(tmp_path, metrics=metrics)
    assert rows_of(answer(folder, MetricProbe(backend="r", window=DAY, entity=entity)))[0]["metric"] == name
    names = {row["source"] for row in rows_of(answer(folder, TopologyProbe(backend="r", window=DAY)))}
    assert entity in names


def test_answers_survive_their_bytes(tmp_path: Path) -> None:
    spans = pl.DataFrame([span(-20, 10, ("t", "1", ""), A)])
    found = answer(write(tmp_path, traces=spans), TraceProbe(backend="r", window=DAY, entity=A))
    assert found.rows is not None
    assert found.rows.schema == COLUMNS["traces"]
    assert decode(encode(found.rows)).equals(found.rows)
    assert encode(found.rows) == encode(found.rows.clone())


def damaged(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", "..", ""])
def test_a_manifest_cannot_name_a_path(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path)
    damaged(folder, alert={"file": name, "rows": 1, "sha256": "0" * 64})
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_bundle(folder)


def test_a_link_that_leads_out_is_rejected(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "alert.json").unlink()
    (folder / "alert.json").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="not a regular file"):
        open_bundle(folder)


def test_damaged_files_are_named_with_a_remedy(tmp_path: Path) -> None:
    metrics = pl.DataFrame({"ts": [at(-1)], "entity": [A], "metric": ["m"], "value": [1.0]})
    folder = write(tmp_path, metrics=metrics)
    path = folder / "metrics.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match=r"metrics\.parquet.*Copy or write") as caught:
        check(folder)
    assert caught.value.remedy
    metrics.with_columns(value=pl.lit("text")).write_parquet(path)
    with pytest.raises(BundleError, match=r"column ts|column value"):
        check(folder)
    (folder / "alert.json").write_text("[" * 100_000)
    with pytest.raises(BundleError, match=r"alert\.json"):
        open_bundle(folder)
    (folder / "alert.json").write_bytes(b" " * 5_000_000)
    with pytest.raises(BundleError, match="5,000,000 bytes"):
        open_bundle(folder)


def test_the_backend_opens_nothing_but_its_bundle(tmp_path: Path) -> None:
    folder = write(tmp_path, metrics=pl.DataFrame({"ts": [at(-1)], "entity": [A], "metric": ["m"], "value": [1.0]}))
    outside = tmp_path / "truth.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(outside)
    backend = RecordedBackend(open_bundle(folder))
    with pytest.raises(BundleError, match="Permission"):
        backend._database.fetch("SELECT * FROM read_parquet($file)", {"file": str(outside)}, file=outside)
    backend.close()


def test_a_counter_that_starts_again_loses_nothing_and_makes_no_spike() -> None:
    """As Prometheus: after a reset, what the counter shows is what it grew by."""
    values = [100.0, 110.0, 120.0, 5.0, 15.0]
    samples = pl.DataFrame(
        {"metric": ["served_total"] * 5, "ts": [NOON + timedelta(seconds=10 * n) for n in range(5)], "value": values}
    )
    found = rates(samples, frozenset(("served_total",)))
    assert found["metric"].unique().to_list() == ["rate(served_total)"]
    assert found["value"].to_list() == [1.0, 1.0, 0.5, 1.0]
