"""What kind of source a Loki is."""

from activities.telemetry.http import SourceClient
from activities.telemetry.loki.api import LokiApi
from activities.telemetry.loki.backend import LokiBackend, latest
from activities.telemetry.loki.config import LokiConfig
from activities.telemetry.registry import BackendKind, Opening


def _check(opening: Opening) -> list[str]:
    assert isinstance(opening.config, LokiConfig)
    client = SourceClient(opening.config)
    try:
        api = LokiApi(client, opening.config.organisation)
        streams = api.streams(opening.config.selector, latest())
        return [
            f"version {api.version()}",
            f"{len(streams)} streams in the last hour" if streams else "no stream in the last hour: see selector",
        ]
    finally:
        client.close()


KIND = BackendKind(
    name="loki",
    title="logs of Grafana Loki",
    modalities=frozenset(("logs",)),
    config=LokiConfig,
    open=LokiBackend,
    check=_check,
    permissions=(
        "GET /loki/api/v1/query_range, /loki/api/v1/series",
        "GET /loki/api/v1/status/buildinfo",
    ),
)
