"""How a Jaeger is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field

from activities.telemetry.environment import SourceConfig


class JaegerConfig(SourceConfig):
    """Jaeger's query service, by the HTTP API that its own page uses."""

    backend: Literal["jaeger"]
    most_traces: Annotated[int, Field(ge=10, le=1_500)] = 100
    """Ordinary traces of one part of the time that are fetched."""
