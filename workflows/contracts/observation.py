"""Answers. What could not be learned is said as precisely as what was."""

from typing import Annotated

from pydantic import Field

from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.identifiers import Digest, ProbeKey
from workflows.contracts.probe import Window


class ObservationStatus(OpenEnum):
    OK = "ok"
    EMPTY = "empty"
    """The query was answered: there is nothing."""

    NOT_FOUND = "not_found"
    """The entity does not exist there."""

    FORBIDDEN = "forbidden"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    """Part of the answer, with its coverage."""

    UNAVAILABLE = "unavailable"
    """The backend could not be reached."""

    NOT_RECORDED = "not_recorded"
    """Nobody ever recorded this modality; nothing can be concluded from its silence."""

    ERROR = "error"
    UNKNOWN = "unknown"

    @property
    def answered(self) -> bool:
        """True when the answer says something about the world (even that there is nothing)."""
        return self in (ObservationStatus.OK, ObservationStatus.EMPTY, ObservationStatus.TRUNCATED)


class Coverage(Contract):
    """What part of the query the answer covers."""

    window: Window
    """The span really looked at, after clamping to what was visible."""

    rows_total: Annotated[int, Field(ge=0)] | None = None
    """Rows that matched, when known; more than the observation's `row_count` when truncated."""


class Observation(Contract):
    """The immutable answer to one probe in one investigation."""

    schema_version: int = 1
    probe_key: ProbeKey
    status: ObservationStatus
    row_count: Annotated[int, Field(ge=0)] = 0
    coverage: Coverage | None = None
    artifact: Digest | None = None
    """SHA-256 of the uncompressed answer; None when there is none."""

    detail: str = ""
    """Why, in one sentence, when the status is not `ok`."""

    observed_at: Instant
    """When the answer came, by the worker's clock."""
