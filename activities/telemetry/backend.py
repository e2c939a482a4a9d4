"""What a telemetry backend is: a source for each modality it has."""

from dataclasses import dataclass
from typing import Protocol

import polars as pl

from workflows.contracts.observation import Coverage, ObservationStatus
from workflows.contracts.probe import (
    ChangeProbe,
    ClusterProbe,
    LogProbe,
    MetricProbe,
    Probe,
    TopologyProbe,
    TraceProbe,
    Window,
)


class BackendUnavailableError(Exception):
    """A backend could not be reached; the step is tried again, and in the end the probes are `unavailable`."""


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


class MetricSource(Protocol):
    def metrics(self, probe: MetricProbe) -> Answer:
        """All series of one entity; counters as rates per second."""


class LogSource(Protocol):
    def logs(self, probe: LogProbe) -> Answer:
        """Masked lines of one entity with their counts per bucket."""


class TraceSource(Protocol):
    def traces(self, probe: TraceProbe) -> Answer:
        """Spans of one entity, summed per operation, caller and bucket."""


class ChangeSource(Protocol):
    def changes(self, probe: ChangeProbe) -> Answer:
        """Changes in the window."""


class ClusterSource(Protocol):
    def cluster(self, probe: ClusterProbe) -> Answer:
        """Conditions and events of cluster objects in the window."""


class TopologySource(Protocol):
    def topology(self, probe: TopologyProbe) -> Answer:
        """Entities and edges as known at the window's end."""


class TelemetryBackend(MetricSource, LogSource, TraceSource, ChangeSource, ClusterSource, TopologySource, Protocol):
    """A backend for every modality; one that it does not have answers `not_recorded`."""

    def interrupt(self) -> None:
        """Give up the queries being run now; they come back as timed out."""

    def close(self) -> None:
        """Release connections and memory."""


def run_probe(backend: TelemetryBackend, probe: Probe) -> Answer:
    """Put one probe to a backend."""
    match probe:
        case MetricProbe():
            return backend.metrics(probe)
        case LogProbe():
            return backend.logs(probe)
        case TraceProbe():
            return backend.traces(probe)
        case ChangeProbe():
            return backend.changes(probe)
        case ClusterProbe():
            return backend.cluster(probe)
        case TopologyProbe():
            return backend.topology(probe)
