"""`make bench`: where an investigation's time goes, and how reading and analysing grow with the system.

Machines are shared and noisy: compare figures of one run, never of two days.
"""

import asyncio
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from inquest import Inquest
from rich.console import Console
from rich.table import Table

from activities.analysis.conclusion import conclude
from activities.analysis.findings import find
from activities.telemetry.recorded import open_bundle
from evals.bundles import Recording, write_bundle
from evals.offline import evidence_of
from infra.settings import Settings
from infra.stack import wait_until_stopped
from workflows.contracts.alert import Alert
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.report import Report

OUT = Console()
RECORDINGS = Path(__file__).parent / "recordings"
RUNS = 5
SERVICES = (12, 25, 50, 100)
METRICS, POINTS, LINES, SPANS = 20, 120, 2_000, 2_000
"""Metrics and points per service; log lines and spans per service."""

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
        .join(pl.DataFrame({"metric": [f"metric_{number}" for number in range(METRICS)]}), how="cross")
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


def bench_growth() -> None:
    """Reading and analysing systems of growing size."""
    table = Table("services", "values", "lines", "spans", "asking, s", "findings, s", "conclusion, s", "peak MB")
    for services in SERVICES:
        with scratch() as folder:
            bundle = synthetic(services, folder)
            began = time.perf_counter()
            evidence, planned = evidence_of(bundle)
            asked = time.perf_counter()
            findings = find(evidence)
            found = time.perf_counter()
            conclude(findings, evidence, unseen=[], planned=planned)
            concluded = time.perf_counter()
        table.add_row(
            str(services),
            f"{services * METRICS * POINTS:,}",
            f"{services * LINES:,}",
            f"{services * SPANS:,}",
            f"{asked - began:.2f}",
            f"{found - asked:.2f}",
            f"{concluded - found:.2f}",
            str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024),
        )
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
    bench_investigation()
    bench_growth()
