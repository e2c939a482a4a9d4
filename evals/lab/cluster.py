"""The shop as objects of a real Kubernetes API server, with the status that controllers and a kubelet would write."""

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from evals.lab.monitoring import NAMESPACE, pod_of
from evals.lab.servers import Kubernetes
from evals.lab.stage import MEMORY_LIMIT_BYTES, RunningService, Stage, now

NODE = "lab-node"
EVERY_S = 1.0
MERGE = "application/merge-patch+json"
Document = dict[str, Any]


class Cluster:
    """Writes objects as their controllers do; it is no part of what Inquest may do."""

    def __init__(self, server: Kubernetes) -> None:
        self._server = server
        self._tls = ssl.create_default_context(cafile=str(server.ca_file))

    def create(self, path: str, body: Document) -> Document:
        """Create an object, and give it its status where `body` has one."""
        made = self.call("POST", path, body)
        if "status" in body:
            self.call("PATCH", f"{path}/{body['metadata']['name']}/status", {"status": body["status"]})
        return made

    def patch(self, path: str, body: Document) -> None:
        """Merge into an object, or into its status."""
        self.call("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Delete an object at once."""
        with suppress(urllib.error.HTTPError):
            self.call("DELETE", path, {"gracePeriodSeconds": 0})

    def call(self, method: str, path: str, body: Document | None = None) -> Document:
        """One request as the administrator."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self._server.url}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "Authorization": f"Bearer {self._server.admin_token}",
                "Content-Type": MERGE if method == "PATCH" else "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=20, context=self._tls) as answer:  # noqa: S310
                found: Document = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            raise
        return found


@contextmanager
def deployed(stage: Stage, server: Kubernetes) -> Iterator[Cluster]:
    """Keep the objects of a running shop as it is, until the end."""
    cluster = Cluster(server)
    controller = _Controller(stage, cluster)
    controller.begin()
    ending = threading.Event()

    def control() -> None:
        while not ending.wait(EVERY_S):
            with suppress(OSError):
                controller.reconcile()

    thread = threading.Thread(target=control, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        ending.set()
        thread.join(30)


class _Controller:
    def __init__(self, stage: Stage, cluster: Cluster) -> None:
        self._stage = stage
        self._cluster = cluster
        self._revisions: dict[str, list[str]] = {}
        self._restarts: dict[str, int] = {}
        self._told = 0

    def begin(self) -> None:
        """A namespace, a node, and for each service what `kubectl apply` makes of its manifests."""
        with suppress(urllib.error.HTTPError):  # a folder that was used before
            self._cluster.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self._cluster.create("/api/v1/nodes", {"metadata": {"name": NODE}, "status": _node_status()})
        for name in self._stage.shop.services:
            labels = {"app": name}
            self._cluster.create(
                f"/api/v1/namespaces/{NAMESPACE}/services",
                {"metadata": {"name": name}, "spec": {"selector": labels, "ports": [{"port": 80}]}},
            )
            self._roll_out(self._stage.running[name])

    def reconcile(self) -> None:
        """Bring the objects up to date."""
        for name, running in list(self._stage.running.items()):
            if self._revisions[name][-1] != running.revision:
                self._roll_out(running)
        for condition in self._stage.conditions[self._told :]:
            self._told += 1
            self._tell(condition.entity or "", condition.reason, condition.message, condition.at)

    def _roll_out(self, running: RunningService) -> None:
        name, revision = running.name, running.revision
        earlier = self._revisions.setdefault(name, [])
        number = len(earlier) + 1
        base = f"/apis/apps/v1/namespaces/{NAMESPACE}"
        template = _template(name, revision)
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
        if not earlier:
            self._cluster.create(f"{base}/deployments", {"metadata": {"name": name}, "spec": spec})
        else:
            self._cluster.patch(f"{base}/deployments/{name}", {"spec": {"template": template}})
            self._cluster.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod_of(name, earlier[-1])}")
        deployment = self._cluster.call("GET", f"{base}/deployments/{name}")
        pod = pod_of(name, revision)
        replica_set = pod.rpartition("-")[0]
        made = self._cluster.create(
            f"{base}/replicasets",
            {
                "metadata": {
                    "name": replica_set,
                    "labels": {"app": name},
                    "annotations": {"deployment.kubernetes.io/revision": str(number)},
                    "ownerReferences": [_owner("apps/v1", "Deployment", deployment)],
                },
                "spec": spec,
            },
        )
        self._cluster.create(
            f"/api/v1/namespaces/{NAMESPACE}/pods",
            {
                "metadata": {
                    "name": pod,
                    "labels": {"app": name},
                    "ownerReferences": [_owner("apps/v1", "ReplicaSet", made)],
                },
                "spec": {**template["spec"], "nodeName": NODE},
                "status": _pod_status(name, now(), restarts=self._restarts.get(name, 0)),
            },
        )
        self._cluster.patch(
            f"{base}/deployments/{name}/status",
            {"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1}},
        )
        self._endpoints(name, pod, exists=bool(earlier))
        earlier.append(revision)

    def _endpoints(self, name: str, pod: str, *, exists: bool) -> None:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
        endpoints = [
            {"addresses": ["10.1.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": pod}}
        ]
        if exists:
            self._cluster.patch(f"{path}/{name}", {"endpoints": endpoints})
            return
        metadata = {"name": name, "labels": {"kubernetes.io/service-name": name}}
        self._cluster.create(path, {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints})

    def _tell(self, entity: str, reason: str, message: str, at: datetime) -> None:
        """What the kubelet says of a container that was killed or ended."""
        name = entity.partition(":")[2]
        running = self._stage.running[name]
        pod = pod_of(name, running.revision)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}"
        self._restarts[name] = self._restarts.get(name, 0) + 1
        status = _pod_status(name, at, restarts=self._restarts[name], ended=reason)
        self._cluster.patch(f"{path}/status", {"status": status})
        found = self._cluster.call("GET", path)
        stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        self._cluster.create(
            f"/api/v1/namespaces/{NAMESPACE}/events",
            {
                "metadata": {"name": f"{pod}.{self._told:x}"},
                "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": pod, "uid": found["metadata"]["uid"]},
                "type": "Warning",
                "reason": reason,
                "message": message,
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "count": 1,
            },
        )


def _template(name: str, revision: str) -> Document:
    limits = {"memory": str(MEMORY_LIMIT_BYTES)}
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": name, "image": f"shop/{name}:{revision}", "resources": {"limits": limits}}]},
    }


def _owner(version: str, kind: str, item: Document) -> Document:
    about = item["metadata"]
    return {"apiVersion": version, "kind": kind, "name": about["name"], "uid": about["uid"], "controller": True}


def _pod_status(name: str, at: datetime, *, restarts: int, ended: str | None = None) -> Document:
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    container: Document = {
        "name": name,
        "image": "shop",
        "imageID": "shop",
        "ready": True,
        "restartCount": restarts,
        "state": {"running": {"startedAt": stamp}},
    }
    if ended is not None:
        code = 137 if ended == "OOMKilled" else 1
        reason = ended if ended == "OOMKilled" else "Error"
        container["lastState"] = {
            "terminated": {"exitCode": code, "reason": reason, "finishedAt": stamp, "startedAt": stamp}
        }
    if ended == "BackOff":
        container |= {"ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}
    ready = "True" if container["ready"] else "False"
    conditions = [{"type": kind, "status": ready, "lastTransitionTime": stamp} for kind in ("Ready", "ContainersReady")]
    conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp})
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [container], "startTime": stamp}


def _node_status() -> Document:
    stamp = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": stamp}
    fine = [
        {"type": kind, "status": "False", "reason": f"Kubelet{kind}", "lastTransitionTime": stamp}
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    return {"conditions": [ready, *fine], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}
