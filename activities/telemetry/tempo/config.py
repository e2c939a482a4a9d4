"""How a Tempo is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field

from activities.telemetry.trace_search import TraceSearchConfig


class TempoConfig(TraceSearchConfig):
    """Grafana Tempo, or what speaks its HTTP API and TraceQL."""

    backend: Literal["tempo"]
    organisation: Annotated[str, Field(max_length=256, pattern=r"^[\w.|-]+$")] | None = None
    """The tenant, where Tempo has several (the header `X-Scope-OrgID`)."""

    most_spans: Annotated[int, Field(ge=3, le=10_000)] = 100
    """Spans of one trace that a search gives, no more than the server's `max_spans_per_span_set`."""
