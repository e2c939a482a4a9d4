"""What stands near the limit of its capacity: a share that is nearly one says so without any history."""

import re
from datetime import timedelta

import numpy as np
import polars as pl

from activities.analysis.change_points import Average, ChangePoint, median_of, micros, moment_of
from activities.analysis.evidence import Matrix
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.metric_kinds import kind_of, weight_of
from activities.analysis.parameters import Parameters
from activities.analysis.series import Block, Series, thinned
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import SeriesLevel

LIMITED = frozenset((FaultKind.CPU, FaultKind.DISK))
"""Kinds of which a full use is trouble; memory is often full of what can be given back."""

_PERCENT = re.compile(r"percent|pct|%|usage_?rate", re.IGNORECASE)
_SHARE = re.compile(r"utili[sz]ation|ratio|fraction|used_share", re.IGNORECASE)
_REST = re.compile(r"idle|free|avail|steal|limit|request|hit|iops|queue", re.IGNORECASE)
WHOLE = 100.5
"""No percentage of a capacity lies above; one that does is of something else, as of one core of several."""

SAME_LEVEL = 0.95
"""Part of the present level from which a value of the past counts as as high."""

WORTH_REPORTING = 0.02


def find_saturation(
    series: Series, change_points: list[ChangePoint], parameters: Parameters, factory: FindingFactory
) -> list[Finding]:
    """At most one finding per entity and kind: the use of a capacity that is nearly all of it.

    The level is the median since a change point, so that one full sample is none; what has stood as high for a good
    part of a long history is how it works here.
    """
    collected: dict[int, Average] = {}
    wholes = _wholes(series)
    for block in series.blocks(sorted(wholes)):
        whole = np.array([wholes[int(number)] for number in block.number])
        for change_point in change_points:
            level, strength = _levels(block, whole, change_point, parameters)
            for place in np.nonzero(strength > 0)[0]:
                detail: dict[str, object] = {"level": float(level[place]), "whole": float(whole[place])}
                number = int(block.number[place])
                collected.setdefault(number, Average()).add(float(strength[place]), change_point, detail)
    best: dict[tuple[str, FaultKind], tuple[float, int]] = {}
    for number, average in sorted(collected.items()):
        average.total /= len(change_points)
        row = series.names.row(number, named=True)
        key = (row["entity"], kind_of(row["metric"]))
        if average.total >= WORTH_REPORTING and average.total > best.get(key, (0.0, 0))[0]:
            best[key] = (average.total, number)
    return [
        _finding(factory, series, number, collected[number], weight=weight_of(kind, parameters))
        for (_, kind), (_, number) in sorted(best.items())
    ]


def _wholes(series: Series) -> dict[int, float]:
    """The series that are a share of a capacity, with the value that is all of it.

    Percentages are known by their name, or by a value above one; a share of one by its name, or by never being above
    one at any of several entities.
    """
    limited = series.names.filter(
        pl.col("metric").is_in([metric for metric in series.names["metric"].unique() if _may_be_limited(metric)])
    )
    ranges = {
        int(number): (float(values.min()), float(values.max()))
        for block in series.blocks(limited["number"])
        for number, values in zip(block.number, block.value, strict=True)
    }
    wholes: dict[int, float] = {}
    for (metric,), rows in limited.group_by("metric"):
        found = [ranges[number] for number in rows["number"]]
        bottom, top = min(low for low, _ in found), max(high for _, high in found)
        whole = _whole(str(metric), bottom, top, rows["entity"].n_unique())
        if whole is not None:
            wholes |= dict.fromkeys(rows["number"], whole)
    return wholes


def _may_be_limited(metric: str) -> bool:
    name = metric.partition("{")[0]
    return kind_of(metric) in LIMITED and not _REST.search(name) and bool(_PERCENT.search(name) or _SHARE.search(name))


def _whole(metric: str, bottom: float, top: float, entities: int) -> float | None:
    name = metric.partition("{")[0]
    if bottom < 0 or top > WHOLE:
        return None
    if _PERCENT.search(name) or top > 1:
        return 100.0
    return 1.0 if entities > 1 or "utili" not in name.lower() else None


def _levels(block: Block, whole: Matrix, change_point: ChangePoint, parameters: Parameters) -> tuple[Matrix, Matrix]:
    """The level of each series since the change point, and how much it says."""
    moment = micros(change_point.at)
    past = int(np.searchsorted(block.at, moment))
    before, after = block.value[:, :past], block.value[:, past:]
    if not after.size:
        return np.zeros(len(whole)), np.zeros(len(whole))
    level = median_of(after)
    as_high = (before >= SAME_LEVEL * level[:, None]).sum(axis=1) / max(past, 1)
    known = moment - int(block.at[0]) if past else 0
    usual = as_high * known / (known + parameters.limit_memory / timedelta(microseconds=1))
    near = parameters.limit_near
    full = np.clip((level / whole - near) / max(1 - near, 1e-9), 0, 1)
    return level, full * (1 - usual)


def _finding(factory: FindingFactory, series: Series, number: int, average: Average, *, weight: float) -> Finding:
    assert average.change_point is not None
    row, (at, values) = series.names.row(number, named=True), series.arrays(number)
    entity, metric = EntityId(row["entity"]), row["metric"]
    level, whole = float(str(average.detail["level"])), float(str(average.detail["whole"]))
    since = average.change_point.at
    there = np.nonzero((at >= micros(since)) & (values >= SAME_LEVEL * level))[0]
    return factory.stated(
        family=FindingFamily.METRIC,
        mechanism=Mechanism.SATURATION,
        entity=entity,
        signal=metric,
        summary=f"{metric} of {entity} stands at {level:.4g} of at most {whole:g} since {since:%H:%M:%S}",
        direction=Direction.UP,
        strength=average.total * weight,
        fault_kinds={kind_of(metric): 1.0},
        onset=moment_of(at[there[0]]) if len(there) else since,
        points=thinned(at, values),
        predicate=SeriesLevel(
            probe_key=ProbeKey(row["probe"]),
            select={"metric": metric},
            column="value",
            window=average.change_point.post,
            at_least=rounded(level),
        ),
    )
