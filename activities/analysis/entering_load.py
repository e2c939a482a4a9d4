"""Where far more requests enter the system than usual, by the counts that its doors keep."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from activities.analysis.catalogue import meaning_of
from activities.analysis.change_points import Averages, ended_of, micros
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.graph import Graph
from activities.analysis.metrics import onset_of
from activities.analysis.peers import with_peers
from activities.analysis.request_weighted import is_request_count
from activities.analysis.series import thinned
from activities.analysis.wording import measured, name_of, readable
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import SeriesShift


@dataclass(frozen=True)
class _Grown:
    usual: float
    now: float


@evidence_family(needs={"metrics": ["metric", "ts", "value"]})
def find_entering_load(given: AnalysisInput) -> Iterator[Finding]:
    """At most one finding per entity that nobody calls: its count of requests that grew most.

    Who only passes requests on is no suspect; where the doors are not known, nothing is said.
    """
    series, parameters = given.series, given.parameters
    averages: Averages[int, _Grown] = Averages(parameters)
    own = with_peers(series.names, given.evidence.graph).filter(pl.col("reporter").is_null())
    for row in own.iter_rows(named=True):
        if not (is_request_count(row["metric"]) and _is_door(EntityId(row["entity"]), given.evidence.graph)):
            continue
        at, values = series.arrays(row["number"])
        for change_point in given.change_points:
            before, after = values[at < micros(change_point.at)], values[at >= micros(change_point.at)]
            if len(before) < parameters.metric_least_points or not len(after):
                continue
            usual, now = float(np.median(before)), float(np.median(after))
            if usual <= 0 or now <= usual:
                continue
            spread = 1.4826 * float(np.median(np.abs(before - usual)))
            squared = (now - usual) ** 2 / (spread**2 + (parameters.noise_floor * usual) ** 2)
            weight = squared / (squared + parameters.half_saturation**2)
            grown = min(1.0, math.log(now / usual) / math.log(parameters.surge_full))
            averages.add(int(row["number"]), weight * grown, change_point, _Grown(usual, now))
    best: dict[str, Finding] = {}
    for item in averages.over(given.change_points, least=parameters.metric_least_strength):
        row, (at, values) = series.names.row(item.key, named=True), series.arrays(item.key)
        meaning, change_point = meaning_of(row["metric"]), item.change_point
        entity = EntityId(row["entity"])
        found = given.factory.stated(
            family=FindingFamily.METRIC,
            mechanism=Mechanism.LOAD_SURGE,
            entity=entity,
            signal=row["metric"],
            summary=(
                f"{readable(row['metric'])} of {name_of(entity)}, which nobody calls, is "
                f"{measured(item.detail.now, meaning)} since {change_point.at:%H:%M:%S} "
                f"(usually {measured(item.detail.usual, meaning)})"
            ),
            direction=Direction.UP,
            strength=item.strength,
            fault_kinds={FaultKind.TRAFFIC: 1.0},
            onset=onset_of(at, values, change_point.at, parameters),
            ended=ended_of(at, values, change_point.at, parameters),
            points=thinned(at, values),
            unit=meaning.unit,
            predicate=SeriesShift(
                probe_key=ProbeKey(row["probe"]),
                select={"metric": row["metric"]},
                column="value",
                statistic="median",
                before=change_point.pre,
                after=change_point.post,
                direction="up",
                threshold=rounded(item.detail.now),
                reference=rounded(item.detail.usual),
            ),
        )
        if entity not in best or found.strength > best[entity].strength:
            best[entity] = found
    yield from (best[name] for name in sorted(best))


def _is_door(entity: EntityId, graph: Graph) -> bool:
    """Whether it takes requests and nobody is known to call it; an instance is called by what calls its workload."""
    workload = graph.workload_of(entity)
    return bool(graph.called_by(workload)) and not (graph.callers.get(workload, frozenset()) - {workload})
