"""Readers turn their format into recordings: clocks as stated, leaks left out, damage named."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from activities.telemetry.recorded import open_bundle
from evals.bundles import write_bundle
from evals.readers import CorpusError, Nezha, RootCauseBench
from workflows.contracts.hypothesis import FaultKind

DAY = datetime(2024, 5, 1, tzinfo=UTC)
INJECTED = DAY + timedelta(hours=3)
POD = "shop-cart-5f6d7c8b9-x2x4z"


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def write_nezha(root: Path) -> Path:
    folder = root / DAY.date().isoformat()
    folder.mkdir(parents=True)
    header = "case_id,system,date,inject_time_utc,root_pod,root_service,fault_type,inner_label"
    row = f"case-1,Shop,{DAY.date()},{INJECTED.isoformat()},{POD},shop-cart,cpu_contention,x"
    (root / "cases.csv").write_text(f"{header}\n{row}\n")
    moments = [INJECTED - timedelta(minutes=5), INJECTED + timedelta(hours=1)]
    pl.DataFrame(
        {
            "TraceID": ["t", "t"],
            "SpanID": ["1", "2"],
            "ParentID": ["root", "1"],
            "PodName": [POD, POD],
            "OperationName": ["op", "op"],
            "StartTimeUnixNano": [nanoseconds(moment) for moment in moments],
            "Duration": [5, 5],
        }
    ).write_parquet(folder / "faults_trace.parquet")
    inner = json.dumps({"severity": "WARNING", "message": "TraceID: aa SpanID: bb low stock"})
    pl.DataFrame(
        {
            "TimeUnixNano": [nanoseconds(moments[0])] * 2,
            "PodName": [POD, POD],
            "TraceID": ["", ""],
            "SpanID": ["", ""],
            "Log": [json.dumps({"log": inner}), json.dumps({"log": "17:30:02.618 INFO  c.Cart#54 added\n"})],
        }
    ).write_parquet(folder / "faults_log.parquet")
    stamps = [f"{moments[0]:%Y-%m-%d %H:%M:%S}.5 +0000 UTC m=+1", "2028-01-01 00:00:00 +0000 UTC"]
    pl.DataFrame({"Time": stamps, "TimeStamp": [1, 2], "PodName": [POD, POD], "CpuUsage(m)": [3.5, 9.0]}).write_parquet(
        folder / "pod_metrics.parquet"
    )
    (folder / "dependency.csv").write_text("Source,Target,Weight\nfront,shop-cart,1\nshop-cart,10.0.0.1,1\n")
    return root


def test_nezhas_clock_and_clean_up(tmp_path: Path) -> None:
    reader = Nezha(write_nezha(tmp_path))
    recording, truth = reader.recording("case-1"), reader.truth("case-1")
    delay = recording.alert.starts_at - INJECTED
    assert timedelta(seconds=60) <= delay <= timedelta(seconds=120)
    assert recording.as_of == recording.visible.end == recording.alert.starts_at + timedelta(seconds=60)
    assert recording.alert.entity is None
    assert "case" not in recording.bundle_id
    assert "cart" not in recording.alert.model_dump_json()
    assert (truth.entity, truth.fault_kind) == ("service:shop-cart", FaultKind.CPU)
    assert recording.logs is not None
    assert set(recording.logs.select("severity", "message").rows()) == {
        ("warning", "low stock"),
        ("info", "c.Cart#54 added"),
    }
    assert recording.metrics is not None
    assert recording.metrics["value"].to_list() == [3.5], "a stray day is left out"
    assert recording.topology is not None
    assert {edge.kind.value for edge in recording.topology.edges} == {"calls", "runs_on"}
    manifest = write_bundle(recording, tmp_path / "out")
    assert manifest.traces is not None
    assert manifest.traces.rows == 1, "what came after the visible window is not written"
    assert open_bundle(tmp_path / "out").manifest == manifest


def test_nezhas_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"cases\.csv"):
        Nezha(tmp_path)
    root = write_nezha(tmp_path)
    with pytest.raises(CorpusError, match="no case absent"):
        Nezha(root).recording("absent")
    (root / DAY.date().isoformat() / "faults_log.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match="case-1"):
        Nezha(root).recording("case-1")


def write_benchmark(root: Path) -> Path:
    folder = root / "some-case"
    (folder / "context").mkdir(parents=True)
    fired = "2026-06-19T10:25:00Z"
    alert = {
        "service": "pay",
        "metric": "errors",
        "threshold": 0.02,
        "observed": 0.7,
        "fired_at": fired,
        "severity": "critical",
        "summary": "the commit abc broke it",
    }
    truth = {"root_cause_commit": "abc", "first_failing_service": "pay", "notes": "leak"}
    spans = [
        {
            "trace_id": "t",
            "span_id": "1",
            "parent_id": None,
            "service": "pay",
            "name": "charge",
            "start": "2026-06-19T10:20:00Z",
            "duration_ms": 2,
            "status": "ERROR",
        }
    ]
    commits = [
        {
            "sha": "abc",
            "timestamp": "2026-06-19T10:00:00Z",
            "message": "refactor: charge",
            "files_changed": ["a.go"],
            "diff": "- x",
        }
    ]
    deploys = [{"timestamp": "2026-06-19T10:10:00Z", "service": "pay", "commit_sha": "abc", "version": "v1"}]
    for name, value in {
        "alert": alert,
        "ground_truth": truth,
        "traces": spans,
        "context/commits": commits,
        "context/deploys": deploys,
        "context/flags": [],
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    (folder / "metrics.csv").write_text(
        "timestamp,service,metric,value\n2026-06-19T10:20:00Z,pay,errors,0.5\n2026-06-19T10:30:00Z,pay,errors,0.9\n"
    )
    (folder / "logs.ndjson").write_text(
        '{"timestamp": "2026-06-19T10:20:00Z", "service": "pay", "severity_text": "ERROR", "msg": "panic"}\n'
    )
    return root


def test_rootcausebench_is_cut_at_the_alert_and_tells_no_cause(tmp_path: Path) -> None:
    reader = RootCauseBench(write_benchmark(tmp_path))
    recording, truth = reader.recording("some-case"), reader.truth("some-case")
    assert "abc" not in recording.alert.model_dump_json()
    assert truth.change_id == "abc"
    manifest = write_bundle(recording, tmp_path / "out")
    assert manifest.metrics is not None
    assert manifest.metrics.rows == 1
    assert recording.changes is not None
    assert recording.changes[0].target == "service:pay"


def test_rootcausebench_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError):
        RootCauseBench(tmp_path)
    root = write_benchmark(tmp_path)
    (root / "some-case" / "traces.json").write_text("{")
    with pytest.raises(CorpusError, match="some-case"):
        RootCauseBench(root).recording("some-case")
