"""A cluster of many pods: time, calls and memory of reading it. Its own process says what it took."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from activities.telemetry.backend import run_probe
from activities.telemetry.entities import Resolver
from activities.telemetry.kubernetes import KIND
from activities.telemetry.plan import inventory_probe
from activities.telemetry.registry import Opening
from evals.lab.cluster import Cluster
from evals.lab.live import allow
from evals.lab.servers import Kubernetes, ServerMissingError, kubernetes
from workflows.contracts.probe import ClusterProbe, Window

PODS, WORKLOADS, BROKEN_EVERY, AT_ONCE = 14_000, 700, 100, 8
TOKEN = "reads-the-benchmark"  # noqa: S105 - of a server that lives for minutes on loopback


def filled(cluster: Cluster) -> None:
    """Pods of many workloads, every hundredth of which crashes."""
    cluster.create("/api/v1/namespaces", {"metadata": {"name": "many"}})
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def make(number: int) -> None:
        name = f"workload-{number % WORKLOADS}"
        container = {
            "name": "c",
            "image": f"registry.internal/{name}:1.2.3",
            "env": [{"name": "A", "value": "b" * 200}],
        }
        broken = number % BROKEN_EVERY == 0
        state = {"waiting": {"reason": "CrashLoopBackOff"}} if broken else {"running": {"startedAt": stamp}}
        status = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(not broken), "lastTransitionTime": stamp}],
            "containerStatuses": [
                {"name": "c", "image": "i", "imageID": "i", "ready": not broken, "restartCount": 0, "state": state}
            ],
        }
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": name, "controller": True}
        about = {"name": f"{name}-{number // WORKLOADS}", "labels": {"app": name}, "ownerReferences": [owner]}
        body = {"metadata": about, "spec": {"containers": [container], "nodeName": "n"}, "status": status}
        cluster.create("/api/v1/namespaces/many/pods", body)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(make, range(PODS)))


def measured(server: Kubernetes, folder: Path) -> dict[str, float]:
    """What reading it takes in a process that does nothing else."""
    given = {"url": server.url, "token": str(folder / "token"), "trusted": str(server.ca_file)}
    command = [sys.executable, "-m", "evals.bench_cluster", json.dumps(given)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    return found


def read(given: dict[str, str]) -> dict[str, float]:
    """Inventory and conditions, as one investigation asks for them."""
    config = KIND.config.model_validate(
        {
            "name": "k",
            "backend": "kubernetes",
            "url": given["url"],
            "trusted": given["trusted"],
            "credential": {"file": given["token"]},
            "limits": {"total_megabytes": 1_000, "per_second": 1_000},
        }
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    now, began = datetime.now(UTC), time.monotonic()
    found = {}
    for name, probe in (
        ("inventory", inventory_probe("k", now)),
        ("conditions", ClusterProbe(backend="k", window=Window(start=now - timedelta(days=1), end=now))),
    ):
        backend = KIND.open(Opening(config=config, resolver=lambda: Resolver({})))
        answer = run_probe(backend, probe)
        backend.close()
        found[f"{name} rows"] = float(0 if answer.rows is None else answer.rows.height)
        found[f"{name} calls"] = float(backend.spent.queries)
        found[f"{name} MB"] = backend.spent.bytes_received / 1e6
        found[f"{name} s"] = time.monotonic() - began
        began = time.monotonic()
    found["memory before, MB"] = before / 1e3
    found["memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found


def bench_cluster() -> None:
    """Reading a cluster of 14,000 pods."""
    with tempfile.TemporaryDirectory(prefix="inquest-bench-") as name:
        folder = Path(name)
        try:
            with kubernetes(folder / "server", {TOKEN: ("reader", ["readers"])}) as server:
                cluster = Cluster(server)
                allow(cluster, "readers")
                filled(cluster)
                (folder / "token").write_text(TOKEN)
                found = measured(server, folder)
        except ServerMissingError as error:
            Console().print(str(error))
            return
    table = Table("figure", "value", title=f"a cluster of {PODS:,} pods, pages of 500")
    for figure, value in found.items():
        table.add_row(figure, f"{value:,.1f}")
    Console().print(table)


def main(arguments: Sequence[str]) -> None:
    """The measuring process."""
    print(json.dumps(read(json.loads(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
