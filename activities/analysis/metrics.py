"""What metrics say: which series left its usual range, how far, how rarely it ever does, and since when."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.catalogue import Signal, meaning_of
from activities.analysis.change_points import ChangePoint, ended_of, median_of, micros, moment_of
from activities.analysis.evidence import Matrix, Numbers
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.metric_weights import floor_of, weight_of
from activities.analysis.parameters import Parameters
from activities.analysis.peers import with_peers
from activities.analysis.series import Block, Series, thinned
from activities.analysis.shares import floor_of_share, wholes_of
from activities.analysis.wording import measured, name_of, readable, times
from workflows.contracts.canonical import SIGNIFICANT_DIGITS
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import AllOf, RowCount, SeriesShift


@evidence_family(needs={"metrics": ["metric", "ts", "value"]})
def find_in_metrics(given: AnalysisInput) -> Iterator[Finding]:
    """The strongest metric findings of every entity.

    The deviation is measured from the median in a scale that is the largest of the robust spread, a part of the
    series' own level, and a part of the level of the same metric elsewhere; it counts by how rarely the series' own,
    possibly contaminated, history goes as far, and not at all where it is of no practical importance.
    """
    series, change_points, parameters = given.series, given.change_points, given.parameters
    workload_of = given.evidence.graph.workload_of
    names = with_peers(_with_meaning(series, parameters), given.evidence.graph)
    workloads = pl.Series([workload_of(EntityId(name)) for name in names["entity"]], dtype=pl.String)
    names = names.with_columns(workload=workloads)
    compared = [_deviations(names, measured, parameters) for measured in _measured(series, change_points, parameters)]
    strengths = np.stack([frame["strength"].to_numpy() for frame in compared])
    example = _examples(strengths, parameters)
    moved = np.stack([frame["deviation"].fill_nan(0.0).to_numpy() for frame in compared])
    shown = np.abs(moved).max(axis=0) > 0
    discounted = _discounted(names, strengths.mean(axis=0), shown, parameters)
    for number, strength in _strongest(discounted, parameters).iter_rows():
        best = int(example[number])
        row = compared[best].row(number, named=True)
        fired = series.fired.get((row["probe"], row["metric"]))
        if fired is None:
            yield _finding(given.factory, series.arrays(number), row, change_points[best], strength=strength)
        else:
            example_of = _Firing(fired=fired, course=series.arrays(number), change_point=change_points[best])
            yield _firing_finding(given.factory, example_of, row, strength=strength)


@dataclass(frozen=True, kw_only=True)
class _Firing:
    """An alert of a monitoring system and where it is shown."""

    fired: Numbers
    """The moments at which it fired."""

    course: tuple[Numbers, Matrix]
    """The same with its silence."""

    change_point: ChangePoint


def _with_meaning(series: Series, parameters: Parameters) -> pl.DataFrame:
    """The series that can be a sign of something, with what each means: (..., kind, weight, floor, ..., whole)."""
    metrics = series.names["metric"].unique().sort().to_list()
    meanings = [meaning_of(metric) for metric in metrics]
    wholes = wholes_of(series, parameters)
    floors = [
        floor_of_share(meaning, wholes[metric], parameters) if metric in wholes else floor_of(meaning, parameters)
        for metric, meaning in zip(metrics, meanings, strict=True)
    ]
    table = pl.DataFrame(
        {
            "metric": metrics,
            "kind": [meaning.kind.value for meaning in meanings],
            "weight": [weight_of(meaning, parameters) for meaning in meanings],
            "floor": floors,
            "rise_is_bad": [meaning.rise_is_bad for meaning in meanings],
            "fall_is_bad": [meaning.fall_is_bad for meaning in meanings],
            "whole": [wholes.get(metric) for metric in metrics],
            "is_state": [
                meaning.signal is Signal.STATE and metric in wholes
                for metric, meaning in zip(metrics, meanings, strict=True)
            ],
        },
        schema={
            "metric": pl.String,
            "kind": pl.String,
            "weight": pl.Float64,
            "floor": pl.Float64,
            "rise_is_bad": pl.Boolean,
            "fall_is_bad": pl.Boolean,
            "whole": pl.Float64,
            "is_state": pl.Boolean,
        },
    )
    return series.names.join(table, on="metric", maintain_order="left")


def _measured(series: Series, change_points: list[ChangePoint], parameters: Parameters) -> list[pl.DataFrame]:
    """Per change point: what each series shows by itself; null where there is too little of it."""
    episodes = _episodes(series.moments(), parameters)
    figures = ("usual", "spread", "wide", "level", "value", "rarity", "lasting")
    tables = [{name: np.full(series.names.height, np.nan) for name in figures} for _ in change_points]
    for block in series.blocks(range(series.names.height)):
        for change_point, table in zip(change_points, tables, strict=True):
            for name, values in _own(block, change_point, episodes, parameters).items():
                table[name][block.number] = values
    return [pl.DataFrame(table) for table in tables]


def _own(block: Block, change_point: ChangePoint, episodes: Numbers, parameters: Parameters) -> dict[str, Matrix]:
    """The later value of each series farthest from its median, and the rarity of such values before."""
    past = int(np.searchsorted(block.at, micros(change_point.at)))
    before, after = block.value[:, :past], block.value[:, past:]
    if past < parameters.metric_least_points or not after.size:
        return {}
    usual = median_of(before)[:, None]
    error, later = before - usual, after - usual
    apart = np.sort(np.abs(error), axis=1)
    row, farthest = np.arange(len(later)), np.argmax(np.abs(later), axis=1)
    moved = later[row, farthest]
    reached = error * np.sign(moved)[:, None] >= np.abs(moved)[:, None]
    often, lately = _often(reached, _windows(block.at[:past], episodes, change_point, parameters), parameters)
    rare = -np.log((reached.sum(axis=1) + 1) / (past + 1)) / math.log(past + 1)
    return {
        "usual": usual[:, 0],
        "spread": 1.4826 * (apart[:, (past - 1) // 2] / 2 + apart[:, past // 2] / 2),
        "wide": apart[:, int(0.9 * (past - 1) + 0.5)] / 1.64,
        "level": np.abs(before).mean(axis=1),
        "value": after[row, farthest],
        "rarity": np.clip(rare, 0, 1) * (1 - np.maximum(often, lately)),
        "lasting": _lasting(later, moved),
    }


def _lasting(later: Matrix, moved: Matrix) -> Matrix:
    """The part of the time since it first went that way in which a series went at least half as far."""
    there = later * np.sign(moved)[:, None] >= np.abs(moved)[:, None] / 2
    since = later.shape[1] - np.argmax(there, axis=1)
    lasting: Matrix = there.sum(axis=1) / since
    return lasting


def _often(reached: NDArray[np.bool_], window: Numbers, parameters: Parameters) -> tuple[Matrix, Matrix]:
    """In which part of the windows of history a value was reached: of all, and of all with the last ones first."""
    begins = np.flatnonzero(np.concatenate([[True], window[1:] != window[:-1]]))
    hit = np.logical_or.reduceat(reached, begins, axis=1)
    recency = 0.5 ** (np.arange(len(begins))[::-1] / parameters.recency_half_life)
    return hit.sum(axis=1) / (len(begins) + 1), hit @ recency / (recency.sum() + 1)


def _episodes(moments: Numbers, parameters: Parameters) -> Numbers:
    """When each stretch of recording began that follows a coverage gap."""
    return moments[1:][np.diff(moments) > parameters.coverage_gap.total_seconds() * 1e6]


def _windows(at: Numbers, episodes: Numbers, change_point: ChangePoint, parameters: Parameters) -> Numbers:
    """The number of the window of history that each moment lies in, counted back from the change point.

    Windows are as long as what is compared: one far point in an hour is rare among points and common among hours. Where
    recording stopped again and again, each stretch is one: what shows in all of them is the rule.
    """
    moment = micros(change_point.at)
    past = episodes[episodes < moment]
    if len(past) > parameters.metric_few_episodes:
        return len(past) - np.searchsorted(episodes, at, side="right")
    length = max((change_point.post.end - change_point.at) // timedelta(microseconds=1), 1)
    return (moment - 1 - at) // length


def _deviations(names: pl.DataFrame, measured: pl.DataFrame, parameters: Parameters) -> pl.DataFrame:
    """Per series: (metric, usual, value, deviation, strength) at one change point; zero where little is known.

    Of a share of which less is worse, the level is what is missing to the whole. Of any other amount of which only less
    is worse, a fall to a half is as far as a rise to the double is elsewhere.
    """
    is_share, falling = pl.col("whole").is_not_null(), pl.col("fall_is_bad") & ~pl.col("rise_is_bad")
    missing = pl.when(is_share).then(pl.col("whole") - pl.col("level")).otherwise(pl.col("level"))
    usual = pl.when(is_share).then(pl.col("whole") - pl.col("usual")).otherwise(pl.col("usual")).abs()
    peers = missing.fill_nan(None).median().over("metric")
    fallen = ~is_share & falling & (pl.col("value") < pl.col("usual"))
    level = (
        pl.when(fallen).then(pl.min_horizontal(usual, pl.col("value").abs())).otherwise(pl.max_horizontal(usual, peers))
    )
    scale = pl.max_horizontal("spread", "wide", parameters.noise_floor * level, pl.lit(1e-9))
    bad = pl.when(pl.col("deviation") < 0).then(pl.col("fall_is_bad")).otherwise(pl.col("rise_is_bad"))
    direction = pl.when(bad).then(1.0).otherwise(parameters.metric_symptom)
    # Of no practical importance up to the floor, in full from twice of it.
    moved = (pl.col("value") - pl.col("usual")).abs()
    important = (moved / pl.col("floor").clip(1e-12) - 1).clip(0, 1)
    # A state is what it is now: one that was left again is past.
    present = pl.when("is_state").then(pl.col("lasting").clip(parameters.recovered, 1)).otherwise(1.0)
    strength = pl.col("rarity") * _graded(pl.col("deviation").abs(), parameters) * direction * important * present
    known = names.select(
        "entity", "reporter", "metric", "probe", "floor", "rise_is_bad", "fall_is_bad", "whole", "is_state"
    )
    return (
        pl.concat([known, measured], how="horizontal")
        .with_columns(deviation=(pl.col("value") - pl.col("usual")) / scale)
        .with_columns(strength=strength.fill_nan(0.0).fill_null(0.0))
    )


def _examples(strengths: Matrix, parameters: Parameters) -> Numbers:
    """Per series: the first change point, from the alert back, at which it was about strongest."""
    best, example = np.zeros(strengths.shape[1]), np.zeros(strengths.shape[1], dtype=np.int64)
    for number, strength in enumerate(strengths):
        clearly = strength > best * parameters.clearly_stronger
        best, example = np.where(clearly, strength, best), np.where(clearly, number, example)
    return example


def _discounted(names: pl.DataFrame, total: Matrix, shown: NDArray[np.bool_], parameters: Parameters) -> pl.DataFrame:
    """(number, entity, metric, kind, total): what most entities of a sort show at once is shown by none of them.

    Instances of one workload are no others to each other: what they show alike, their workload shows.
    """
    sort = pl.col("entity").str.split(":").list.first()
    others = (pl.col("entity").n_unique().over("sort") - pl.col("entity").n_unique().over("sort", "workload")).cast(
        pl.Float64
    )
    apart = pl.col("total").sum().over("sort", "metric") - pl.col("total").sum().over("sort", "workload", "metric")
    common = (apart / others).clip(upper_bound=1)
    less = pl.when(others > 1).then(1 - parameters.explained * common).otherwise(1.0)
    return (
        names.with_columns(total=pl.lit(pl.Series(total)), shown=pl.lit(pl.Series(shown)), sort=sort)
        .filter("shown")
        .with_columns(total=pl.col("total") * less)
        .select("number", "entity", "metric", "kind", "weight", "total")
    )


def _strongest(found: pl.DataFrame, parameters: Parameters) -> pl.DataFrame:
    """(number, strength) of the strongest series of each entity and kind, ties by metric; of those the strongest."""
    return (
        found.filter(pl.col("total") >= parameters.metric_least_strength, pl.col("weight") > 0)
        .with_columns(order=-pl.col("total").round_sig_figs(SIGNIFICANT_DIGITS))
        .sort("entity", "kind", "order", "metric")
        .group_by("entity", "kind", maintain_order=True)
        .head(parameters.metric_per_kind)
        .with_columns(strength=pl.col("total") * pl.col("weight"))
        .sort("strength", "number", descending=[True, False])
        .select("number", "strength")
        .head(parameters.most_of_a_family)
    )


def _graded(deviation: pl.Expr, parameters: Parameters) -> pl.Expr:
    full = math.log1p(parameters.metric_ceiling / parameters.half_saturation)
    return ((deviation / parameters.half_saturation).log1p() / full).clip(upper_bound=1)


def _finding(
    factory: FindingFactory,
    course: tuple[Numbers, Matrix],
    row: dict[str, Any],
    change_point: ChangePoint,
    *,
    strength: float,
) -> Finding:
    entity, metric, meaning = EntityId(row["entity"]), row["metric"], meaning_of(row["metric"])
    up = row["deviation"] > 0
    value, usual = row["value"], row["usual"]
    onset = onset_of(*course, change_point.at, factory.parameters)
    when = f" at {onset:%H:%M:%S}" if onset is not None else ""
    return factory.stated(
        family=FindingFamily.METRIC,
        mechanism=Mechanism.METRIC_DEVIATION,
        entity=entity,
        signal=metric,
        summary=(
            f"{readable(metric)} of {name_of(entity)}{_seen_by(row)} {'rose' if up else 'fell'} to "
            f"{measured(value, meaning)} (usually {measured(usual, meaning)}){when}"
        ),
        direction=Direction.UP if up else Direction.DOWN,
        strength=strength,
        fault_kinds={meaning.kind: 1.0},
        caller=None if row["reporter"] is None else EntityId(row["reporter"]),
        onset=onset,
        ended=ended_of(*course, change_point.at, factory.parameters),
        points=thinned(*course),
        unit=meaning.unit,
        predicate=SeriesShift(
            probe_key=ProbeKey(row["probe"]),
            select={"metric": metric},
            column="value",
            statistic="max" if up else "min",
            before=change_point.pre,
            after=change_point.post,
            direction="up" if up else "down",
            threshold=value,
            reference=usual,
        ),
    )


def _seen_by(row: dict[str, Any]) -> str:
    return "" if row["reporter"] is None else f", as {name_of(EntityId(row['reporter']))} sees it,"


def _firing_finding(factory: FindingFactory, firing: _Firing, row: dict[str, Any], *, strength: float) -> Finding:
    """An alert of a monitoring system: what was answered are the moments at which it fired, and no silence."""
    entity, metric, change_point = EntityId(row["entity"]), row["metric"], firing.change_point
    past = int((firing.fired < micros(change_point.at)).sum())
    now = len(firing.fired) - past
    parts = tuple(
        RowCount(
            probe_key=ProbeKey(row["probe"]),
            select={"metric": metric},
            column=None,
            window=window,
            at_least=count,
            at_most=count,
        )
        for window, count in ((change_point.post, now), (change_point.pre, past))
    )
    return factory.stated(
        family=FindingFamily.METRIC,
        mechanism=Mechanism.FIRING_ALERT,
        entity=entity,
        signal=metric,
        summary=(
            f"{readable(metric)} of {name_of(entity)} fires {times(now)} since {change_point.at:%H:%M:%S}, "
            f"{times(past)} before"
        ),
        direction=Direction.UP if row["deviation"] > 0 else Direction.DOWN,
        strength=strength,
        fault_kinds={meaning_of(metric).kind: 1.0},
        onset=onset_of(*firing.course, change_point.at, factory.parameters),
        points=thinned(*firing.course),
        predicate=AllOf(parts=parts),
    )


def onset_of(at: Numbers, values: Matrix, change_point: datetime, parameters: Parameters) -> datetime | None:
    """When the change that holds at the end began: the foot of the rise, above the noise of the first part.

    The noise is that of the first part of the series (`onset_noise`), so that a slow trend is dated from
    its beginning and not from where it becomes obvious.

    Args:
        at: microseconds since 1970.
        values: the series at those moments.
        change_point: the candidate onset, the first moment from which is taken where no rise holds at the end.
        parameters: numbers of the engine.
    """
    part, least = parameters.onset_noise
    head = max(least, len(values) // part)
    place = _foot(values, head, parameters) if len(values) >= head + 2 else None
    if place is None:
        place = int(np.searchsorted(at, micros(change_point)))
    return moment_of(at[place]) if place < len(at) else None


def _foot(values: Matrix, head: int, parameters: Parameters) -> int | None:
    low, middle, high = np.quantile(values[:head], (0.1, 0.5, 0.9))
    apart = 1.4826 * float(np.median(np.abs(values[:head] - middle)))
    z = (values - middle) / max(apart, (high - low) / 2.56, parameters.onset_noise_floor * abs(middle), 1e-9)
    part, least = parameters.onset_tail
    tail = max(least, len(z) // part)
    late = z[-tail:]
    risen = float(np.sign(late[int(np.argmax(np.abs(late)))])) * z
    beyond = np.nonzero(risen >= parameters.onset_beyond)[0]
    if not len(beyond) or beyond[-1] < len(z) - tail:
        return None
    below = np.nonzero(risen[: beyond[-1]] < max(1.0, parameters.onset_foot * float(np.max(risen))))[0]
    return int(below[-1]) + 1 if len(below) else 0
