"""Which queries an investigation runs, and in which order. A calculation: the same scope gives the same plan."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from workflows.contracts.environment import SourceRef
from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import (
    MODALITIES,
    ChangeProbe,
    ClusterProbe,
    InventoryProbe,
    LogProbe,
    MetricProbe,
    Modality,
    Probe,
    TopologyProbe,
    TraceProbe,
    Window,
)

METRIC_LOOKBACK = timedelta(hours=24)
"""A day of history distinguishes a daily pattern from a change."""

EVENT_LOOKBACK = timedelta(hours=24)
"""For logs and traces, whose normal behaviour is compared bucket by bucket."""

CHANGE_LOOKBACK = timedelta(days=14)
"""A change can act long after it was made (a cache that expires, a leak that grows)."""

_NEVER_QUERIED = frozenset(("team",))


def topology_probe(backend: str, as_of: datetime) -> TopologyProbe:
    """The first query of every investigation."""
    return TopologyProbe(backend=backend, window=Window(start=as_of - EVENT_LOOKBACK, end=as_of))


def inventory_probe(source: str, as_of: datetime) -> InventoryProbe:
    """The first query to every source of an environment."""
    return InventoryProbe(backend=source, window=Window(start=as_of - EVENT_LOOKBACK, end=as_of))


def plan_probes(
    *,
    sources: Sequence[SourceRef],
    as_of: datetime,
    kinds: Mapping[EntityId, str],
    edges: Iterable[tuple[EntityId, EntityId]],
    alerting: Iterable[EntityId],
) -> list[Probe]:
    """Every query worth running, the most informative first.

    Args:
        sources: who is queried for what.
        as_of: the end of every window.
        kinds: every known entity and its kind.
        edges: (caller, callee) pairs and other relations; direction does not matter here.
        alerting: what the alerts are about; entities close to it come first, ties by name.
    """
    distance = _distances(kinds, edges, alerting)
    order = sorted(
        (name for name, kind in kinds.items() if kind not in _NEVER_QUERIED),
        key=lambda name: (distance[name], name),
    )
    changes = Window(start=as_of - CHANGE_LOOKBACK, end=as_of)
    metrics = Window(start=as_of - METRIC_LOOKBACK, end=as_of)
    events = Window(start=as_of - EVENT_LOOKBACK, end=as_of)
    plan: list[Probe] = []
    plan += [ChangeProbe(backend=source, window=changes) for source in _having("changes", sources)]
    plan += [ClusterProbe(backend=source, window=events) for source in _having("cluster", sources)]
    traces, series, logs = [_having(modality, sources) for modality in ("traces", "metrics", "logs")]
    for name in order:
        plan += [TraceProbe(backend=source, window=events, entity=name, expected_cost=2) for source in traces]
        plan += [MetricProbe(backend=source, window=metrics, entity=name, expected_cost=1) for source in series]
        plan += [LogProbe(backend=source, window=events, entity=name, expected_cost=3) for source in logs]
    return plan


def everything_from(backend: str) -> tuple[SourceRef, ...]:
    """One source that answers every query: a recording."""
    return (SourceRef(name=backend, modalities=MODALITIES),)


def _having(modality: Modality, sources: Sequence[SourceRef]) -> list[str]:
    return [source.name for source in sources if modality in source.modalities]


def _distances(
    kinds: Mapping[EntityId, str], edges: Iterable[tuple[EntityId, EntityId]], alerting: Iterable[EntityId]
) -> dict[EntityId, int]:
    """Hops from the nearest alerting entity; everything is equally near when none is known."""
    neighbours: dict[EntityId, set[EntityId]] = {name: set() for name in kinds}
    for source, target in edges:
        if source in neighbours and target in neighbours:
            neighbours[source].add(target)
            neighbours[target].add(source)
    found = {name: 0 for name in alerting if name in neighbours}
    queue = deque(found)
    while queue:
        name = queue.popleft()
        for other in neighbours[name] - found.keys():
            found[other] = found[name] + 1
            queue.append(other)
    return {name: found.get(name, len(kinds)) for name in kinds}
