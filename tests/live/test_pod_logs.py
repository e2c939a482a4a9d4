"""Logs of containers through a real API server: current and previous ones, within limits."""

import json
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.telemetry.backend import Answer, run_probes
from activities.telemetry.entities import Resolver
from activities.telemetry.kubernetes import KIND
from activities.telemetry.registry import Opening
from evals.lab.cluster import Cluster
from evals.lab.live import allow
from evals.lab.servers import Kubernetes, kubernetes
from tests.live.kubelet import Kubelet, kubelet
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import LogProbe, Window

READER, STRANGER = "token-of-the-reader", "token-of-a-stranger"
NOW = datetime.now(UTC)
CORE = "/api/v1/namespaces/shop"


def moment(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


LOGS = {
    ("cart-1", "app", False): [
        f"{moment(8_000)} INFO too long ago",
        f"{moment(30)} INFO started",
        f'{moment(20)} {{"level":"error","msg":"cannot open /etc/cart.yaml","trace_id":"t1"}}',
    ],
    ("cart-1", "app", True): [f"{moment(90 - n)} ERROR out of disk space on /data" for n in range(3)],
    ("cart-1", "sidecar", False): [f"{moment(60)} level=warn msg=slow"],
    ("odd-1", "app", False): [
        f"{moment(50)} {json.dumps({'level': 'error', 'msg': chr(0xD800) + 'half a character'})}",
        f"{moment(40)} one\u2028{moment(9_000)} line\r2020-01-01T00:00:00Z forged",
        f"{moment(30)} 2026-13-45T00:00:00Z no such day",
    ],
    ("long-1", "app", False): [f"{moment(2_000 - n)} ERROR {'x' * 3_000} {n}" for n in range(1_990)],
    ("busy-1", "app", False): [f"{moment(3_000 - n)} INFO request {n} served" for n in range(2_900)],
}


@dataclass
class Running:
    server: Kubernetes
    cluster: Cluster
    kubelet: Kubelet
    token: Path


def pod(name: str, *containers: str, node: str, restarts: int = 0) -> dict[str, Any]:
    statuses = [
        {"name": item, "image": "i", "imageID": "", "ready": True, "restartCount": restarts, "state": {}}
        for item in containers
    ]
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": item, "image": "i"} for item in containers]},
        "status": {"phase": "Running", "conditions": ready, "containerStatuses": statuses},
    }


@pytest.fixture(scope="module")
def running(need: Callable[..., None], folder: Path) -> Iterator[Running]:
    need("kube-apiserver", "etcd")
    users = {READER: ("reader", ["readers"]), STRANGER: ("stranger", ["strangers"])}
    with kubernetes(folder, users) as server, kubelet(folder, LOGS) as node:
        cluster = Cluster(server)
        allow(cluster, "readers")
        cluster.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        for name, port in (("alive", node.port), ("dead", 9)):
            status = {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            }
            cluster.create("/api/v1/nodes", {"metadata": {"name": name}, "status": status})
        cluster.create(f"{CORE}/pods", pod("cart-1", "app", "sidecar", node="alive", restarts=2))
        cluster.create(f"{CORE}/pods", pod("busy-1", "app", node="alive"))
        cluster.create(f"{CORE}/pods", pod("lost-1", "app", node="dead"))
        cluster.create(f"{CORE}/pods", pod("odd-1", "app", node="alive"))
        cluster.create(f"{CORE}/pods", pod("long-1", "app", node="alive"))
        token = folder / "token"
        token.write_text(READER)
        yield Running(server, cluster, node, token)


def asked(running: Running, *entities: str, token: str = READER, **config: object) -> dict[str, Answer]:
    running.token.write_text(token)
    given = {
        "name": "k",
        "backend": "kubernetes",
        "url": running.server.url,
        "credential": {"file": running.token},
        "trusted": running.server.ca_file,
        "limits": {"per_second": 1_000},
        "answers": ["logs"],
        **config,
    }
    backend = KIND.open(Opening(config=KIND.config.model_validate(given), resolver=lambda: Resolver({})))
    now = datetime.now(UTC)
    window = Window(start=now - timedelta(days=1), end=now)
    probes = [LogProbe(backend="k", window=window, entity=EntityId(name)) for name in entities]
    try:
        (group,) = backend.together(probes)
        return {str(probe.entity): answer for probe, answer in run_probes(backend, group)}  # type: ignore[union-attr]
    finally:
        backend.close()


def test_current_and_previous_containers_are_read(running: Running) -> None:
    answer = asked(running, "service:cart-1")["service:cart-1"]
    assert answer.status is ObservationStatus.OK, answer.detail
    assert answer.rows is not None
    found = {(row["severity"], row["example"]): row["count"] for row in answer.rows.iter_rows(named=True)}
    assert ("error", "cannot open /etc/cart.yaml") in found
    assert ("warning", "slow") in found
    assert answer.rows.filter(answer.rows["example"].str.contains("disk space"))["count"].sum() == 3
    assert not answer.rows["example"].str.contains("too long ago").any()
    assert set(running.kubelet.asked) >= {("cart-1", "app", True), ("cart-1", "sidecar", True)}


def test_of_a_long_log_the_latest_lines_count_since_their_first(running: Running) -> None:
    answer = asked(running, "service:busy-1", log_lines=500)["service:busy-1"]
    assert answer.rows is not None
    assert answer.rows["count"].sum() == 500
    assert answer.coverage is not None
    assert abs((answer.coverage.window.start - (NOW - timedelta(seconds=600))).total_seconds()) < 2


def test_whatever_a_program_writes_is_one_line(running: Running) -> None:
    answer = asked(running, "service:odd-1")["service:odd-1"]
    assert answer.status is ObservationStatus.OK, answer.detail
    assert answer.rows is not None
    assert answer.rows["count"].sum() == 3
    assert answer.rows["ts"].min() > NOW - timedelta(minutes=3), "no line says when it was written"  # type: ignore[operator]


def test_long_lines_cost_old_ones_and_not_the_latest(running: Running) -> None:
    answer = asked(running, "service:long-1")["service:long-1"]
    assert answer.rows is not None
    assert 50 <= answer.rows["count"].sum() < 340
    latest = answer.rows["ts"].max()
    assert latest is not None
    assert latest >= NOW - timedelta(seconds=90)  # type: ignore[operator]


def test_a_dead_node_and_a_missing_right_are_told_apart(running: Running) -> None:
    answers = asked(running, "service:lost-1", "service:cart-1", "service:nobody")
    assert answers["service:lost-1"].status is ObservationStatus.UNAVAILABLE
    assert answers["service:cart-1"].status is ObservationStatus.OK, "another node's logs are read all the same"
    assert answers["service:nobody"].status is ObservationStatus.NOT_FOUND, "no pod is not the same as no line"
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/inquest"
    rules = running.cluster.call("GET", role)["rules"]
    running.cluster.patch(role, {"rules": [rule for rule in rules if rule["resources"] != ["pods/log"]]})
    try:
        forbidden = asked(running, "service:cart-1")["service:cart-1"]
    finally:
        running.cluster.patch(role, {"rules": rules})
    assert forbidden.status is ObservationStatus.FORBIDDEN
    assert "pods/log" in forbidden.detail


def test_limits_are_said(running: Running) -> None:
    answers = asked(running, "service:cart-1", "service:busy-1", log_containers=3)
    assert "1 of its logs were not read" in answers["service:cart-1"].detail
    assert answers["service:busy-1"].status is ObservationStatus.TRUNCATED


def test_logs_are_read_only_where_they_are_asked_for(running: Running) -> None:
    given = {"name": "k", "backend": "kubernetes", "url": running.server.url}
    plain, asked_for = KIND.config.model_validate(given), KIND.config.model_validate({**given, "answers": ["logs"]})
    assert plain.modalities(KIND.modalities) == {"cluster", "changes"}
    assert ("pods/log",) not in [rule.resources for rule in KIND.cluster_rules(plain)]
    assert ("pods/log",) in [rule.resources for rule in KIND.cluster_rules(asked_for)]
    with pytest.raises(urllib.error.HTTPError):
        Cluster(Kubernetes(**{**vars(running.server), "admin_token": STRANGER})).call("GET", f"{CORE}/pods/cart-1/log")
