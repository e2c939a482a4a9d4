"""How a Loki is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field

from activities.telemetry.environment import HttpSourceConfig


class LokiConfig(HttpSourceConfig):
    """Grafana Loki, or what speaks its HTTP API."""

    backend: Literal["loki"]
    selector: Annotated[str, Field(min_length=1, max_length=4_096, pattern=r"^[^{}\x00-\x1f]*$")] = 'service_name=~".+"'
    """Label matchers of the streams that belong to this environment, as in `namespace="shop"`."""

    organisation: Annotated[str, Field(max_length=256, pattern=r"^[\w.|-]+$")] | None = None
    """The tenant, where Loki has several (the header `X-Scope-OrgID`)."""

    most_lines: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    """Lines of one query, no more than the server's `max_entries_limit_per_query`."""
