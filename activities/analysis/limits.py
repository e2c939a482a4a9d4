"""What stands near the limit of its capacity: a share that is nearly one says so without any history."""

import re
from datetime import datetime, timedelta

import polars as pl

from activities.analysis.evidence import Evidence
from activities.analysis.facts import FactMaker
from activities.analysis.metric_kinds import kind_of
from activities.analysis.parameters import Parameters
from activities.analysis.splits import Average, Split, splits_of
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily
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

WORTH_TELLING = 0.02


def find_at_limits(evidence: Evidence, parameters: Parameters, facts: FactMaker) -> list[Finding]:
    """At most one finding per entity and kind: the use of a capacity that is nearly all of it.

    The level is the median since a split, so that one full sample is none; what has stood as high for a good part of
    a long history is how it works here.
    """
    shares = _shares(evidence.rows("metrics").filter(pl.col("value").is_finite()))
    splits = splits_of(evidence, parameters)
    collected: dict[tuple[str, str], Average] = {}
    for split in splits:
        for row in _levels(shares, split, parameters).iter_rows(named=True):
            collected.setdefault((row["entity"], row["metric"]), Average()).add(row["strength"], split, row)
    best: dict[tuple[str, FaultKind], tuple[float, str, Average]] = {}
    for (entity, metric), average in sorted(collected.items()):
        average.total /= len(splits)
        key = (entity, kind_of(metric))
        if average.total >= WORTH_TELLING and average.total > best.get(key, (0.0, "", average))[0]:
            best[key] = (average.total, metric, average)
    return [
        _finding(facts, shares, EntityId(entity), metric, average, weight=parameters.metric_weights[kind])
        for (entity, kind), (_, metric, average) in sorted(best.items())
    ]


def _shares(samples: pl.DataFrame) -> pl.DataFrame:
    """Series that are a share of a capacity, with `whole`, the value that is all of it.

    Percentages are known by their name, or by a value above one; a share of one by its name, or by never being above
    one at any of several entities.
    """
    tops = samples.group_by("metric").agg(
        top=pl.col("value").max(), bottom=pl.col("value").min(), entities=pl.col("entity").n_unique()
    )
    wholes = {}
    for metric, top, bottom, entities in tops.iter_rows():
        name = metric.partition("{")[0]
        if kind_of(metric) not in LIMITED or _REST.search(name) or bottom < 0 or top > WHOLE:
            continue
        if _PERCENT.search(name) or (_SHARE.search(name) and top > 1):
            wholes[metric] = 100.0
        elif _SHARE.search(name) and (entities > 1 or "utili" not in name.lower()):
            wholes[metric] = 1.0
    known = pl.DataFrame(
        {"metric": list(wholes), "whole": list(wholes.values())}, schema={"metric": pl.String, "whole": pl.Float64}
    )
    return samples.join(known, on="metric")


def _levels(shares: pl.DataFrame, split: Split, parameters: Parameters) -> pl.DataFrame:
    keys = ["entity", "metric"]
    now = (
        shares.filter(pl.col("ts") >= split.at)
        .group_by(keys)
        .agg(level=pl.col("value").median(), whole=pl.col("whole").first())
    )
    before = (
        shares.filter(pl.col("ts") < split.at)
        .join(now, on=keys)
        .group_by(keys)
        .agg(
            as_high=(pl.col("value") >= SAME_LEVEL * pl.col("level")).mean(),
            known=(pl.lit(split.at) - pl.col("ts").min()).dt.total_microseconds(),
        )
    )
    near, memory = parameters.limit_near, parameters.limit_memory / timedelta(microseconds=1)
    usual = pl.col("as_high") * pl.col("known") / (pl.col("known") + memory)
    full = ((pl.col("level") / pl.col("whole") - near) / max(1 - near, 1e-9)).clip(0, 1)
    return (
        now.join(before, on=keys, how="left")
        .with_columns(strength=full * (1 - usual.fill_null(0.0)))
        .filter(pl.col("strength") > 0)
        .sort(keys)
    )


def _finding(
    facts: FactMaker, shares: pl.DataFrame, entity: EntityId, metric: str, average: Average, *, weight: float
) -> Finding:
    assert average.split is not None
    level, whole = float(str(average.detail["level"])), float(str(average.detail["whole"]))
    rows = shares.filter(pl.col("entity") == entity, pl.col("metric") == metric).sort("ts")
    since = average.split.at
    points: list[tuple[datetime, float]] = list(rows.select("ts", "value").iter_rows())
    return facts.stated(
        family=FindingFamily.METRIC,
        entity=entity,
        signal=f"full {metric}",
        summary=f"{metric} of {entity} stands at {level:.4g} of at most {whole:g} since {since:%H:%M:%S}",
        direction=Direction.UP,
        strength=average.total * weight,
        fault_kinds={kind_of(metric): 1.0},
        onset=next((ts for ts, value in points if ts >= since and value >= SAME_LEVEL * level), since),
        points=points,
        predicate=SeriesLevel(
            probe_key=ProbeKey(rows["probe"][0]),
            select={"metric": metric},
            column="value",
            window=average.split.after,
            at_least=rounded(level),
        ),
    )
