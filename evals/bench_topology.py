"""A topology of many entities: how long a walk of three hops takes, both ways, and what all of several alerts share."""

import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from infra.settings import Settings
from infra.stack import wait_until_stopped
from workers.installation import Installation, open_installation
from workflows.contracts.identifiers import EntityId, Tenant
from workflows.contracts.topology import Edge, EdgeKind

SIZES = ((10_000, 50_000), (100_000, 500_000))
"""Entities and edges."""

ASKED, HOPS, COMMON = 200, 3, 3
ENVIRONMENT, TENANT = "bench", Tenant("bench")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OUT = Console()


def edges(entities: int, count: int, seed: int = 14) -> Iterator[Edge]:
    """Calls whose callees are drawn with unequal odds, so that some services are called by thousands."""
    drawn = np.random.default_rng(seed)
    callers = drawn.integers(0, entities, count)
    callees = (entities * drawn.random(count) ** 2).astype(int)
    confidences = drawn.uniform(0.5, 1, count)
    for caller, callee, confidence in zip(callers, callees, confidences, strict=True):
        yield Edge(
            source=EntityId(f"service:s{caller}"),
            target=EntityId(f"service:s{callee}"),
            kind=EdgeKind.CALLS,
            origin="traces",
            confidence=float(confidence),
        )


def bench_topology() -> None:
    """Learning, and the three questions, at two sizes."""
    table = Table(title=f"topology, {HOPS} hops, {ASKED} walks each", box=None)
    for name in ("entities", "edges", "learned, edges/s", "dependents p50/p95 ms", "dependencies", "common of 3"):
        table.add_column(name)
    for entities, count in SIZES:
        with tempfile.TemporaryDirectory(prefix="inquest-bench-") as folder:
            with open_installation(Settings(data_dir=Path(folder))) as installation:
                table.add_row(f"{entities:,}", f"{count:,}", *_figures(installation, entities, count))
            wait_until_stopped(Path(folder))
    OUT.print(table)


def _figures(installation: Installation, entities: int, count: int) -> Iterator[str]:
    record = installation.store.topology(TENANT)
    began = time.perf_counter()
    record.observe(ENVIRONMENT, [], edges(entities, count), at=NOW)
    yield f"{count / (time.perf_counter() - began):,.0f}"
    names = [EntityId(f"service:s{number}") for number in np.random.default_rng(7).integers(0, entities, ASKED)]
    yield _timed(names, lambda some: record.dependents(ENVIRONMENT, some[0], at=NOW, hops=HOPS))
    yield _timed(names, lambda some: record.dependencies(ENVIRONMENT, some[0], at=NOW, hops=HOPS))
    yield _timed(names, lambda some: record.common_causes(ENVIRONMENT, some, at=NOW, hops=HOPS))


def _timed(names: list[EntityId], ask: Callable[[list[EntityId]], object]) -> str:
    taken = []
    for number in range(len(names) - COMMON):
        began = time.perf_counter()
        ask(names[number : number + COMMON])
        taken.append(time.perf_counter() - began)
    return " / ".join(f"{np.percentile(taken, part) * 1e3:.0f}" for part in (50, 95))
