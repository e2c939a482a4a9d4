"""How a Jaeger is configured as a source."""

from typing import Literal

from activities.telemetry.trace_search import TraceSearchConfig


class JaegerConfig(TraceSearchConfig):
    """Jaeger's query service, by the HTTP API that its own page uses."""

    backend: Literal["jaeger"]
