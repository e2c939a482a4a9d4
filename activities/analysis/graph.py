"""Who calls whom: the part of the topology that decides which way a fault travels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from workflows.contracts.identifiers import EntityId


@dataclass(frozen=True)
class Graph:
    """Callers and callees of every entity; a service counts as calling its pods."""

    kinds: Mapping[EntityId, str] = field(default_factory=dict)
    callees: Mapping[EntityId, frozenset[EntityId]] = field(default_factory=dict)
    callers: Mapping[EntityId, frozenset[EntityId]] = field(default_factory=dict)
    instances: Mapping[EntityId, frozenset[EntityId]] = field(default_factory=dict)
    """The instances of a workload: the pods of a service. What runs on a node is no instance of it: neighbours share a
    fate only when the node itself shows it."""

    hosts: Mapping[EntityId, frozenset[EntityId]] = field(default_factory=dict)
    """What something runs on; a workload runs on what its instances run on."""

    owners: Mapping[EntityId, frozenset[EntityId]] = field(default_factory=dict)
    """Who owns what."""

    @cached_property
    def _workloads(self) -> Mapping[EntityId, EntityId]:
        return {one: workload for workload in sorted(self.instances, reverse=True) for one in self.instances[workload]}

    def workload_of(self, entity: EntityId) -> EntityId:
        """The workload that `entity` is an instance of; itself where it is none."""
        return self._workloads.get(entity, entity)

    @classmethod
    def from_answer(cls, rows: pl.DataFrame) -> "Graph":
        """The graph in a `topology` answer."""
        kinds: dict[EntityId, str] = {}
        pairs: list[tuple[EntityId, EntityId]] = []
        instances: list[tuple[EntityId, EntityId]] = []
        hosts: list[tuple[EntityId, EntityId]] = []
        owners: list[tuple[EntityId, EntityId]] = []
        for row in rows.iter_rows(named=True):
            source, target = EntityId(row["source"]), EntityId(row["target"])
            if not target:
                kinds[source] = row["kind"]
            elif row["kind"] in ("calls", "runs_on"):
                pairs.append((source, target))
            elif row["kind"] == "part_of":
                pairs.append((target, source))
            elif row["kind"] == "owned_by":
                owners.append((source, target))
            if target and row["kind"] == "part_of":
                instances.append((target, source))
            if target and row["kind"] == "runs_on":
                hosts.append((source, target))
        on = _grouped(hosts)
        hosts += [(whole, host) for whole, one in instances for host in on.get(one, ())]
        return cls(
            kinds=kinds,
            callees=_grouped(pairs),
            callers=_grouped((b, a) for a, b in pairs),
            instances=_grouped(instances),
            hosts=_grouped(hosts),
            owners=_grouped(owners),
        )

    def owners_of(self, entity: EntityId) -> frozenset[EntityId]:
        """Who owns an entity, else who owns the workload that it is an instance of."""
        return self.owners.get(entity) or self.owners.get(self.workload_of(entity), frozenset())

    def beneath(self, entity: EntityId) -> frozenset[EntityId]:
        """Everything that `entity` runs on, directly or through others; never itself."""
        return _reachable(self.hosts, entity)

    def called_by(self, entity: EntityId) -> frozenset[EntityId]:
        """What `entity` calls directly; an instance calls what its workload calls."""
        workload = self.workload_of(entity)
        if workload == entity:
            return self.callees.get(entity, frozenset())
        shared = self.callees.get(workload, frozenset()) - self.instances[workload]
        return (self.callees.get(entity, frozenset()) | shared) - {workload, entity}

    def downstream(self, entity: EntityId) -> frozenset[EntityId]:
        """Everything `entity` calls, directly or through others; never itself."""
        return _reachable(self.callees, entity, self.called_by(entity))

    def upstream(self, entity: EntityId) -> frozenset[EntityId]:
        """Everything that calls `entity`, directly or through others; never itself."""
        return _reachable(self.callers, entity)


def _grouped(pairs: Iterable[tuple[EntityId, EntityId]]) -> dict[EntityId, frozenset[EntityId]]:
    groups: dict[EntityId, set[EntityId]] = {}
    for source, target in pairs:
        if source != target:
            groups.setdefault(source, set()).add(target)
    return {name: frozenset(others) for name, others in groups.items()}


def _reachable(
    edges: Mapping[EntityId, frozenset[EntityId]], start: EntityId, first: Iterable[EntityId] | None = None
) -> frozenset[EntityId]:
    seen: set[EntityId] = set()
    queue = list(edges.get(start, ()) if first is None else first)
    while queue:
        here = queue.pop()
        if here not in seen and here != start:
            seen.add(here)
            queue += edges.get(here, ())
    return frozenset(seen)
