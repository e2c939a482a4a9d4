"""What kind of source a Jaeger is."""

from activities.telemetry.http import SourceClient
from activities.telemetry.jaeger.api import JaegerApi
from activities.telemetry.jaeger.config import JaegerConfig
from activities.telemetry.registry import BackendKind, Opening
from activities.telemetry.trace_search import TraceSearchBackend, lately


def _check(opening: Opening) -> list[str]:
    assert isinstance(opening.config, JaegerConfig)
    client = SourceClient(opening.config)
    try:
        services = JaegerApi(client).services(lately())
    finally:
        client.close()
    return [f"{len(services)} services" if services else "no service has left a span"]


KIND = BackendKind(
    name="jaeger",
    title="traces of Jaeger",
    modalities=frozenset(("traces",)),
    config=JaegerConfig,
    open=lambda opening: TraceSearchBackend(opening, JaegerApi),
    check=_check,
    permissions=("GET /api/services, /api/dependencies, /api/traces",),
)
