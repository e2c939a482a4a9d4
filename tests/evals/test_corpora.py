"""PetShop, OpenRCA Market and OpenSRE: small corpora of their formats, with their leaks, their traps and damage."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.telemetry.recorded import open_bundle
from evals.bundles import Recording, write_bundle
from evals.readers import READERS, CorpusError, OpenRcaMarket, OpenSre, PetShop, Reader
from tests.evals.test_readers import write_benchmark, write_nezha
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EdgeKind

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
NODES = ("front::App", "search::App", "store::Table")


def at(minutes: float) -> int:
    return int((NOON + timedelta(minutes=minutes)).timestamp())


def petshop_table(path: Path, moments: list[int], latency: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["microservice", *NODES])
        rows.writerow(["metric", *("latency" for _ in NODES)])
        rows.writerow(["statistic", *("Average" for _ in NODES)])
        rows.writerow(["unix_timestamp", *("" for _ in NODES)])
        for moment in moments:
            rows.writerow([float(moment), latency, latency, ""])


def write_petshop(root: Path) -> Path:
    traffic = root / "some_traffic"
    petshop_table(traffic / "noissue" / "metrics.csv", [at(minute) for minute in range(-6000, -5900, 5)], 0.1)
    petshop_table(traffic / "train" / "issue_0" / "metrics.csv", [at(minute) for minute in range(-5, 25, 5)], 2.0)
    target = {
        "target": {"node": NODES[0], "metric": "latency", "agg": "Average", "timestamp": at(1)},
        "root_cause": {"node": NODES[1], "metric": None},
        "metadata": {"reproducibility": {"command": "break search::App"}},
    }
    (traffic / "train" / "issue_0" / "target.json").write_text(json.dumps(target))
    lines = [",".join(["", *NODES])] + [
        ",".join([name, *("1.0" if (name, other) == NODES[:2] else "0.0" for other in NODES)]) for name in NODES
    ]
    (traffic / "graph.csv").write_text("\n".join(lines) + "\n")
    return root


def write_market(root: Path) -> Path:
    bed = root / "bed-7"
    for folder in ("metric", "trace", "log"):
        (bed / folder).mkdir(parents=True)
    metrics = {
        "0": [[str(at(-60) * 1000), "cart-0", "node-1", "cpu", "up"]],
        "1": [[str(at(1) * 1000), "cart", None, "mrt", "up"], [str(at(9) * 1000), "node-1", None, "io", "up"]],
        "2": [],
    }
    (bed / "metric" / "metrics.json").write_text(json.dumps(metrics))
    traces = {"1": [[str(at(0) * 1000 + 37_123), "front-0", "cart-0", "Get (rpc)", "PD"]]}
    (bed / "trace" / "traces.json").write_text(json.dumps(traces))
    local = (NOON + timedelta(hours=8, minutes=2)).strftime("%Y-%m-%d %H:%M:%S.000")
    logs = {"1": [["cart-0", "7", [f"{local} | severity: warning, message: no answer"], 1, None]]}
    (bed / "log" / "logs.json").write_text(json.dumps(logs))
    (bed / "label.csv").write_text(
        "fault_id,fault_level,fault_entity,fault_type,fault_st_time\n"
        f"0,pod,cart-0,container CPU load,{at(-61)}\n1,node,node-1,node disk write I/O consumption,{at(0)}\n"
    )
    (root / "knowledge-graph").mkdir()
    graph = {
        "nodes": [
            {"id": name, "type": kind}
            for name, kind in (
                ("front", "Service"),
                ("cart", "Service"),
                ("front-0", "Service_Instance"),
                ("cart-0", "Service_Instance"),
                ("node-1", "Host"),
            )
        ],
        "edges": [
            {"source": "front", "target": "cart", "label": "control_flow"},
            {"source": "cart-0", "target": "cart", "label": "instance_of"},
            {"source": "cart", "target": "cart-0", "label": "has_instance"},
            {"source": "cart-0", "target": "node-1", "label": "hosted_on"},
        ],
    }
    (root / "knowledge-graph" / "shop-bed-7-KG.json").write_text(json.dumps(graph))
    return root


def write_opensre(root: Path) -> Path:
    base, case = root / "kube" / "000-fine", root / "kube" / "007-broken-image"
    for folder in (base, case):
        folder.mkdir(parents=True)
    (base / "scenario.yml").write_text(
        "scenario_id: 000-fine\nworkload_name: pay-api\nfailure_mode: healthy\n"
        "available_evidence: [eks_pods, eks_events, eks_deployments]\n"
    )
    (base / "answer.yml").write_text("root_cause_category: healthy\n")
    (base / "eks_events.json").write_text(json.dumps({"normal_events": [an_event("Normal", "Pulled", 0)]}))
    (base / "eks_pods.json").write_text(json.dumps({"pods": [a_pod("pay-1", ready=True)]}))
    (base / "eks_deployments.json").write_text(
        json.dumps({"deployments": [{"name": "pay-api", "desired": 2, "ready": 2}]})
    )
    (case / "scenario.yml").write_text("base: 000-fine\nscenario_id: 007\nfailure_mode: image_pull_backoff\n")
    (case / "answer.yml").write_text(
        "root_cause_category: configuration_error\n"
        "model_response: 'ROOT_CAUSE: pod pay-2 of pay-api cannot pull its image. ROOT_CAUSE_CATEGORY: x pay-1'\n"
    )
    (case / "eks_pods.json").write_text(json.dumps({"pods": [a_pod("pay-1", ready=True), a_pod("pay-2", ready=False)]}))
    (case / "eks_events.json").write_text(json.dumps({"warning_events": [an_event("Warning", "Failed", 5)]}))
    for folder in (base, case):
        alert = {
            "title": f"[synthetic] ImagePullBackOff {folder.name}",
            "state": "alerting",
            "commonLabels": {"workload_name": "pay-api", "severity": "info", "alertname": "ImagePullBackOff"},
            "commonAnnotations": {"k8s_failure_mode": "image_pull", "summary": "the image is missing"},
        }
        (folder / "alert.json").write_text(json.dumps(alert))
    (case / "QA_VALIDATION.md").write_text("the answer is the image")
    return root


def an_event(kind: str, reason: str, minute: float) -> dict[str, object]:
    moment = (NOON + timedelta(minutes=minute)).isoformat()
    return {
        "reason": reason,
        "message": "manifest unknown",
        "type": kind,
        "count": 3,
        "involved_object": "Pod/pay-2",
        "first_time": moment,
        "last_time": moment,
    }


def a_pod(name: str, *, ready: bool) -> dict[str, object]:
    state = {"running": True} if ready else {"waiting": True, "reason": "ImagePullBackOff", "message": "no image"}
    return {
        "name": name,
        "phase": "Running" if ready else "Pending",
        "node_name": "ip-1",
        "containers": [{"name": "pay", "ready": ready, "state": state}],
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }


def test_petshop_sees_complete_buckets_only(tmp_path: Path) -> None:
    reader = PetShop(write_petshop(tmp_path))
    assert reader.names() == ["some_traffic/train/issue_0"]
    recording, truth = reader.recording(reader.names()[0]), reader.truth(reader.names()[0])
    assert recording.alert.starts_at == NOON + timedelta(minutes=1)
    assert recording.as_of == NOON + timedelta(minutes=11)
    assert recording.metrics is not None
    latest = recording.metrics["ts"].max()
    assert latest == NOON + timedelta(minutes=9, seconds=59), "the bucket from 12:10 is not complete at 12:11"
    assert recording.metrics["metric"].unique().to_list() == ["latency_Average"]
    assert recording.metrics.height == 2 * (20 + 3), "the header row and empty fields are no samples"
    usual = recording.metrics.filter(recording.metrics["value"] < 1)["ts"].max()
    assert isinstance(usual, datetime)
    assert timedelta(0) < NOON - usual < timedelta(days=1), "the fault-free period is moved to just before"
    assert usual.time() == (NOON + timedelta(minutes=-5900, seconds=-1)).time(), "at its own time of day"
    assert (truth.entity, truth.fault_kind) == ("service:search::App", FaultKind.UNKNOWN)
    assert recording.topology is not None
    assert [(edge.source, edge.target) for edge in recording.topology.edges] == [
        ("service:front::App", "service:search::App")
    ]
    longer = PetShop(tmp_path, visible_for=timedelta(minutes=20)).recording(reader.names()[0])
    assert longer.as_of == NOON + timedelta(minutes=21)


def test_the_markets_clocks_and_graph(tmp_path: Path) -> None:
    reader = OpenRcaMarket(write_market(tmp_path))
    assert reader.names() == ["bed-7#0", "bed-7#1", "bed-7#2"]
    recording, truth = reader.recording("bed-7#1"), reader.truth("bed-7#1")
    assert recording.alert.starts_at == NOON + timedelta(minutes=1)
    assert recording.as_of == NOON + timedelta(minutes=4)
    manifest = write_bundle(recording, tmp_path / "out")
    assert manifest.metrics is not None
    assert manifest.metrics.rows == 3, "earlier faults are history; what comes later is not seen"
    assert recording.metrics is not None
    traced = recording.metrics.filter(recording.metrics["metric"].str.contains("PD"))
    assert traced["ts"].to_list() == [NOON], "the millisecond of the injection is not visible"
    assert traced["entity"].to_list() == ["pod:cart-0"]
    assert recording.logs is not None
    assert recording.logs.select("ts", "severity", "message").rows() == [
        (NOON + timedelta(minutes=2), "warning", "no answer")
    ]
    assert (truth.entity, truth.fault_kind) == ("node:node-1", FaultKind.DISK)
    assert recording.topology is not None
    kinds = {(edge.source, edge.target): edge.kind for edge in recording.topology.edges}
    assert kinds == {
        ("service:front", "service:cart"): EdgeKind.CALLS,
        ("pod:cart-0", "service:cart"): EdgeKind.PART_OF,
        ("pod:cart-0", "node:node-1"): EdgeKind.RUNS_ON,
    }
    with pytest.raises(CorpusError, match="no anomaly"):
        reader.recording("bed-7#2")
    with pytest.raises(CorpusError, match="no row for fault 2"):
        reader.truth("bed-7#2")


def test_opensre_tells_neither_cause_nor_health(tmp_path: Path) -> None:
    reader = OpenSre(write_opensre(tmp_path))
    broken = "kube/007-broken-image"
    assert reader.names() == ["kube/000-fine", broken]
    recording, truth = reader.recording(broken), reader.truth(broken)
    visible = recording.alert.model_dump_json()
    for word in ("mage", "info", "missing", "alerting", "007"):
        assert word not in visible
    assert reader.recording("kube/000-fine").alert.title == recording.alert.title
    assert recording.cluster is not None
    shown = {(item.object_kind, item.type): item.healthy for item in recording.cluster if item.entity != "pod:pay-1"}
    assert shown[("Pod", "Container")] is False
    assert shown[("Deployment", "Available")] is True, "what the case does not bring comes from its base"
    assert {item.reason for item in recording.cluster} >= {"Failed", "ImagePullBackOff"}
    assert recording.metrics is None, "no source of metrics was offered"
    assert truth.entity == "pod:pay-2", "what the answer names as the cause, not what the alert is about"
    assert truth.aliases == ()
    assert (truth.fault_kind, FaultKind.EXPIRY in truth.kind_family) == (FaultKind.CONFIGURATION, True)
    assert reader.truth("kube/000-fine").roots == ()
    write_bundle(recording, tmp_path / "out")
    assert open_bundle(tmp_path / "out").alert.entity == "service:pay-api"


def no_labels_in_nezha(root: Path) -> None:
    lines = (root / "cases.csv").read_text().splitlines()
    row = lines[1].split(",")
    (root / "cases.csv").write_text(f"{lines[0]}\n{','.join([*row[:4], '', '', '', ''])}\n")


def no_labels_in_petshop(root: Path) -> None:
    path = root / "some_traffic" / "train" / "issue_0" / "target.json"
    path.write_text(json.dumps({"target": json.loads(path.read_text())["target"]}))


def no_labels_in_market(root: Path) -> None:
    (root / "bed-7" / "label.csv").unlink()


def no_labels_in_opensre(root: Path) -> None:
    for path in root.rglob("answer.yml"):
        path.unlink()
    for path in root.rglob("scenario.yml"):
        path.write_text("\n".join(line for line in path.read_text().splitlines() if "failure_mode" not in line))


def no_labels_in_benchmark(root: Path) -> None:
    (root / "some-case" / "ground_truth.json").unlink()


def shown(recording: Recording, folder: Path) -> str:
    """Everything that a bundle of it says."""
    write_bundle(recording, folder)
    return (folder / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("name", "write", "unlabel"),
    [
        ("nezha", write_nezha, no_labels_in_nezha),
        ("petshop", write_petshop, no_labels_in_petshop),
        ("openrca-market", write_market, no_labels_in_market),
        ("opensre", write_opensre, no_labels_in_opensre),
        ("rootcausebench", write_benchmark, no_labels_in_benchmark),
    ],
)
def test_a_recording_is_made_without_the_labels(
    name: str, write: Callable[[Path], Path], unlabel: Callable[[Path], None], tmp_path: Path
) -> None:
    root = write(tmp_path / "corpus")
    reader: type[Reader] = READERS[name]
    case = reader(root).names()[-1 if name == "opensre" else 0]
    labelled = shown(reader(root).recording(case), tmp_path / "labelled")
    reader(root).truth(case)
    unlabel(root)
    assert shown(reader(root).recording(case), tmp_path / "unlabelled") == labelled
    if name != "nezha":
        with pytest.raises(CorpusError):
            reader(root).truth(case)


@pytest.mark.parametrize(
    ("file", "damage", "named"),
    [
        ("some_traffic/train/issue_0/metrics.csv", "microservice,a\nmetric,b\nstatistic,c\n1,2,3\n", "truncated"),
        ("some_traffic/train/issue_0/metrics.csv", "microservice,a,a\nmetric,b,b\nstatistic,c,c\n", "twice"),
        ("some_traffic/train/issue_0/metrics.csv", "", "no metrics table"),
        ("some_traffic/train/issue_0/target.json", "{", "target.json"),
        ("some_traffic/graph.csv", ",a,b\na,1\n", "no call graph"),
    ],
)
def test_petshops_damage_is_named(file: str, damage: str, named: str, tmp_path: Path) -> None:
    reader = PetShop(write_petshop(tmp_path))
    (tmp_path / file).write_text(damage)
    with pytest.raises(CorpusError, match=named):
        reader.recording(reader.names()[0])


def test_damage_in_the_other_corpora_is_named(tmp_path: Path) -> None:
    for name, reader in READERS.items():
        with pytest.raises(CorpusError):
            reader(tmp_path / name)
    market = write_market(tmp_path / "market")
    (market / "bed-7" / "log" / "logs.json").write_text('{"1": [["cart-0", "7", ["no clock"], 1, null]]}')
    with pytest.raises(CorpusError, match="no clock"):
        OpenRcaMarket(market).recording("bed-7#1")
    opensre = write_opensre(tmp_path / "opensre")
    (opensre / "kube" / "007-broken-image" / "eks_events.json").write_text('{"warning_events": [{}]}')
    with pytest.raises(CorpusError, match=r"eks_events\.json"):
        OpenSre(opensre).recording("kube/007-broken-image")
    nezha = write_nezha(tmp_path / "nezha")
    lines = (nezha / "cases.csv").read_text().splitlines()
    (nezha / "cases.csv").write_text("\n".join([*lines, lines[1]]) + "\n")
    reader_of_nezha = READERS["nezha"](nezha)
    with pytest.raises(CorpusError, match="more than once"):
        reader_of_nezha.recording(reader_of_nezha.names()[0])
