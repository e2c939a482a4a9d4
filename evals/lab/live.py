"""The lab as a live system: a real alert goes through `inquest serve`, and a report comes out.

    python -m evals.lab.live OUT --count 12 --seed 7

plays that many faults, one after the other, each in a shop of its own under drawn names, and writes what came out of
each to OUT/results.json. Nothing is told to Inquest but an environment file.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from activities.memory.listing import Wanted, list_investigations
from activities.telemetry.kubernetes.resources import cluster_rules
from evals.baselines import METHODS, case_input, rank_all
from evals.capture import capture_investigation
from evals.lab.cluster import Cluster, deployed
from evals.lab.faults import Fault, Injected, catalogue
from evals.lab.machine import ImpossibleHereError
from evals.lab.monitoring import Monitoring, monitored, tolerated
from evals.lab.servers import kubernetes
from evals.lab.shop import Shop, grown_shop, renamed
from evals.lab.stage import Stage
from evals.results import Ranked
from infra.children import spawn
from infra.settings import Settings
from infra.stack import wait_until_stopped
from workers.installation import Installation, open_installation
from workflows.contracts.change import ChangeKind
from workflows.contracts.identifiers import InvestigationId
from workflows.contracts.report import Report

ENVIRONMENT = "lab"
QUIET_S = 100.0
BESIDE = ("alerted-entity", "latest-change", "n-sigma", "random-walk")
"""Simple methods that stand beside every figure."""

ALERT_LIMIT_S, REPORT_LIMIT_S = 180.0, 120.0
LOOK_S = 0.2
READER_TOKEN = "the-labs-reader"  # noqa: S105 - of a server that lives for minutes on loopback


class NothingHappenedError(RuntimeError):
    """No alert, or no report, came in time."""


@dataclass(frozen=True, kw_only=True)
class LiveResult:
    """What came out of one incident."""

    fault: str
    seed: int
    injected: str
    """The entity that the fault was injected into."""

    fault_kind: str
    verdict: str
    """The entity that the report names first; empty for none."""

    verdict_kind: str
    probability: float
    right: bool
    rank: int
    """Of the right entity among the suspects, from 1; 0 where it is none."""

    baselines: dict[str, int]
    """The same rank by simple methods, which are given the same answers."""

    fault_to_alert_s: float
    alert_to_report_s: float
    """From the alert's acceptance at the gateway to the published report."""

    queries: dict[str, int]
    bytes_received: dict[str, int]
    investigation_id: str
    findings_sha256: str
    sentence: str


@dataclass(frozen=True)
class LiveSystem:
    """A running shop under watch, with Inquest at its door."""

    stage: Stage
    monitoring: Monitoring
    installation: Installation
    gateway: str


@contextmanager
def live_system(stage: Stage, folder: Path) -> Iterator[LiveSystem]:
    """Run a shop, its monitoring, its cluster and `inquest serve`; at its end nothing writes to `folder`."""
    environments, port = folder / "environments", _free_port()
    environments.mkdir(parents=True)
    gateway = f"http://127.0.0.1:{port}"
    with ExitStack() as running:
        running.enter_context(stage)
        webhook = f"{gateway}/v1/alerts/alertmanager?environment={ENVIRONMENT}"
        monitoring = running.enter_context(monitored(stage, folder / "servers", webhook=webhook))
        with tolerated(monitoring, "kubernetes"):
            running.enter_context(_cluster(stage, folder / "servers" / "kubernetes", monitoring))
        (environments / f"{ENVIRONMENT}.yaml").write_text(yaml.safe_dump(monitoring.environment()))
        settings = Settings(
            data_dir=folder / "data", environments_dir=environments, gateway_address=f"127.0.0.1:{port}"
        )
        running.callback(wait_until_stopped, settings.data_dir)
        installation = running.enter_context(open_installation(settings))
        running.enter_context(_serving(settings, folder / "serve.log", gateway))
        yield LiveSystem(stage, monitoring, installation, gateway)


@contextmanager
def _cluster(stage: Stage, folder: Path, monitoring: Monitoring) -> Iterator[Cluster]:
    with kubernetes(folder, {READER_TOKEN: ("inquest", ["inquest"])}) as server, deployed(stage, server) as cluster:
        allow(cluster, "inquest")
        token = folder / "token"
        token.write_text(READER_TOKEN)
        monitoring.kubernetes, monitoring.token_file = server, token
        yield cluster


def allow(cluster: Cluster, group: str) -> None:
    """Give a group the ClusterRole that the backend says it needs, and no more."""
    rules = [
        {"apiGroups": list(rule.groups), "resources": list(rule.resources), "verbs": list(rule.verbs)}
        for rule in cluster_rules(logs=True)
    ]
    base = "/apis/rbac.authorization.k8s.io/v1"
    cluster.create(f"{base}/clusterroles", {"metadata": {"name": "inquest"}, "rules": rules})
    cluster.create(
        f"{base}/clusterrolebindings",
        {
            "metadata": {"name": "inquest"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "inquest"},
            "subjects": [{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}],
        },
    )


@contextmanager
def _serving(settings: Settings, log: Path, gateway: str) -> Iterator[None]:
    command = [str(Path(sys.executable).with_name("inquest")), "serve"]
    process = spawn(command, log=log, environment={**os.environ, **settings.environment()})
    try:
        until = time.monotonic() + 60
        while not _ready(gateway):
            if process.poll() is not None or time.monotonic() > until:
                raise NothingHappenedError(f"inquest serve did not come up:\n{log.read_text()[-2_000:]}")
            time.sleep(LOOK_S)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(gateway: str) -> bool:
    try:
        with urllib.request.urlopen(f"{gateway}/readyz", timeout=5) as answer:  # noqa: S310 - our own server
            return bool(answer.status == 200)
    except OSError:
        return False


def announce_changes(system: LiveSystem) -> None:
    """Tell the gateway of flags, migrations and the like, as the pipelines do that make them."""
    changes = [
        {
            "id": change.id,
            "at": change.at.isoformat(),
            "kind": change.kind.value,
            "target": change.target,
            "title": change.title,
            "detail": change.detail,
            "revision": change.revision,
        }
        for change in system.stage.changes
        if change.kind is not ChangeKind.DEPLOY or system.monitoring.kubernetes is None
    ]
    if changes:
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{system.gateway}/v1/changes?environment={ENVIRONMENT}",
            data=json.dumps(changes).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            answer.read()


def play(fault: Fault, name: str, system: LiveSystem) -> tuple[Injected, datetime]:
    """Inject a fault into the running shop; returns what was done, and when."""
    began = datetime.now(UTC)
    injected = fault.inject(system.stage, name)
    announce_changes(system)
    return injected, began


def investigated(system: LiveSystem, began: datetime) -> tuple[InvestigationId, Report]:
    """The first investigation that was opened since then, and its report.

    Raises:
        NothingHappenedError: there is none, or none in time.
    """
    engine, tenant = system.installation.engine, system.installation.tenant
    wanted = Wanted(opened_after=began, live=True)
    until = time.monotonic() + ALERT_LIMIT_S
    while not (rows := list_investigations(engine, tenant, limit=10, wanted=wanted)):
        if time.monotonic() > until:
            raise NothingHappenedError(f"no alert came within {ALERT_LIMIT_S:.0f} s")
        time.sleep(LOOK_S)
    investigation_id = rows[-1].investigation_id
    ledger = system.installation.ledger(investigation_id)
    until = time.monotonic() + REPORT_LIMIT_S
    while (report := ledger.report()) is None:
        if time.monotonic() > until:
            raise NothingHappenedError(f"no report came within {REPORT_LIMIT_S:.0f} s")
        time.sleep(LOOK_S)
    return investigation_id, report


def live_incident(fault_name: str, *, seed: int, folder: Path, keep: Path) -> LiveResult:
    """Play one fault in a shop under names drawn from the seed, and keep what was captured of it.

    Raises:
        NothingHappenedError: no alert, or no report, came in time.
        ImpossibleHereError: this machine does not allow the fault.
    """
    shop: Shop = renamed(grown_shop(0, seed), seed)
    stage, fault = Stage(shop, seed=seed), catalogue()[fault_name]
    name = shop.service_for(fault.role)
    fault.arrange(stage, name)
    with live_system(stage, folder) as system:
        time.sleep(QUIET_S)
        injected, began = play(fault, name, system)
        investigation_id, report = investigated(system, began)
        bundle, _ = capture_investigation(system.installation, investigation_id, keep)
    baselines = rank_all(case_input(bundle, None), {name: METHODS[name] for name in BESIDE})
    return _result(fault_name, seed, injected, began, report, baselines=baselines)


def _rank(entities: Iterable[str], wanted: set[str]) -> int:
    return next((place for place, entity in enumerate(entities, 1) if entity in wanted), 0)


def _result(
    fault: str,
    seed: int,
    injected: Injected,
    began: datetime,
    report: Report,
    *,
    baselines: Mapping[str, Sequence[Ranked]],
) -> LiveResult:
    wanted: set[str] = {injected.entity, *injected.aliases}
    suspects = [item.entity for item in report.findings.hypotheses if item.entity is not None]
    rank = _rank(suspects, wanted)
    verdict, run = report.findings.verdict, report.run
    return LiveResult(
        fault=fault,
        seed=seed,
        injected=injected.entity,
        fault_kind=injected.fault_kind.value,
        verdict=verdict.entity or "",
        verdict_kind=verdict.fault_kind.value,
        probability=verdict.probability,
        right=bool(suspects) and suspects[0] in wanted and verdict.entity in wanted,
        rank=rank,
        baselines={name: _rank([item.entity for item in found], wanted) for name, found in baselines.items()},
        fault_to_alert_s=_seconds(run.started_at - began),
        alert_to_report_s=_seconds(run.finished_at - run.started_at),
        queries={item.source: item.queries for item in run.sources},
        bytes_received={item.source: item.bytes_received for item in run.sources},
        investigation_id=run.investigation_id,
        findings_sha256=report.findings_sha256,
        sentence=verdict.sentence,
    )


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 1)


def drawn_faults(count: int, seed: int) -> list[str]:
    """Faults in a drawn order, every kind once before any comes again."""
    names, rng = sorted(catalogue()), random.Random(seed)  # noqa: S311 - a choice, not a secret
    found: list[str] = []
    while len(found) < count:
        found += rng.sample(names, len(names))
    return found[:count]


def _free_port() -> int:
    import socket  # noqa: PLC0415 - only here

    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the faults and write what came out."""
    parser = argparse.ArgumentParser(description="Play faults in a live shop, from alert to report.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--fault", action="append", choices=sorted(catalogue()), help="default: drawn from the seed")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    results = []
    for number, name in enumerate(given.fault or drawn_faults(given.count, given.seed)):
        folder = Path(tempfile.mkdtemp(prefix="inquest-live-"))
        try:
            found = live_incident(name, seed=given.seed + number, folder=folder, keep=given.out / "captured")
        except (NothingHappenedError, ImpossibleHereError) as error:
            print(f"{name}: {error}", flush=True)
            continue
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        results.append(asdict(found))
        mark = "right" if found.right else f"WRONG (rank {found.rank})"
        print(f"{name}: {mark}, {found.alert_to_report_s} s: {found.sentence}", flush=True)
        (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    right = sum(item["right"] for item in results)
    print(f"{right} of {len(results)} right")
    for name in BESIDE:
        print(f"{sum(item['baselines'].get(name) == 1 for item in results)} of {len(results)} by {name}")


if __name__ == "__main__":
    main()
