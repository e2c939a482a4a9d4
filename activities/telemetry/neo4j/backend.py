"""Answers what exists, and how it hangs together, from somebody's own graph."""

from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

from activities.telemetry.backend import Answers, Spent, answered, by_tool
from activities.telemetry.entities import Labels, inventory_rows
from activities.telemetry.exceptions import BackendUnavailableError, QueryError, SourceRefusedError
from activities.telemetry.neo4j.config import Neo4jConfig
from activities.telemetry.registry import Opening
from activities.topology.exceptions import GraphServerError
from activities.topology.graph_server import GraphAddress, GraphServer
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import InventoryProbe, Probe
from workflows.contracts.topology import EntityKind, entity_id

LONGEST_NAME = 253
_NODES: LiteralString = (
    "MATCH (n) WHERE any(label IN labels(n) WHERE label IN $labels) RETURN labels(n), properties(n)[$name] LIMIT $most"
)
_EDGES: LiteralString = (
    "MATCH (a)-[r]->(b) WHERE type(r) IN $relations "
    "AND any(label IN labels(a) WHERE label IN $labels) AND any(label IN labels(b) WHERE label IN $labels) "
    "RETURN labels(a), properties(a)[$name], type(r), labels(b), properties(b)[$name] LIMIT $most"
)


class Neo4jBackend:
    """One graph, open for one attempt at one step."""

    def __init__(self, opening: Opening) -> None:
        assert isinstance(opening.config, Neo4jConfig)
        self._config = opening.config
        self._server = _server(opening.config)
        self._queries = 0

    @property
    def spent(self) -> Spent:
        """Queries; the driver counts no bytes."""
        return Spent(queries=self._queries)

    def together(self, probes: Sequence[Probe]) -> list[list[Probe]]:
        """All at once: the graph is read whole."""
        return by_tool(probes)

    def interrupt(self) -> None:
        """Give up what runs: its connection is closed."""
        self._server.close()

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """Nodes and relations that the settings have a word for."""
        config = self._config
        given = {
            "labels": list(config.labels),
            "relations": [*config.relations, *config.reversed_relations],
            "name": config.name_property,
            "most": config.most_edges + 1,
        }
        nodes = self._read(_NODES, given)
        edges = self._read(_EDGES, given) if given["relations"] else []
        left_out = max(0, len(nodes) - config.most_edges) + max(0, len(edges) - config.most_edges)
        rows: list[tuple[Labels, str, Labels]] = []
        for labels, name in nodes[: config.most_edges]:
            named = self._labels(labels, name)
            if named is not None:
                rows.append((named, "", {}))
        rows += [row for edge in edges[: config.most_edges] for row in self._relation(*edge)]
        table = inventory_rows(rows)
        for probe in probes:
            detail = f"more than {config.most_edges:,} nodes or relations (most_edges)" if left_out else ""
            yield (
                probe,
                answered(table.head(probe.max_rows), probe.window, total=table.height + left_out, detail=detail),
            )

    def _relation(
        self, labels: object, name: object, relation: object, other_labels: object, other_name: object
    ) -> Iterator[tuple[Labels, str, Labels]]:
        here, there = self._labels(labels, name), self._labels(other_labels, other_name)
        found = self._config.edge_kind(relation) if isinstance(relation, str) else None
        if here is None or there is None or found is None:
            return
        kind, reversed_ = found
        yield (there, kind.value, here) if reversed_ else (here, kind.value, there)

    def _labels(self, labels: object, name: object) -> Labels | None:
        """Under which labels a node is resolved: a service by its name as OpenTelemetry has it, the others as they are.

        None if it has no usable name: the server's word is not trusted.
        """
        if not isinstance(labels, list) or not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            return None
        kind = self._config.entity_kind(labels)
        if kind is None:
            return None
        return {"service.name": name} if kind is EntityKind.SERVICE else {"inquest.entity": entity_id(kind, name)}

    def _read(self, query: LiteralString, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        self._queries += 1
        try:
            return self._server.read(query, given, most=given["most"])
        except GraphServerError as error:
            raise _as_source_error(error, self._config.name) from error


def check(opening: Opening) -> list[str]:
    """Whether the server answers, and how much of it the settings have a word for."""
    assert isinstance(opening.config, Neo4jConfig)
    config = opening.config
    server = _server(config)
    try:
        agent = server.agent()
        given = {"labels": list(config.labels), "name": config.name_property, "most": config.most_edges + 1}
        nodes = server.read(_NODES, given, most=config.most_edges + 1)
    except GraphServerError as error:
        raise _as_source_error(error, config.name) from error
    finally:
        server.close()
    unnamed = sum(not isinstance(name, str) or not name for _, name in nodes)
    said = [f"{agent}: {len(nodes):,} nodes with a label of the settings"]
    if not nodes:
        said.append(f"none has one of the labels {', '.join(config.labels)}: see labels")
    elif unnamed:
        said.append(f"{unnamed:,} of them have no property {config.name_property}: see name_property")
    return said


def _server(config: Neo4jConfig) -> GraphServer:
    try:
        return GraphServer(
            GraphAddress(
                url=config.url,
                credential=config.credential,
                database=config.database,
                trusted=config.trusted,
                timeout=config.limits.query_timeout,
            )
        )
    except GraphServerError as error:
        raise _as_source_error(error, config.name) from error


def _as_source_error(error: GraphServerError, name: str) -> Exception:
    if error.status is ObservationStatus.UNAVAILABLE:
        return BackendUnavailableError(f"{name} cannot be reached ({error.detail})")
    if error.status is ObservationStatus.TIMEOUT:
        return QueryError(error.status, error.detail)
    return SourceRefusedError(error.status, f"{name}: {error.detail}")
