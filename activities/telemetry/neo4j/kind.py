"""What kind of source a graph server is."""

from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.neo4j.config import Neo4jConfig
from activities.telemetry.registry import BackendKind, Opening


def _open(opening: Opening) -> TelemetryBackend:
    from activities.telemetry.neo4j.backend import Neo4jBackend  # noqa: PLC0415 - its library takes a third of a second

    return Neo4jBackend(opening)


def _check(opening: Opening) -> list[str]:
    from activities.telemetry.neo4j.backend import check  # noqa: PLC0415

    return check(opening)


KIND = BackendKind(
    name="neo4j",
    title="the topology that a graph server holds (Bolt: Neo4j, Memgraph)",
    modalities=frozenset(("topology",)),
    config=Neo4jConfig,
    open=_open,
    check=_check,
    permissions=("MATCH of nodes and relations in one database (role `reader`), and nothing that writes",),
)
