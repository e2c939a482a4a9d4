"""Time that requests lose since a change point, every microsecond of it with one owner.

Self time per (service, operation, caller) and the gap between a caller's and a callee's span are compared with their
history in logarithms, with a robust spread. The excess is shared out among all entities, so that one slow callee
does not make suspects of its callers.
"""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from activities.analysis.change_points import median_of
from activities.analysis.evidence import Evidence
from activities.analysis.parameters import Parameters
from activities.analysis.traces.spans import EDGE, Edge, Load, Spans, TraceSums
from workflows.contracts.identifiers import EntityId


@dataclass(frozen=True, kw_only=True)
class TimeLost:
    """What one entity lost by one way, and the edge on which it lost most."""

    entity: EntityId
    strength: float
    edge: Edge
    slowed_inside: float = 0.0
    """For network time: how surely the entity's own work is slower as well, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class AllTimeLost:
    """Of all entities at one change point."""

    inside: list[TimeLost]
    """Self time."""

    between: list[TimeLost]
    """Network or queueing time."""


_MADE: "WeakKeyDictionary[TraceSums, AllTimeLost]" = WeakKeyDictionary()


def time_lost(spans: Spans, sums: TraceSums, evidence: Evidence, parameters: Parameters) -> AllTimeLost:
    """Self time that entities lose, and network or queueing time lost between them; made once a change point."""
    if sums not in _MADE:
        inside, between = _time_lost(spans, sums, evidence, parameters)
        _MADE[sums] = AllTimeLost(inside=inside, between=between)
    return _MADE[sums]


def _time_lost(
    spans: Spans, sums: TraceSums, evidence: Evidence, parameters: Parameters
) -> tuple[list[TimeLost], list[TimeLost]]:
    edges = spans.edges
    own = _waits_shared(excess(edges, sums, "self_us", parameters), parameters)
    inbound = edges.filter(pl.col("caller") != pl.col("entity"))
    gaps = excess(inbound.filter(pl.col("caller") != ""), sums, "gap_us", parameters)
    between, on_edge = _shared_gaps(gaps)
    work = {EntityId(name): value for name, value in own.group_by("owner").agg(pl.col("excess").sum()).iter_rows()}
    slowest = {
        EntityId(row["owner"]): Edge.of(row) for row in own.sort("excess", maintain_order=True).iter_rows(named=True)
    }
    total = sum(work.values()) + sum(between.values())
    if total <= 0:
        return [], []
    slowed = dict(
        own.filter(pl.col("owner") == pl.col("entity")).group_by("owner").agg(pl.col("weight").max()).iter_rows()
    )
    part = {name: (work.get(name, 0.0) + between.get(name, 0.0)) / total for name in work.keys() | between.keys()}
    base = _usual_time(own, excess(inbound, sums, "duration_us", parameters))
    inside, on_the_way = [], []
    for name in sorted(part):
        behind = max((part.get(other, 0.0) for other in evidence.graph.callees.get(name, ())), default=0.0)
        mine = work.get(name, 0.0) / total * (1 - parameters.explained * behind)
        lost = between.get(name, 0.0) / total
        severity = 1 - math.exp(-(mine + lost) * total / (base.get(name, 0.0) + 1.0))
        severity *= _not_for_load(sums.load.get(name), parameters)
        if mine > 0 and name in slowest:
            inside.append(TimeLost(entity=name, strength=severity * math.sqrt(mine), edge=slowest[name]))
        if lost > 0 and name in on_edge:
            on_the_way.append(
                TimeLost(
                    entity=name,
                    strength=severity * math.sqrt(lost),
                    edge=on_edge[name],
                    slowed_inside=slowed.get(name, 0.0),
                )
            )
    return inside, on_the_way


def excess(edges: pl.DataFrame, sums: TraceSums, column: str, parameters: Parameters) -> pl.DataFrame:
    """Per edge: how much of `column` (microseconds) exceeds its history, weighted by how sure that is."""
    number = edges["number"].to_numpy()
    count, now, spent = sums.count[number], sums.post("count")[number], sums.post(column)[number]
    past = count.sum(axis=1)
    known = (past >= parameters.least_history) & (now > 0) & (past > 0)
    number, count, now, spent, past = number[known], count[known], now[known], spent[known], past[known]
    seen = count > 0
    history = sums.pre_by_bucket(column)[number]
    levels = np.log(np.divide(history, count, out=np.full(count.shape, np.nan), where=seen) + 1)
    usual = median_of(levels, seen.sum(axis=1))
    spread = 1.4826 * median_of(np.abs(levels - usual[:, None]), seen.sum(axis=1))
    variance = spread**2 + parameters.noise_floor**2 + parameters.latency_sampling**2 * (1 / now + 1 / past)
    squared = np.clip((np.log(spent / now + 1) - usual) / np.sqrt(variance), 0, None) ** 2
    weight = squared / (squared + parameters.half_saturation**2)
    base = now * (np.exp(usual) - 1)
    lost = weight * np.clip(spent - base, 0, None)
    return (
        edges.filter(pl.Series(known))
        .with_columns(count=pl.Series(now), weight=pl.Series(weight), base=pl.Series(base), excess=pl.Series(lost))
        .sort("owner", *EDGE)
    )


def shared_between_ends(rows: pl.DataFrame, moved: pl.Expr, parameters: Parameters) -> pl.DataFrame:
    """The `excess` of calls of uninstrumented callees, shared between both ends by how far all callers moved.

    The callee gets it all when every one of its callers shows it, and the less the fewer do: then the caller's own
    connections may be what is waited for.
    """
    uninstrumented = rows.filter(pl.col("owner") != pl.col("entity"))
    if uninstrumented.is_empty():
        return rows
    together = (
        uninstrumented.group_by("owner", "entity")
        .agg(moved=moved)
        .group_by("owner")
        .agg(together=pl.col("moved").mean() / pl.col("moved").max().clip(1e-9), callers=pl.len())
    )
    alone = parameters.lone_caller_share
    part = pl.when(pl.col("callers") > 1).then(alone + (1 - alone) * pl.col("together")).otherwise(1.0)
    shared = uninstrumented.join(together, on="owner").with_columns(part=part)
    callees = shared.with_columns(excess=pl.col("excess") * pl.col("part"))
    callers = shared.with_columns(excess=pl.col("excess") * (1 - pl.col("part")), owner=pl.col("entity"))
    instrumented = rows.filter(pl.col("owner") == pl.col("entity"))
    shown = callers.select(rows.columns).filter(pl.col("excess") > 0)
    return pl.concat([instrumented, callees.select(rows.columns), shown])


def _waits_shared(own: pl.DataFrame, parameters: Parameters) -> pl.DataFrame:
    moved = (pl.col("count") * pl.col("weight")).sum() / pl.col("count").sum()
    return shared_between_ends(own, moved, parameters)


def _usual_time(own: pl.DataFrame, served: pl.DataFrame) -> dict[str, float]:
    """The usual time of each entity's requests; an uninstrumented callee's is that of the waits for it."""
    waits = own.filter(pl.col("owner") != pl.col("entity"))
    usual = pl.concat([waits.select("owner", "base"), served.select("owner", "base")])
    return dict(usual.group_by("owner").agg(pl.col("base").sum()).iter_rows())


def _not_for_load(load: Load | None, parameters: Parameters) -> float:
    """The part of a slowdown that more requests than usual do not explain."""
    if load is None:
        return 1.0
    times = (load.served + 1) / (load.usual_served + 1)
    return 1.0 if times <= parameters.load_free else parameters.load_free / times


def _shared_gaps(gaps: pl.DataFrame) -> tuple[dict[EntityId, float], dict[EntityId, Edge]]:
    """An edge's lost time shared between its ends by how consistently all edges of each end moved."""
    ends = pl.concat(
        [
            gaps.select("count", "weight", end="entity", other="caller"),
            gaps.select("count", "weight", end="caller", other="entity"),
        ]
    )
    consistency = dict(
        ends.group_by("end", "other")
        .agg(moved=(pl.col("count") * pl.col("weight")).sum() / pl.col("count").sum())
        .group_by("end")
        .agg(pl.col("moved").mean())
        .iter_rows()
    )
    shared: dict[EntityId, float] = {}
    worst: dict[EntityId, Edge] = {}
    for row in gaps.sort("excess", maintain_order=True).iter_rows(named=True):
        ends_squared = {name: consistency.get(name, 0.0) ** 2 for name in (row["entity"], row["caller"])}
        whole = sum(ends_squared.values())
        if row["excess"] > 0 and whole > 0:
            for name, value in ends_squared.items():
                shared[EntityId(name)] = shared.get(EntityId(name), 0.0) + row["excess"] * value / whole
                worst[EntityId(name)] = Edge.of(row)
    return shared, worst
