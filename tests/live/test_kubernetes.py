"""A real API server: every condition found beside healthy twins, none invented, nothing written."""

import json
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from activities.telemetry.backend import Answer, run_probe
from activities.telemetry.entities import Resolver
from activities.telemetry.exceptions import SourceRefusedError
from activities.telemetry.kubernetes import KIND
from activities.telemetry.kubernetes.resources import cluster_rules
from activities.telemetry.registry import Opening
from evals.lab.cluster import Cluster
from evals.lab.live import allow
from evals.lab.servers import Kubernetes, kubernetes
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe, ClusterProbe, InventoryProbe, Probe, Window

READER, STRANGER = "token-of-the-reader", "token-of-a-stranger"
NS = "shop"
CORE, APPS = f"/api/v1/namespaces/{NS}", f"/apis/apps/v1/namespaces/{NS}"
NOW = datetime.now(UTC)
STAMP = (NOW - timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
Document = dict[str, Any]
Broken = tuple[str, str, str]
"""(kind, name, reason)."""


@dataclass
class Filled:
    """A cluster with one broken object for each condition, and a healthy twin of each."""

    server: Kubernetes
    cluster: Cluster
    broken: set[Broken]
    token: Path


def meta(name: str, **more: Any) -> Document:
    return {"metadata": {"name": name, **more}}


def condition(type_: str, status: str, reason: str = "", message: str = "") -> Document:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": STAMP}


CONTAINER = {"name": "c", "image": "i:1"}


def pod(name: str, *, status: Document | None = None, spec: Document | None = None, **labels: str) -> Document:
    ready = status or {
        "phase": "Running",
        "conditions": [condition("Ready", "True"), condition("PodScheduled", "True")],
    }
    return {
        **meta(name, labels=labels or {"app": name}),
        "spec": {"containers": [CONTAINER], "nodeName": "n-good", **(spec or {})},
        "status": ready,
    }


def waiting(reason: str, *, last: Document | None = None) -> Document:
    status: Document = {
        "name": "c",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 4,
        "state": {"waiting": {"reason": reason, "message": "why"}},
    }
    if last is not None:
        status["lastState"] = {"terminated": last}
    ready = condition("Ready", "False", "ContainersNotReady")
    return {"phase": "Running", "conditions": [ready], "containerStatuses": [status]}


ENDED = {"exitCode": 1, "reason": "Error", "finishedAt": STAMP, "startedAt": STAMP}


class Filler:
    """Writes broken objects and their healthy twins."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.broken: set[Broken] = set()

    def bad(self, path: str, body: Document, kind: str, *reasons: str, namespaced: bool = True) -> None:
        self.cluster.create(path, body)
        name = body["metadata"]["name"]
        self.broken |= {(kind, f"{NS}/{name}" if namespaced else name, reason) for reason in reasons}

    def good(self, path: str, body: Document) -> None:
        self.cluster.create(path, body)

    def pods(self) -> None:
        unscheduled = {"phase": "Pending", "conditions": [condition("PodScheduled", "False", "Unschedulable", "0/3")]}
        gated = {"phase": "Pending", "conditions": [condition("PodScheduled", "False", "SchedulingGated")]}
        evicted = {"phase": "Failed", "reason": "Evicted", "message": "low on memory", "startTime": STAMP}
        not_ready = {"phase": "Running", "conditions": [condition("Ready", "False", "ContainersNotReady", "probe")]}
        self.bad(
            f"{CORE}/pods", pod("unscheduled", status=unscheduled, spec={"nodeName": None}), "Pod", "Unschedulable"
        )
        gates = {"nodeName": None, "schedulingGates": [{"name": "example.com/wait"}]}
        self.bad(f"{CORE}/pods", pod("gated", status=gated, spec=gates), "Pod", "SchedulingGated")
        self.bad(f"{CORE}/pods", pod("evicted", status=evicted), "Pod", "Evicted")
        self.bad(f"{CORE}/pods", pod("not-ready", status=not_ready), "Pod", "ContainersNotReady")
        for name, reason, last in (
            ("crashing", "CrashLoopBackOff", ENDED),
            ("no-image", "ImagePullBackOff", None),
            ("bad-config", "CreateContainerConfigError", None),
        ):
            both = (reason, "ContainersNotReady")
            self.bad(f"{CORE}/pods", pod(name, status=waiting(reason, last=last)), "Pod", *both)
        killed = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": STAMP, "startedAt": STAMP}
        status = {
            "phase": "Running",
            "conditions": [condition("Ready", "True")],
            "containerStatuses": [
                {
                    "name": "c",
                    "image": "i",
                    "imageID": "",
                    "ready": True,
                    "restartCount": 2,
                    "state": {"running": {"startedAt": STAMP}},
                    "lastState": {"terminated": killed},
                }
            ],
        }
        self.bad(f"{CORE}/pods", pod("hungry", status=status), "Pod", "OOMKilled")
        refers = {"volumes": [{"name": "v", "configMap": {"name": "nowhere"}}]}
        self.bad(
            f"{CORE}/pods", pod("lost", status=not_ready, spec=refers), "Pod", "ConfigMapMissing", "ContainersNotReady"
        )
        self.good(f"{CORE}/configmaps", {**meta("somewhere"), "data": {"a": "b"}})
        optional = {"volumes": [{"name": "v", "configMap": {"name": "nowhere", "optional": True}}]}
        self.good(f"{CORE}/pods", pod("optional", spec=optional))
        done = {"phase": "Succeeded", "conditions": [condition("Ready", "False", "PodCompleted")]}
        self.good(f"{CORE}/pods", pod("finished", status=done))
        for name in ("well", "web-1", "web-2", "db-0"):
            self.good(f"{CORE}/pods", pod(name, app=name.partition("-")[0]))

    def events(self) -> None:
        """A pod that once could not be scheduled and runs now; one whose volume cannot be mounted; one that is gone;
        what the API server repairs itself.
        """
        for number, (name, reason, uid) in enumerate(
            (
                ("well", "FailedScheduling", None),
                ("not-ready", "FailedMount", None),
                ("not-ready", "PortNotAllocated", None),
                ("well", "FailedMount", "another-uid"),
            )
        ):
            found = self.cluster.call("GET", f"{CORE}/pods/{name}")
            about = {"kind": "Pod", "namespace": NS, "name": name, "uid": uid or found["metadata"]["uid"]}
            self.cluster.create(
                f"{CORE}/events",
                {
                    **meta(f"event-{number}"),
                    "involvedObject": about,
                    "type": "Warning",
                    "reason": reason,
                    "message": "m",
                    "count": 3,
                    "firstTimestamp": STAMP,
                    "lastTimestamp": STAMP,
                },
            )
        gone = {"kind": "Pod", "namespace": NS, "name": "gone", "uid": "u"}
        self.cluster.create(
            f"{CORE}/events",
            {
                **meta("event-gone"),
                "involvedObject": gone,
                "type": "Warning",
                "reason": "BackOff",
                "lastTimestamp": STAMP,
            },
        )
        self.broken.add(("Pod", f"{NS}/not-ready", "FailedMount"))

    def workloads(self) -> None:
        def spec(name: str, replicas: int = 1) -> Document:
            template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [CONTAINER]}}
            return {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}

        stuck = condition("Progressing", "False", "ProgressDeadlineExceeded")
        refused = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota")
        short = {"replicas": 1, "conditions": [stuck, refused]}
        deployment = {**meta("rollout"), "spec": spec("rollout", 2), "status": short}
        reasons = ("ReplicasUnavailable", "ProgressDeadlineExceeded", "FailedCreate")
        self.bad(f"{APPS}/deployments", deployment, "Deployment", *reasons)
        full = {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2}
        self.good(f"{APPS}/deployments", {**meta("web"), "spec": spec("web", 2), "status": full})
        self.good(f"{APPS}/deployments", {**meta("asleep"), "spec": spec("asleep", 0), "status": {}})
        self.bad(
            f"{APPS}/statefulsets",
            {**meta("db-lost"), "spec": {**spec("db-lost"), "serviceName": "no-such"}, "status": {"replicas": 0}},
            "StatefulSet",
            "ReplicasUnavailable",
            "ServiceMissing",
        )
        ready = {"replicas": 1, "readyReplicas": 1}
        self.good(f"{APPS}/statefulsets", {**meta("db"), "spec": {**spec("db"), "serviceName": "web"}, "status": ready})
        daemon = {key: value for key, value in spec("agent").items() if key != "replicas"}
        counts = {"currentNumberScheduled": 3, "numberMisscheduled": 0}
        short_daemon = {**counts, "desiredNumberScheduled": 3, "numberReady": 1}
        self.bad(
            f"{APPS}/daemonsets",
            {**meta("agent"), "spec": daemon, "status": short_daemon},
            "DaemonSet",
            "ReplicasUnavailable",
        )
        full_daemon = {**counts, "desiredNumberScheduled": 3, "numberReady": 3}
        other = {key: value for key, value in spec("agent-2").items() if key != "replicas"}
        self.good(f"{APPS}/daemonsets", {**meta("agent-2"), "spec": other, "status": full_daemon})
        scaler = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
        target = {"kind": "Deployment", "name": "nothing", "apiVersion": "apps/v1"}
        limits = {"minReplicas": 1, "maxReplicas": 3}
        at_limit = [
            condition("ScalingLimited", "True", "TooManyReplicas"),
            condition("ScalingActive", "False", "FailedGetMetric"),
        ]
        counts = {"currentReplicas": 1, "desiredReplicas": 1}
        self.bad(
            scaler,
            {
                **meta("scaler"),
                "spec": {**limits, "scaleTargetRef": target},
                "status": {**counts, "conditions": at_limit},
            },
            "HorizontalPodAutoscaler",
            "TooManyReplicas",
            "FailedGetMetric",
            "TargetMissing",
        )
        fine = [condition("ScalingLimited", "True", "TooFewReplicas"), condition("ScalingActive", "True", "Valid")]
        target = {**target, "name": "web"}
        self.good(
            scaler,
            {
                **meta("scaler-2"),
                "spec": {**limits, "scaleTargetRef": target},
                "status": {**counts, "conditions": fine},
            },
        )
        budgets = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
        for name, healthy in (("tight", 1), ("roomy", 2)):
            status = {"currentHealthy": healthy, "desiredHealthy": 2, "expectedPods": 2, "disruptionsAllowed": 0}
            body = {
                **meta(name),
                "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
                "status": status,
            }
            if healthy < 2:
                self.bad(budgets, body, "PodDisruptionBudget", "InsufficientPods")
            else:
                self.good(budgets, body)

    def nodes(self) -> None:
        bad = [
            condition("Ready", "Unknown", "NodeStatusUnknown"),
            condition("DiskPressure", "True", "KubeletHasDiskPressure"),
        ]
        self.bad(
            "/api/v1/nodes",
            {**meta("n-bad"), "status": {"conditions": bad}},
            "Node",
            "NodeStatusUnknown",
            "DiskPressure",
            namespaced=False,
        )
        good = [condition("Ready", "True", "KubeletReady"), condition("DiskPressure", "False")]
        self.good("/api/v1/nodes", {**meta("n-good"), "status": {"conditions": good}})

    def storage(self) -> None:
        claims = f"{CORE}/persistentvolumeclaims"
        wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        self.bad(
            claims,
            {**meta("waits"), "spec": {**wanted, "storageClassName": "absent"}, "status": {"phase": "Pending"}},
            "PersistentVolumeClaim",
            "ClaimPending",
        )
        self.bad(
            claims, {**meta("lost"), "spec": wanted, "status": {"phase": "Lost"}}, "PersistentVolumeClaim", "ClaimLost"
        )
        self.good(claims, {**meta("bound"), "spec": wanted, "status": {"phase": "Bound"}})
        volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
        for name, phase, reason in (
            ("v-failed", "Failed", "VolumeFailed"),
            ("v-released", "Released", "VolumeReleased"),
        ):
            body = {**meta(name), "spec": volume, "status": {"phase": phase}}
            self.bad("/api/v1/persistentvolumes", body, "PersistentVolume", reason, namespaced=False)
        self.good("/api/v1/persistentvolumes", {**meta("v-good"), "spec": volume, "status": {"phase": "Available"}})

    def network(self) -> None:
        def service(name: str, selector: Document | None) -> Document:
            return {**meta(name), "spec": {"ports": [{"port": 80}], **({"selector": selector} if selector else {})}}

        self.bad(f"{CORE}/services", service("selects-none", {"app": "nobody"}), "Service", "NoEndpoints")
        self.bad(f"{CORE}/services", service("selects-unready", {"app": "not-ready"}), "Service", "NoReadyEndpoints")
        self.good(f"{CORE}/services", service("web", {"app": "web"}))
        self.good(f"{CORE}/services", service("external", None))
        self.good(f"{CORE}/services", service("asleep", {"app": "asleep"}))
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{NS}/endpointslices"
        for name, ready in (("web", True), ("selects-unready", False)):
            endpoints = [{"addresses": ["10.1.0.9"], "conditions": {"ready": ready}}]
            labels = {"kubernetes.io/service-name": name}
            self.cluster.create(slices, {**meta(name, labels=labels), "addressType": "IPv4", "endpoints": endpoints})
        self.good(
            "/apis/networking.k8s.io/v1/ingressclasses", {**meta("nginx"), "spec": {"controller": "example.com/nginx"}}
        )
        ingresses = f"/apis/networking.k8s.io/v1/namespaces/{NS}/ingresses"

        def ingress(name: str, class_: str, service: str, port: int) -> Document:
            backend = {"service": {"name": service, "port": {"number": port}}}
            rule = {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
            return {**meta(name), "spec": {"ingressClassName": class_, "rules": [rule]}}

        self.bad(ingresses, ingress("no-class", "absent", "web", 80), "Ingress", "IngressClassMissing")
        self.bad(ingresses, ingress("no-backend", "nginx", "absent", 80), "Ingress", "BackendMissing")
        self.bad(ingresses, ingress("no-port", "nginx", "web", 81), "Ingress", "BackendPortMissing")
        self.good(ingresses, ingress("fine", "nginx", "web", 80))
        policies = f"/apis/networking.k8s.io/v1/namespaces/{NS}/networkpolicies"
        absent = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["nobody"]}]}
        present = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "x"]}]}
        self.bad(policies, {**meta("idle"), "spec": {"podSelector": absent}}, "NetworkPolicy", "NoPodSelected")
        self.good(policies, {**meta("used"), "spec": {"podSelector": present}})
        self.good(policies, {**meta("deny-all"), "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}})

    def others(self) -> None:
        batch = f"/apis/batch/v1/namespaces/{NS}"
        template = {"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}
        target = [condition("FailureTarget", "True", "BackoffLimitExceeded")]
        failed = {
            "conditions": [*target, condition("Failed", "True", "BackoffLimitExceeded")],
            "startTime": STAMP,
            "failed": 1,
        }
        self.bad(
            f"{batch}/jobs",
            {**meta("failed"), "spec": {"template": template}, "status": failed},
            "Job",
            "BackoffLimitExceeded",
        )
        self.bad(
            f"{batch}/jobs", {**meta("held"), "spec": {"template": template, "suspend": True}}, "Job", "JobSuspended"
        )
        self.good(f"{batch}/jobs", {**meta("fine"), "spec": {"template": template}})
        cron = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": template}}}
        self.bad(
            f"{batch}/cronjobs", {**meta("held"), "spec": {**cron, "suspend": True}}, "CronJob", "CronJobSuspended"
        )
        self.good(f"{batch}/cronjobs", {**meta("fine"), "spec": cron})
        for name, used, bad in (("full", "2", True), ("half", "1", False)):
            body = {
                **meta(name),
                "spec": {"hard": {"pods": "2"}},
                "status": {"hard": {"pods": "2"}, "used": {"pods": used}},
            }
            if bad:
                self.bad(f"{CORE}/resourcequotas", body, "ResourceQuota", "QuotaExceeded")
            else:
                self.good(f"{CORE}/resourcequotas", body)
        hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        for name, service, policy in (
            ("hook-bad", "absent", "Fail"),
            ("hook-ok", "web", "Fail"),
            ("hook-ignored", "absent", "Ignore"),
        ):
            where = {"service": {"namespace": NS, "name": service}}
            rule = {
                "apiGroups": ["example.com"],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["things"],
            }
            hook = {
                "name": f"{name}.example.com",
                "clientConfig": where,
                "failurePolicy": policy,
                "rules": [rule],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
            body = {**meta(name), "webhooks": [hook]}
            if name == "hook-bad":
                self.bad(hooks, body, "ValidatingWebhookConfiguration", "WebhookBackendMissing", namespaced=False)
            else:
                self.good(hooks, body)


@pytest.fixture(scope="module")
def filled(need: Callable[..., None], folder: Path) -> Iterator[Filled]:
    need("kube-apiserver", "etcd")
    users = {READER: ("reader", ["readers"]), STRANGER: ("stranger", ["strangers"])}
    with kubernetes(folder, users) as server:
        cluster = Cluster(server)
        allow(cluster, "readers")
        with suppress(urllib.error.HTTPError):
            cluster.create("/api/v1/namespaces", meta(NS))
        filler = Filler(cluster)
        for part in (
            filler.pods,
            filler.workloads,
            filler.nodes,
            filler.storage,
            filler.network,
            filler.others,
            filler.events,
        ):
            part()
        token = folder / "token"
        token.write_text(READER)
        yield Filled(server, cluster, filler.broken, token)


def asked(filled: Filled, probe: Probe, *, token: str = READER, page: int = 500) -> tuple[Answer, int]:
    filled.token.write_text(token)
    given = {
        "name": "k",
        "backend": "kubernetes",
        "url": filled.server.url,
        "page": page,
        "credential": {"file": filled.token},
        "trusted": filled.server.ca_file,
        "limits": {"per_second": 1_000},
    }
    backend = KIND.open(Opening(config=KIND.config.model_validate(given), resolver=lambda: Resolver({})))
    try:
        answer = run_probe(backend, probe)
        return answer, backend.spent.queries
    finally:
        backend.close()


def window() -> Window:
    now = datetime.now(UTC)
    return Window(start=now - timedelta(days=1), end=now + timedelta(seconds=1))


def stated(answer: Answer) -> set[Broken]:
    assert answer.rows is not None
    rows = answer.rows.filter(~pl.col("healthy"))
    ours = rows.filter(pl.col("object_name").str.starts_with(f"{NS}/") | ~pl.col("object_name").str.contains("/"))
    return set(ours.select("object_kind", "object_name", "reason").iter_rows())


def test_every_condition_is_found_and_none_is_invented(filled: Filled) -> None:
    answer, _ = asked(filled, ClusterProbe(backend="k", window=window()))
    assert answer.status is ObservationStatus.OK, answer.detail
    history = {("Pod", f"{NS}/well", "FailedScheduling")}
    assert stated(answer) == filled.broken | history
    assert answer.rows is not None
    well = answer.rows.filter(pl.col("object_name") == f"{NS}/well").sort("ts")
    assert well["healthy"].to_list() == [False, True], "what recovered is history"


def test_pages_change_nothing(filled: Filled) -> None:
    whole, few = asked(filled, ClusterProbe(backend="k", window=window()))
    paged, many = asked(filled, ClusterProbe(backend="k", window=window()), page=10)
    assert stated(whole) == stated(paged)
    assert many > few


def test_what_may_not_be_read_is_forbidden_and_not_missing(filled: Filled) -> None:
    answer, _ = asked(filled, ClusterProbe(backend="k", window=window()), token=STRANGER)
    assert answer.status is ObservationStatus.FORBIDDEN
    assert answer.rows is None
    with pytest.raises(SourceRefusedError, match="does not accept our credential"):
        asked(filled, InventoryProbe(backend="k", window=window()), token="nobody's token")


def test_a_reader_without_config_maps_claims_none_is_missing(filled: Filled) -> None:
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/inquest"
    role = filled.cluster.call("GET", path)
    rules = role["rules"]
    for rule in rules:
        rule["resources"] = [name for name in rule["resources"] if name not in ("configmaps", "services")]
    filled.cluster.patch(path, {"rules": rules})
    try:
        answer, _ = asked(filled, ClusterProbe(backend="k", window=window()))
    finally:
        allow_again = [
            {"apiGroups": list(rule.groups), "resources": list(rule.resources), "verbs": list(rule.verbs)}
            for rule in cluster_rules(logs=True)
        ]
        filled.cluster.patch(path, {"rules": allow_again})
    reasons = {reason for _, _, reason in stated(answer)}
    assert not reasons & {"ConfigMapMissing", "ServiceMissing", "BackendMissing", "WebhookBackendMissing"}
    assert answer.status is ObservationStatus.TRUNCATED
    assert "ConfigMap" in answer.detail
    assert "Service" in answer.detail


def test_rollouts_are_changes_with_their_difference(filled: Filled) -> None:
    owner = filled.cluster.call("GET", f"{APPS}/deployments/web")
    for number, image in ((1, "i:1"), (2, "i:2")):
        labels = {"app": "web", "pod-template-hash": str(number)}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
        reference = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "web",
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
        about = {"annotations": {"deployment.kubernetes.io/revision": str(number)}, "ownerReferences": [reference]}
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        filled.cluster.create(f"{APPS}/replicasets", {**meta(f"web-{number}", **about), "spec": spec})
    answer, _ = asked(filled, ChangeProbe(backend="k", window=window()))
    assert answer.rows is not None
    rollouts = answer.rows.filter(pl.col("kind") == "deploy")
    assert rollouts["title"].to_list() == ["Rollout of web, revision 2"], "the first revision changed nothing"
    assert rollouts["target"].to_list() == ["service:web"]
    lines = [line for line in rollouts["detail"][0].splitlines() if line[:1] in "+-" and "image:" in line]
    assert [line[1:].strip("- ") for line in lines] == ["image: i:1", "image: i:2"]
    assert rollouts["revision"].to_list() == ["i:2"]


CRDS = (
    ("argoproj.io", "v1alpha1", "applications", "Application"),
    ("kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "Kustomization"),
    ("helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease"),
)


def define(cluster: Cluster, group: str, version: str, plural: str, kind: str) -> str:
    """Install a definition of custom objects; returns the path of their list once it is served."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    versions = [{"name": version, "served": True, "storage": True, "schema": schema}]
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
    cluster.create(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {**meta(f"{plural}.{group}"), "spec": spec}
    )
    path = f"/apis/{group}/{version}/namespaces/{NS}/{plural}"
    for _ in range(100):
        try:
            cluster.call("GET", path)
        except urllib.error.HTTPError:
            time.sleep(0.1)
        else:
            return path
    raise TimeoutError(f"{plural} are not served")


def test_what_argo_and_flux_delivered_are_changes(filled: Filled) -> None:
    argo, kustomize, helm = [define(filled.cluster, *definition) for definition in CRDS]
    workload = {"kind": "Deployment", "name": "web", "namespace": NS}
    history = [{"id": 3, "revision": "abc123", "deployedAt": STAMP, "source": {"repoURL": "git/shop", "path": "web"}}]
    status = {"history": history, "resources": [workload, {"kind": "Service", "name": "web"}]}
    application = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", **meta("shop"), "status": status}
    filled.cluster.call("POST", argo, application)
    status = {
        "lastAppliedRevision": "main@sha1:def",
        "conditions": [condition("Ready", "True")],
        "inventory": {
            "entries": [{"id": f"{NS}_db_apps_StatefulSet", "v": "v1"}, {"id": f"{NS}_c__ConfigMap", "v": "v1"}]
        },
    }
    body = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", **meta("data"), "status": status}
    filled.cluster.call("POST", kustomize, body)
    entry = {"chartName": "cart", "chartVersion": "1.2.3", "version": 4, "lastDeployed": STAMP, "name": "cart"}
    body = {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", **meta("cart")}
    filled.cluster.call("POST", helm, {**body, "status": {"history": [entry]}})
    answer, _ = asked(filled, ChangeProbe(backend="k", window=window()))
    assert answer.rows is not None
    found = answer.rows.filter(~pl.col("title").str.starts_with("Rollout"), pl.col("kind") == "deploy").sort("title")
    assert list(found.select("title", "target", "revision").iter_rows()) == [
        ("Argo CD delivered shop", "service:web", "abc123"),
        ("Flux applied data", "service:db", "main@sha1:def"),
        ("Flux released cart: cart 1.2.3", "service:cart", "1.2.3"),
    ]


def test_nothing_is_written_and_secrets_stay_closed(filled: Filled) -> None:
    asked(filled, ClusterProbe(backend="k", window=window()))
    asked(filled, ChangeProbe(backend="k", window=window()))
    asked(filled, InventoryProbe(backend="k", window=window()))
    entries = [json.loads(line) for line in filled.server.audit_log.read_text().splitlines()]
    ours = [entry for entry in entries if entry.get("user", {}).get("username") == "reader"]
    assert ours
    assert {entry["verb"] for entry in ours} == {"list"}
    assert not [entry for entry in ours if entry.get("objectRef", {}).get("resource") in ("secrets", "pods/exec")]
    for path, method in (
        (f"{CORE}/secrets", "GET"),
        (f"{CORE}/pods/well/exec?command=id", "POST"),
        (f"{CORE}/pods/well", "DELETE"),
        (f"{CORE}/configmaps", "POST"),
    ):
        reader = Cluster(Kubernetes(**{**vars(filled.server), "admin_token": READER}))
        with pytest.raises(urllib.error.HTTPError) as raised:
            reader.call(method, path, meta("x") if method == "POST" else None)
        assert raised.value.code == 403, path
