"""The manifest of a recorded incident. `evals/README.md` documents the whole format."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from workflows.contracts.contract import Contract, Instant
from workflows.contracts.environment import MOST_SOURCES, EntityMapping, EnvironmentName, SourceRef
from workflows.contracts.identifiers import Digest
from workflows.contracts.investigation import MOST_ROUNDS

BundleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""A plain file name inside the bundle's folder: no separators, so it cannot point outside."""

SCHEMA_VERSION = 1


class RecordedFile(Contract):
    """One modality's file."""

    file: FileName
    rows: Annotated[int, Field(ge=0)]
    sha256: Digest


class VisibleWindow(Contract):
    """What an investigator could have seen: nothing outside [start, end) is ever answered."""

    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _in_order(self) -> "VisibleWindow":
        if self.end <= self.start:
            raise ValueError(f"visible window ends ({self.end}) before it starts ({self.start})")
        return self


class BundleManifest(Contract):
    """What a bundle holds. A modality that is absent here was not recorded."""

    schema_version: Literal[1]
    bundle_id: BundleId
    """Opaque: it names neither the fault nor the case."""

    visible: VisibleWindow
    as_of: Instant
    """The moment at which the queries are run."""

    alert: RecordedFile
    topology: RecordedFile | None = None
    metrics: RecordedFile | None = None
    logs: RecordedFile | None = None
    traces: RecordedFile | None = None
    changes: RecordedFile | None = None
    cluster: RecordedFile | None = None
    answers: RecordedFile | None = None
    """A captured investigation: the answers it got, instead of what they were made of."""

    further_alerts: RecordedFile | None = None
    """Alerts that joined the incident after the first."""

    environment: EnvironmentName | None = None
    """Of a captured live investigation: where it ran."""

    sources: Annotated[tuple[SourceRef, ...], Field(max_length=MOST_SOURCES)] = ()
    """Of a captured live investigation: what was queried where."""

    mappings: tuple[EntityMapping, ...] = ()
    """Of a captured live investigation: what people had said about who is who."""

    rounds: Annotated[int, Field(ge=0, le=MOST_ROUNDS)] = 0
    """Of a captured investigation: how many looks it might take after the first. A replay may take as many, so that it
    asks what was answered."""

    counters: tuple[str, ...] = ()
    """Metrics that are cumulative counters; a reader turns them into rates per second."""

    @model_validator(mode="after")
    def _asked_when_something_was_visible(self) -> "BundleManifest":
        if not self.visible.start < self.as_of <= self.visible.end:
            raise ValueError(f"as_of ({self.as_of}) lies outside of the visible window")
        return self
