"""What kind of source a Tempo is."""

from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.http import SourceClient
from activities.telemetry.registry import BackendKind, Opening
from activities.telemetry.tempo.api import TempoApi
from activities.telemetry.tempo.config import TempoConfig
from activities.telemetry.trace_search import TraceSearchBackend, lately


def _open(opening: Opening) -> TelemetryBackend:
    config = opening.config
    assert isinstance(config, TempoConfig)
    return TraceSearchBackend(opening, lambda client: TempoApi(client, config))


def _check(opening: Opening) -> list[str]:
    assert isinstance(opening.config, TempoConfig)
    client = SourceClient(opening.config)
    try:
        services = TempoApi(client, opening.config).services(lately())
    finally:
        client.close()
    return [f"{len(services)} services in the last hour" if services else "no service has left a span in the last hour"]


KIND = BackendKind(
    name="tempo",
    title="traces of Grafana Tempo",
    modalities=frozenset(("traces",)),
    config=TempoConfig,
    open=_open,
    check=_check,
    permissions=("GET /api/search, /api/v2/search/tag/resource.service.name/values",),
)
