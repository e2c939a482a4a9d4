"""Metrics of an edge: what a caller measures of a callee speaks of the callee, as failing calls in traces do."""

from collections.abc import Iterable

import polars as pl

from activities.analysis.catalogue.tokens import labels_of, peer_labels, words_of
from activities.analysis.graph import Graph
from workflows.contracts.identifiers import EntityId

_SEPARATORS = "|/"


def with_peers(names: pl.DataFrame, graph: Graph) -> pl.DataFrame:
    """The same series with `entity` as whom each is about, and who reports it as `reporter` where that is a caller.

    A label that documented conventions give the callee's name (`peer_service`, `destination_workload`, ...) decides,
    where its value is the name of an entity that the topology knows and that is not the reporter.
    """
    known = _by_name(graph.kinds)
    peers = {metric: _peer_of(metric, known) for metric in names["metric"].unique()}
    about = [peers[metric] or entity for metric, entity in names.select("metric", "entity").iter_rows()]
    other = pl.col("entity") != pl.Series("about", about, dtype=pl.String)
    reporter = pl.when(other).then(pl.col("entity")).otherwise(None)
    return names.with_columns(reporter=reporter, entity=pl.Series("entity", about, dtype=pl.String))


def _by_name(entities: Iterable[EntityId]) -> dict[str, EntityId]:
    """Entities by their plain names; of several of one name the service."""
    found: dict[str, EntityId] = {}
    for entity in sorted(entities, key=lambda name: (name.startswith("service:"), name)):
        found[entity.partition(":")[2].lower()] = entity
    return found


def _peer_of(metric: str, known: dict[str, EntityId]) -> EntityId | None:
    for label, value in labels_of(metric):
        if "_".join(words_of(label)) in peer_labels():
            for name in _spellings(value):
                if name in known:
                    return known[name]
    return None


def _spellings(value: str) -> Iterable[str]:
    """A name as it is, without its port, and without the domain that a cluster's DNS adds."""
    plain = value.lower()
    for separator in _SEPARATORS:
        plain = plain.rpartition(separator)[2]
    host = plain.partition(":")[0]
    return plain, host, host.partition(".")[0]
