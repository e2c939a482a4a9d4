"""Which queries an investigation runs, and in which order. A calculation: the same scope gives the same plan."""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import (
    ChangeProbe,
    ClusterProbe,
    LogProbe,
    MetricProbe,
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


def plan_probes(
    *,
    backend: str,
    as_of: datetime,
    kinds: Mapping[EntityId, str],
    edges: Iterable[tuple[EntityId, EntityId]],
    alerting: Iterable[EntityId],
) -> list[Probe]:
    """Every query worth running, the most informative first.

    Args:
        backend: who is queried.
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
    plan: list[Probe] = [
        ChangeProbe(backend=backend, window=changes),
        ClusterProbe(backend=backend, window=events),
    ]
    for name in order:
        plan += [
            TraceProbe(backend=backend, window=events, entity=name, expected_cost=2),
            MetricProbe(backend=backend, window=metrics, entity=name, expected_cost=1),
            LogProbe(backend=backend, window=events, entity=name, expected_cost=3),
        ]
    return plan


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
