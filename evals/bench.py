"""`make bench`: where an investigation's time goes, and how reading and analysing grow with the system.

Machines are shared and noisy: compare figures of one run, never of two days.
"""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from inquest import Inquest
from rich.console import Console
from rich.table import Table

from activities.analysis.context import IncidentContext
from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.findings import find
from activities.analysis.graph import Graph
from activities.analysis.ranking import rank
from activities.analysis.verification import claims_of, verified
from activities.answers import COLUMNS, compacted
from activities.memory.uuid7 import uuid7
from activities.telemetry.recorded import open_bundle
from evals.bench_cluster import bench_cluster
from evals.bench_history import bench_history
from evals.bench_knowledge import bench_knowledge
from evals.bench_topology import bench_topology
from evals.bundles import Recording, write_bundle
from evals.offline import diagnose, evidence_of
from infra.settings import Settings
from infra.stack import wait_until_stopped
from workflows.contracts.alert import Alert, Severity
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.identifiers import Digest, EntityId
from workflows.contracts.investigation import Purpose
from workflows.contracts.probe import LogProbe, MetricProbe, Probe, TraceProbe, Window
from workflows.contracts.report import Report

OUT = Console()
RECORDINGS = Path(__file__).parent / "recordings"
RUNS = 5
SERVICES = (12, 25, 50, 100)
METRICS, POINTS, LINES, SPANS = 20, 120, 2_000, 2_000
"""Metrics and points per service; log lines and spans per service."""

LARGE = (50, 720, 5_000, 5_000)
"""Metrics, points a metric, log lines and spans per service."""

BURST, CROWD = 60, 24
WARM_UP = 4
SMALL_BYTES = 400_000
LARGE_SERVICES = (10, 100, 1_000)
NAMES = (
    "cpu_utilization",
    "custom_gauge",
    "disk_used_percent",
    "error_ratio",
    "memory_working_set_bytes",
    "network_receive_bytes",
    "pool_connections_waiting",
    "queue_depth",
    "request_duration_seconds_mean",
    "requests_count",
)
"""What the metrics are about."""

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="inquest-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def synthetic(services: int, folder: Path) -> Path:
    """A bundle of that many services in a chain of calls, all healthy, with the sizes stated above."""
    rng = np.random.default_rng(services)
    start = NOON - timedelta(minutes=POINTS)
    names = [f"service:s{number:04d}" for number in range(services)]

    def spread(rows: int) -> pl.Series:
        offsets = np.sort(rng.integers(0, POINTS * 60_000_000, rows))
        return pl.Series([start]).cast(pl.Datetime("us", "UTC")).gather(np.zeros(rows, dtype=int)) + pl.Series(
            offsets
        ).cast(pl.Duration("us"))

    def column(values: list[str], rows: int) -> pl.Series:
        return pl.Series(values).gather(rng.integers(0, len(values), rows))

    minutes = [start + timedelta(minutes=minute) for minute in range(POINTS)]
    metrics = (
        pl.DataFrame({"entity": names})
        .join(
            pl.DataFrame({"metric": [f"{NAMES[number % len(NAMES)]}_{number}" for number in range(METRICS)]}),
            how="cross",
        )
        .join(pl.DataFrame({"ts": minutes}), how="cross")
        .with_columns(value=pl.Series(rng.gamma(9, 1, services * METRICS * POINTS)))
    )
    lines = services * LINES
    logs = pl.DataFrame(
        {
            "ts": spread(lines),
            "entity": column(names, lines),
            "severity": column(["info", "info", "info", "warning"], lines),
            "message": column([f"step {word} took {n} ms" for word in "abcdefgh" for n in range(50)], lines),
            "trace_id": column([""], lines),
            "span_id": column([""], lines),
        }
    )
    spans = services * SPANS
    own = np.arange(spans)
    traces = pl.DataFrame(
        {
            "ts": spread(spans),
            "duration_us": (rng.gamma(4, 1_000, spans)).astype(int),
            "trace_id": [str(number // services) for number in own],
            "span_id": [str(number) for number in own],
            "parent_span_id": ["" if number % services == 0 else str(number - 1) for number in own],
            "entity": [names[number % services] for number in own],
            "operation": column(["get", "put", "list"], spans),
            "peer": column([""], spans),
            "error": rng.random(spans) < 0.001,
        }
    )
    recording = Recording(
        bundle_id=f"bench{services}",
        alert=Alert(source="bench", fingerprint="bench", title="bench", starts_at=NOON - timedelta(minutes=1)),
        visible=VisibleWindow(start=start, end=NOON),
        as_of=NOON,
        metrics=metrics,
        logs=logs,
        traces=traces,
    )
    write_bundle(recording, folder / recording.bundle_id)
    return folder / recording.bundle_id


def synthetic_answers(services: int) -> Evidence:
    """Answers about that many healthy services in a chain of calls, as large as `LARGE` says, without a backend.

    Nearly every line and span falls into a bucket of its own, so that answers are as long as they can be.
    """
    rng = np.random.default_rng(services)
    metrics, points, lines, spans = LARGE
    window = Window(start=NOON - timedelta(minutes=points), end=NOON)
    minutes = pl.datetime_range(window.start, NOON, "1m", closed="left", eager=True, time_unit="us")
    kinds = sorted(f'{NAMES[number % len(NAMES)]}{{part="{number // len(NAMES)}"}}' for number in range(metrics))
    names = [EntityId(f"service:s{number:04d}") for number in range(services)]
    answers: list[AnsweredProbe] = []

    def moments(rows: int) -> pl.Series:
        return minutes.gather(np.sort(rng.integers(0, points, rows))) + pl.Series(
            rng.integers(0, 6, rows) * 10_000_000
        ).cast(pl.Duration("us"))

    def column(values: list[str], rows: int) -> pl.Series:
        return pl.Series(values, dtype=pl.Categorical).gather(rng.integers(0, len(values), rows))

    def answered(probe: Probe, rows: dict[str, object]) -> None:
        frame = compacted(pl.DataFrame(rows).select(COLUMNS[probe.tool].names()))
        answers.append(AnsweredProbe(probe=probe, artifact=Digest("0" * 64), rows=frame))

    for number, name in enumerate(names):
        answered(
            MetricProbe(backend="bench", entity=name, window=window),
            {
                "metric": pl.Series(kinds, dtype=pl.Categorical).gather(np.repeat(np.arange(metrics), points)),
                "ts": pl.concat([minutes] * metrics),
                "value": rng.gamma(9, 1, metrics * points),
            },
        )
        answered(
            LogProbe(backend="bench", entity=name, window=window),
            {
                "severity": column(["info", "info", "info", "warning"], lines),
                "template": column([f"step {word} {part} took <*> ms" for word in "abcd" for part in "klmno"], lines),
                "ts": moments(lines),
                "count": np.ones(lines, dtype=np.int64),
                "example": column(["step a k took 5 ms"], lines),
                "after": pl.Series([None], dtype=pl.Categorical).gather(np.zeros(lines, dtype=np.int64)),
            },
        )
        took = rng.gamma(4, 1_000, spans).astype(np.int64)
        failed = (rng.random(spans) < 0.001).astype(np.int64)
        answered(
            TraceProbe(backend="bench", entity=name, window=window),
            {
                "operation": column(["get", "put", "list"], spans),
                "caller": column([names[number - 1] if number else ""], spans),
                "caller_operation": column(["get", "put", "list"] if number else [""], spans),
                "peer": column([""], spans),
                "ts": moments(spans),
                "unanswered": np.zeros(spans, dtype=bool),
                "count": np.ones(spans, dtype=np.int64),
                "errors": failed,
                "originating_errors": failed,
                "duration_us": took,
                "self_us": took // 2,
                "gap_us": took // 10,
                "max_us": took,
            },
        )
    rows = [(name, "", "service", "bench", 1.0) for name in names]
    rows += [(caller, callee, "calls", "bench", 1.0) for caller, callee in pairwise(names)]
    graph = Graph.from_answer(pl.DataFrame(rows, schema=COLUMNS["topology"], orient="row"))
    alert = Alert(source="bench", fingerprint="bench", title="bench", starts_at=NOON - timedelta(minutes=1))
    return Evidence(alerts=(alert,), as_of=NOON, answers=tuple(answers), graph=graph)


def peak_mb() -> str:
    """Megabytes that this process has held at most."""
    return str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 1_000_000)


def bench_growth() -> None:
    """Reading and analysing systems of growing size."""
    table = Table("services", "values", "lines", "spans", "queries, s", "findings, s", "conclusion, s", "peak MB")
    for services in SERVICES:
        with scratch() as folder:
            bundle = synthetic(services, folder)
            began = time.perf_counter()
            evidence, planned = evidence_of(bundle)
            queried = time.perf_counter()
            findings = find(evidence)
            found = time.perf_counter()
            diagnose(evidence, probes_planned=planned, findings=findings)
            concluded = time.perf_counter()
        table.add_row(
            str(services),
            f"{services * METRICS * POINTS:,}",
            f"{services * LINES:,}",
            f"{services * SPANS:,}",
            f"{queried - began:.2f}",
            f"{found - queried:.2f}",
            f"{concluded - found:.2f}",
            peak_mb(),
        )
    OUT.print(table)


def bench_large() -> None:
    """Findings and ranking over half a day of large systems."""
    metrics, points, lines, spans = LARGE
    table = Table("services", "values", "lines", "spans", "findings and ranking, processor s", "peak MB")
    for services in LARGE_SERVICES:
        evidence = synthetic_answers(services)
        began = time.process_time()
        found = find(evidence)
        rank(
            verified(found, claims_of(found, evidence.frames())),
            IncidentContext.of(evidence, probes_planned=len(evidence.answers)),
        )
        table.add_row(
            str(services),
            f"{services * metrics * points:,}",
            f"{services * lines:,}",
            f"{services * spans:,}",
            f"{time.process_time() - began:.1f}",
            peak_mb(),
        )
        del evidence
    OUT.print(table)


async def investigations(data_dir: Path) -> list[Report]:
    """The default incident, several times, on one embedded stack."""
    bundle = RECORDINGS / "bundles" / (RECORDINGS / "DEFAULT").read_text().strip()
    opened = open_bundle(bundle)
    reports = []
    async with Inquest.connect(Settings(data_dir=data_dir), workers=True) as inquest:
        for number in range(RUNS):
            investigation = await inquest.start(
                opened.alert, bundle=bundle, as_of=opened.manifest.as_of, memory_scope=f"bench:{number}"
            )
            reports.append(await investigation.report())
    return reports


async def timed(inquest: Inquest, folder: Path, *, severity: Severity = Severity.WARNING) -> tuple[float, float]:
    """When one investigation's alert was given and when its report was there, in seconds of the monotonic clock."""
    alert = open_bundle(folder).alert
    own = alert.model_copy(update={"fingerprint": str(uuid7()), "group_key": None, "severity": severity})
    begun = time.monotonic()
    investigation = await inquest.start(own, bundle=folder, purpose=Purpose.REPLAY, memory_scope=f"bench:{uuid7()}")
    await investigation.report()
    return begun, time.monotonic()


async def burst(data_dir: Path, folders: list[Path]) -> tuple[float, list[float], float]:
    """Seconds of one investigation alone, of each of `BURST` at once by when they end, and of a critical one that comes
    four seconds after `CROWD` others; with `inquest up` beside."""
    async with Inquest.connect(Settings(data_dir=data_dir)) as inquest:
        for _ in range(WARM_UP):
            await timed(inquest, folders[0])
        alone = float(
            np.median([ended - begun for begun, ended in [await timed(inquest, folders[0]) for _ in range(3)]])
        )
        many = await asyncio.gather(*(timed(inquest, folders[n % len(folders)]) for n in range(BURST)))
        first = min(begun for begun, _ in many)
        crowd = [asyncio.create_task(timed(inquest, folders[n % len(folders)])) for n in range(CROWD)]
        await asyncio.sleep(4)
        begun, ended = await timed(inquest, folders[0], severity=Severity.CRITICAL)
        await asyncio.gather(*crowd)
        return alone, sorted(end - first for _, end in many), ended - begun


def command(*arguments: str, data_dir: Path, stdout: int) -> subprocess.Popen[bytes]:
    """`inquest` on a data folder."""
    program = Path(sys.executable).parent / "inquest"
    environment = {**os.environ, "INQUEST_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(  # noqa: S603 - our own command
        [program, *arguments], env=environment, stdout=stdout, stderr=subprocess.DEVNULL
    )


def bench_command() -> None:
    """Seconds of the whole command that a newcomer runs: the first time, and again."""
    bundle = RECORDINGS / "bundles" / (RECORDINGS / "DEFAULT").read_text().strip()
    table = Table("inquest investigate", "s")
    with scratch() as data_dir:
        for name in ("first time", "second", "third"):
            began = time.monotonic()
            command("investigate", str(bundle), data_dir=data_dir, stdout=subprocess.DEVNULL).wait()
            table.add_row(name, f"{time.monotonic() - began:.1f}")
            wait_until_stopped(data_dir)
    OUT.print(table)


def bench_burst() -> None:
    """Many alerts at once, and a critical one among them."""
    bundles = sorted((RECORDINGS / "bundles").iterdir(), key=lambda path: (path / "logs.parquet").exists())
    small = [path for path in bundles if sum(item.stat().st_size for item in path.iterdir()) < SMALL_BYTES]
    with scratch() as data_dir:
        with command("up", data_dir=data_dir, stdout=subprocess.PIPE) as up:
            assert up.stdout is not None
            up.stdout.readline()
            alone, ends, critical = asyncio.run(burst(data_dir, small))
            up.terminate()
        wait_until_stopped(data_dir)
    table = Table(title=f"{BURST} alerts at once; a critical one {CROWD} others later")
    for name in ("alone, s", "first of all, s", "half, s", "last, s", "a minute", "critical, s"):
        table.add_column(name)
    figures = (alone, ends[0], ends[len(ends) // 2], ends[-1], 60 * len(ends) / ends[-1], critical)
    table.add_row(*(f"{value:.1f}" for value in figures))
    OUT.print(table)


def bench_investigation() -> None:
    """Seconds of one investigation, and of each of its steps."""
    with scratch() as folder:
        reports = asyncio.run(investigations(folder))
        wait_until_stopped(folder)
    seconds = [(report.run.finished_at - report.run.started_at).total_seconds() for report in reports]
    table = Table("step", "median, s")
    table.add_row("investigation", f"{np.median(seconds):.2f}")
    for step in reports[0].run.steps:
        values = [
            item.duration.total_seconds() for report in reports for item in report.run.steps if item.step == step.step
        ]
        table.add_row(step.step, f"{np.median(values):.2f}")
    OUT.print(table)


if __name__ == "__main__":
    benches = {
        "investigation": bench_investigation,
        "command": bench_command,
        "burst": bench_burst,
        "growth": bench_growth,
        "large": bench_large,
        "cluster": bench_cluster,
        "history": bench_history,
        "knowledge": bench_knowledge,
        "topology": bench_topology,
    }
    for chosen in sys.argv[1:] or benches:
        benches[chosen]()
