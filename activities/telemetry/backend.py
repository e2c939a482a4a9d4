"""What a telemetry backend is: a source for each modality it has."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import polars as pl

from workflows.contracts.observation import Coverage, ObservationStatus
from workflows.contracts.probe import (
    ChangeProbe,
    ClusterProbe,
    InventoryProbe,
    LogProbe,
    MetricProbe,
    Modality,
    Probe,
    TopologyProbe,
    TraceProbe,
    Window,
)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a source was troubled with."""

    queries: int = 0
    """Requests that were sent, those that failed included."""

    bytes_received: int = 0
    """As they came over the network, compressed where the server does so."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one probe, before redaction and storage."""

    status: ObservationStatus
    rows: pl.DataFrame | None = None
    coverage: Coverage | None = None
    detail: str = ""


def answered(rows: pl.DataFrame, window: Window, *, total: int | None = None, detail: str = "") -> Answer:
    """An answer made of rows: `empty` without any, `truncated` when `total` says that there are more."""
    coverage = Coverage(window=window, rows_total=rows.height if total is None else total)
    if total is not None and total > rows.height:
        status = ObservationStatus.TRUNCATED
        detail = detail or f"{rows.height} of {total} rows"
    else:
        status = ObservationStatus.OK if rows.height else ObservationStatus.EMPTY
    return Answer(status=status, rows=rows, coverage=coverage, detail=detail)


Answers = Iterator[tuple[Probe, Answer]]
"""Answers as they come, each with its probe; of those that were given together every one once."""


@runtime_checkable
class MetricSource(Protocol):
    def metrics(self, probes: Sequence[MetricProbe]) -> Answers:
        """All series of each entity; counters as rates per second."""


@runtime_checkable
class LogSource(Protocol):
    def logs(self, probes: Sequence[LogProbe]) -> Answers:
        """Masked lines of each entity with their counts per bucket."""


@runtime_checkable
class TraceSource(Protocol):
    def traces(self, probes: Sequence[TraceProbe]) -> Answers:
        """Spans of each entity, summed per operation, caller and bucket."""


@runtime_checkable
class ChangeSource(Protocol):
    def changes(self, probes: Sequence[ChangeProbe]) -> Answers:
        """Changes in the window."""


@runtime_checkable
class ClusterSource(Protocol):
    def cluster(self, probes: Sequence[ClusterProbe]) -> Answers:
        """Conditions and events of cluster objects in the window."""


@runtime_checkable
class TopologySource(Protocol):
    def topology(self, probes: Sequence[TopologyProbe]) -> Answers:
        """Entities and edges as known at the window's end, by a source that knows the entities themselves."""


@runtime_checkable
class InventorySource(Protocol):
    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """By which labels the source knows what exists, and what it knows of how that hangs together."""


class TelemetryBackend(Protocol):
    """One opened source. It also implements the protocols of the modalities it has, and no others."""

    def together(self, probes: Sequence[Probe]) -> list[list[Probe]]:
        """Which probes it answers by the same queries; the first groups first."""

    def interrupt(self) -> None:
        """Give up the queries being run now; they come back as timed out."""

    def close(self) -> None:
        """Release connections and memory."""

    @property
    def spent(self) -> Spent:
        """What it has cost so far."""


@runtime_checkable
class SaysWhatItLacks(Protocol):
    """A source that knows which modalities it has nothing of."""

    @property
    def absent(self) -> frozenset[Modality]:
        """These."""


def one_by_one(probes: Sequence[Probe]) -> list[list[Probe]]:
    """Every probe by itself, for backends that gain nothing by answering several together."""
    return [[probe] for probe in probes]


def by_tool(probes: Sequence[Probe]) -> list[list[Probe]]:
    """All probes of a tool together, in the order in which the tools come first."""
    groups: dict[str, list[Probe]] = {}
    for probe in probes:
        groups.setdefault(probe.tool, []).append(probe)
    return list(groups.values())


_PROTOCOLS: dict[str, type] = {
    "metrics": MetricSource,
    "logs": LogSource,
    "traces": TraceSource,
    "changes": ChangeSource,
    "cluster": ClusterSource,
    "topology": TopologySource,
    "inventory": InventorySource,
}


def run_probes(backend: TelemetryBackend, probes: Sequence[Probe]) -> Answers:
    """Put probes of one tool to a backend; a modality that it does not have was never recorded there."""
    tool = probes[0].tool
    protocol = _PROTOCOLS.get(tool)
    if protocol is not None and isinstance(backend, protocol):
        query: Callable[[Sequence[Probe]], Answers] = getattr(backend, tool)
        return query(probes)
    missing = Answer(status=ObservationStatus.NOT_RECORDED, detail=f"this source has no {tool}")
    return iter([(probe, missing) for probe in probes])


def run_probe(backend: TelemetryBackend, probe: Probe) -> Answer:
    """Put one probe to a backend."""
    return next(answer for found, answer in run_probes(backend, [probe]) if found.key == probe.key)
