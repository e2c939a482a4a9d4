"""What stands near the limit of its capacity: a share that is nearly one says so without any history."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from activities.analysis.catalogue import Meaning, Signal, meaning_of
from activities.analysis.change_points import Averages, ChangePoint, median_of, micros, moment_of
from activities.analysis.evidence import Matrix
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.metric_weights import weight_of
from activities.analysis.parameters import Parameters
from activities.analysis.series import Block, Series, thinned
from activities.analysis.wording import measured, name_of, readable
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import SeriesLevel

LIMITED = frozenset((FaultKind.CPU, FaultKind.DISK, FaultKind.SATURATION))
"""Kinds of which a full use is trouble; memory is often full of what can be given back."""


@dataclass(frozen=True)
class _Level:
    """How much is used, and how much there is."""

    used: float
    capacity: float


@evidence_family(needs={"metrics": ["metric", "ts", "value"]})
def find_saturation(given: AnalysisInput) -> list[Finding]:
    """At most one finding per entity and kind: the use of a capacity that is nearly all of it.

    The level is the median since a change point, so that one full sample is none; what has stood as high for a good
    part of a long history is how it works here.
    """
    series, parameters = given.series, given.parameters
    averages: Averages[int, _Level] = Averages(parameters)
    capacities = _capacities_of(series, parameters)
    for block in series.blocks(sorted(capacities)):
        capacity = np.array([capacities[int(number)] for number in block.number])
        for change_point in given.change_points:
            level, strength = _levels(block, capacity, change_point, parameters)
            for place in np.nonzero(strength > 0)[0]:
                shown = _Level(used=float(level[place]), capacity=float(capacity[place]))
                averages.add(int(block.number[place]), float(strength[place]), change_point, shown)
    best: dict[tuple[str, FaultKind], tuple[float, Finding]] = {}
    for item in averages.over(given.change_points, least=parameters.metric_least_strength):
        row = series.names.row(item.key, named=True)
        key = (row["entity"], meaning_of(row["metric"]).kind)
        if key not in best or item.strength > best[key][0]:
            found = _finding(given, item.key, item.strength, item.change_point, item.detail)
            best[key] = (item.strength, found)
    return [best[key][1] for key in sorted(best)]


def _capacities_of(series: Series, parameters: Parameters) -> dict[int, float]:
    """The series that are the use of a capacity, with the value that is all of it.

    That is one for a ratio, a hundred for a percentage, and otherwise the median of the series that the catalogue
    names as its capacity, or of one that is named alike, where the entity has it.
    """
    metrics = [metric for metric in series.names["metric"].unique() if _may_be_limited(meaning_of(metric))]
    limited = series.names.filter(pl.col("metric").is_in(metrics))
    capacities: dict[int, float] = {}
    for (metric,), rows in limited.group_by("metric"):
        meaning = meaning_of(str(metric))
        if meaning.unit in ("ratio", "%"):
            capacity = 1.0 if meaning.unit == "ratio" else 100.0
            if _within(series, rows["number"].to_list(), capacity * parameters.limit_whole):
                capacities |= dict.fromkeys(rows["number"], capacity)
        else:
            capacities |= _capacities(series, rows, str(metric), meaning)
    return capacities


def _may_be_limited(meaning: Meaning) -> bool:
    limited = meaning.kind in LIMITED and meaning.signal is Signal.UTILISATION
    return limited and meaning.rise_is_bad and not meaning.fall_is_bad


def _within(series: Series, numbers: list[int], most: float) -> bool:
    """Whether no value of any entity lies outside of what a share can be."""
    values = [series.arrays(number)[1] for number in numbers]
    bottom, top = min(float(item.min()) for item in values), max(float(item.max()) for item in values)
    return bottom >= 0 and top <= most


def _capacities(series: Series, rows: pl.DataFrame, metric: str, meaning: Meaning) -> dict[int, float]:
    name, brace, labels = metric.partition("{")
    wanted = [meaning.capacity, name.replace("used", "size"), name.replace("used", "limit")]
    names = {f"{item}{brace}{labels}" for item in wanted if item is not None and item != name}
    known = series.names.filter(pl.col("metric").is_in(list(names)), pl.col("entity").is_in(rows["entity"].implode()))
    by_entity = {row["entity"]: row["number"] for row in known.iter_rows(named=True)}
    found = {}
    for row in rows.iter_rows(named=True):
        if row["entity"] in by_entity:
            capacity = float(np.median(series.arrays(by_entity[row["entity"]])[1]))
            if capacity > 0:
                found[int(row["number"])] = capacity
    return found


def _levels(block: Block, capacity: Matrix, change_point: ChangePoint, parameters: Parameters) -> tuple[Matrix, Matrix]:
    """The level of each series since the change point, and how much it says."""
    moment = micros(change_point.at)
    past = int(np.searchsorted(block.at, moment))
    before, after = block.value[:, :past], block.value[:, past:]
    if not after.size:
        return np.zeros(len(capacity)), np.zeros(len(capacity))
    level = median_of(after)
    as_high = (before >= parameters.limit_same_level * level[:, None]).sum(axis=1) / max(past, 1)
    known = moment - int(block.at[0]) if past else 0
    usual = as_high * known / (known + parameters.limit_memory / timedelta(microseconds=1))
    near = parameters.limit_near
    full = np.clip((level / capacity - near) / max(1 - near, 1e-9), 0, 1)
    return level, full * (1 - usual)


def _finding(given: AnalysisInput, number: int, strength: float, change_point: ChangePoint, level: _Level) -> Finding:
    row, (at, values) = given.series.names.row(number, named=True), given.series.arrays(number)
    entity, metric, meaning = EntityId(row["entity"]), row["metric"], meaning_of(row["metric"])
    since = change_point.at
    there = np.nonzero((at >= micros(since)) & (values >= given.parameters.limit_same_level * level.used))[0]
    return given.factory.stated(
        family=FindingFamily.METRIC,
        mechanism=Mechanism.SATURATION,
        entity=entity,
        signal=metric,
        summary=(
            f"{readable(metric)} of {name_of(entity)} stands at {measured(level.used, meaning)} "
            f"of {measured(level.capacity, meaning)} since {since:%H:%M:%S}"
        ),
        direction=Direction.UP,
        strength=strength * weight_of(meaning, given.parameters),
        fault_kinds={meaning.kind: 1.0},
        onset=moment_of(at[there[0]]) if len(there) else since,
        points=thinned(at, values),
        unit=meaning.unit,
        predicate=SeriesLevel(
            probe_key=ProbeKey(row["probe"]),
            select={"metric": metric},
            column="value",
            window=change_point.post,
            at_least=rounded(level.used),
        ),
    )
