"""How a Prometheus, or what speaks its HTTP API, is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field

from activities.telemetry.environment import HttpSourceConfig


class PrometheusConfig(HttpSourceConfig):
    """Prometheus, Mimir, Thanos or VictoriaMetrics."""

    backend: Literal["prometheus"]
    selector: Annotated[str, Field(max_length=4_096, pattern=r"^[^{}\x00-\x1f]*$")] = ""
    """Label matchers, as in `namespace="shop", cluster="eu-1"`: only such series belong to this environment."""
