"""What kind of source a Prometheus is."""

from datetime import UTC, datetime

from activities.telemetry.http import SourceClient
from activities.telemetry.prometheus.api import PrometheusApi
from activities.telemetry.prometheus.backend import PrometheusBackend
from activities.telemetry.prometheus.config import PrometheusConfig
from activities.telemetry.registry import BackendKind, Opening


def _check(opening: Opening) -> list[str]:
    assert isinstance(opening.config, PrometheusConfig)
    client = SourceClient(opening.config)
    try:
        api = PrometheusApi(client)
        lines = [f"version {api.version()}"]
        matchers = f"{{{opening.config.selector}}}" if opening.config.selector else ""
        up = api.instant(f"count(up{matchers})", datetime.now(UTC))
        lines.append(f"{up[0][1]:.0f} targets" if up else "no target of this environment: see selector")
    finally:
        client.close()
    return lines


KIND = BackendKind(
    name="prometheus",
    title="metrics of Prometheus, Mimir, Thanos and VictoriaMetrics",
    modalities=frozenset(("metrics",)),
    config=PrometheusConfig,
    open=PrometheusBackend,
    check=_check,
    permissions=(
        "GET and POST /api/v1/query, /api/v1/query_range",
        "GET /api/v1/metadata, /api/v1/rules, /api/v1/status/buildinfo",
    ),
)
