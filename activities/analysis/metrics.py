"""What metrics say: which series left its usual range, how far, how rarely it ever does, and since when."""

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from activities.analysis.evidence import Evidence
from activities.analysis.facts import FactMaker
from activities.analysis.metric_kinds import fall_is_bad, kind_of
from activities.analysis.parameters import Parameters
from activities.analysis.splits import Average, Split, splits_of
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import SeriesShift
from workflows.contracts.probe import Window

PER_KIND = 2
"""Findings per entity and kind of fault, the strongest first."""

KEYS = ["entity", "metric"]
LEAST_POINTS = 3
WORTH_TELLING = 0.02
FEW_EPISODES = 3
STRAIGHT = 0.9
"""Share of the steps of a countdown that go down."""

FIRING = "ALERTS{"
"""Series of a monitoring system's own alerts, as Prometheus keeps them: a sample while one fires, none otherwise."""

FALLEN = 'direction="down"'
"""The label of an alert on something that fell."""


def find_in_metrics(evidence: Evidence, parameters: Parameters, facts: FactMaker) -> list[Finding]:
    """The strongest metric findings of every entity.

    The deviation is measured from the median in a scale that is the largest of the robust spread, a part of the
    series' own level and a part of the level of the same metric elsewhere; it counts by how rarely the series' own,
    possibly contaminated, history goes as far.
    """
    recorded = evidence.rows("metrics").filter(pl.col("value").is_finite())
    if recorded.is_empty():
        return []
    samples = _numbered(_with_silence(recorded, evidence, parameters), parameters)
    collected: dict[tuple[str, str], Average] = {}
    splits = splits_of(evidence, parameters)
    for split in splits:
        for row in _deviations(samples, split, parameters).iter_rows(named=True):
            kind = kind_of(row["metric"])
            down = row["deviation"] < 0 or (row["metric"].startswith(FIRING) and FALLEN in row["metric"])
            fallen = down and not fall_is_bad(row["metric"], kind)
            strength = (
                min(1.0, row["rarity"])
                * (parameters.metric_fall if fallen else 1.0)
                * _graded(abs(row["deviation"]), parameters)
            )
            collected.setdefault((row["entity"], row["metric"]), Average()).add(strength, split, row)
    for average in collected.values():
        average.total /= len(splits)
    _discount_common(collected, parameters)
    groups: dict[tuple[str, FaultKind], list[tuple[float, str]]] = defaultdict(list)
    for (entity, metric), average in collected.items():
        if average.total >= WORTH_TELLING:
            groups[entity, kind_of(metric)].append((-rounded(average.total), metric))
    found = [
        _finding(
            facts,
            samples.of(collected[entity, metric].detail),
            EntityId(entity),
            metric,
            collected[entity, metric],
            weight=parameters.metric_weights[kind],
        )
        for (entity, kind), items in sorted(groups.items())
        for _, metric in sorted(items)[:PER_KIND]
    ]
    return found + _deadlines(samples, evidence, facts)


@dataclass(frozen=True)
class _Samples:
    """Samples by the number of their series, so that what is compared again and again are numbers and not names."""

    series: pl.DataFrame
    """(series, entity, metric, probe, begins, points): the numbers are those of the rows, in their order."""

    rows: pl.DataFrame
    """(series, ts, value, episode), sorted; the episodes are counted from one."""

    episodes: pl.Series
    """When each stretch of recording began that follows a hole."""

    def of(self, row: dict[str, object]) -> pl.DataFrame:
        """Every sample of the series that `row` is about, by time."""
        found = self.series.row(int(str(row["series"])), named=True)
        return self.rows.slice(found["begins"], found["points"]).with_columns(probe=pl.lit(found["probe"]))


def _numbered(samples: pl.DataFrame, parameters: Parameters) -> _Samples:
    series = samples.group_by(KEYS).agg(pl.col("probe").first(), points=pl.len()).sort(KEYS).with_row_index("series")
    rows = samples.join(series.select("series", *KEYS), on=KEYS).select("series", "ts", "value").sort("series", "ts")
    moments = rows["ts"].unique().sort()
    episodes = moments.filter((moments.diff() > parameters.hole).fill_null(value=True))
    rows = rows.with_columns(episode=episodes.search_sorted(rows["ts"], side="right").cast(pl.Int64))
    return _Samples(series.with_columns(begins=pl.col("points").cum_sum() - pl.col("points")), rows, episodes)


def _with_silence(samples: pl.DataFrame, evidence: Evidence, parameters: Parameters) -> pl.DataFrame:
    """Alert series with a zero for every piece of time in which anything was recorded and they did not fire."""
    firing = pl.col("metric").str.starts_with(FIRING)
    alerts = samples.filter(firing)
    if alerts.is_empty():
        return samples
    length = parameters.chunk
    grid = samples.select(pl.col("ts").dt.truncate(length)).unique()
    series = alerts.select(*KEYS, "probe").unique(KEYS)
    fired = alerts.group_by(*KEYS, pl.col("ts").dt.truncate(length)).agg(value=pl.col("value").max())
    filled = (
        series.join(grid, how="cross")
        .join(fired, on=[*KEYS, "ts"], how="left")
        .with_columns(pl.col("value").fill_null(0.0))
        .filter(pl.col("ts") < evidence.as_of)
    )
    return pl.concat([samples.filter(~firing), filled.select(samples.columns)])


def _discount_common(collected: dict[tuple[str, str], Average], parameters: Parameters) -> None:
    """What most entities of a sort show at once is shown by none of them in particular."""
    sorts: dict[str, set[str]] = defaultdict(set)
    shown: dict[tuple[str, str], float] = defaultdict(float)
    for (entity, metric), average in collected.items():
        sort = entity.partition(":")[0]
        sorts[sort].add(entity)
        shown[sort, metric] += average.total
    for (entity, metric), average in collected.items():
        sort = entity.partition(":")[0]
        others = len(sorts[sort]) - 1
        if others > 1:
            common = min(1.0, (shown[sort, metric] - average.total) / others)
            average.total *= 1 - parameters.common * common


def _graded(deviation: float, parameters: Parameters) -> float:
    full = math.log1p(parameters.metric_ceiling / parameters.metric_knee)
    return min(1.0, math.log1p(deviation / parameters.metric_knee) / full)


def _deviations(samples: _Samples, split: Split, parameters: Parameters) -> pl.DataFrame:
    """Per series: the later value farthest from the median, in scales, and the rarity of such values before."""
    rows, key = samples.rows, "series"
    before, after = rows.filter(pl.col("ts") < split.at), rows.filter(pl.col("ts") >= split.at)
    usual = (
        before.group_by(key).agg(usual=pl.col("value").median(), past=pl.len()).filter(pl.col("past") >= LEAST_POINTS)
    )
    errors = before.join(usual, on=key).with_columns(error=pl.col("value") - pl.col("usual"))
    scales = errors.group_by(key).agg(
        spread=pl.col("error").abs().median() * 1.4826,
        wide=pl.col("error").abs().quantile(0.9) / 1.64,
        level=pl.col("value").abs().mean(),
    )
    scales = scales.join(samples.series.select(key, "metric"), on=key)
    scales = scales.join(scales.group_by("metric").agg(peers=pl.col("level").median()), on="metric").drop("metric")
    floor = parameters.metric_floor
    scale = pl.max_horizontal(
        "spread", "wide", floor * pl.col("usual").abs(), parameters.metric_peers * pl.col("peers"), pl.lit(1e-9)
    )
    farthest = (
        after.join(usual, on=key)
        .join(scales, on=key)
        .with_columns(moved=pl.col("value") - pl.col("usual"))
        .with_columns(deviation=pl.col("moved") / scale, distance=(pl.col("moved") / scale).abs())
        .sort(key, "distance", "ts", descending=[False, True, False])
        .group_by(key, maintain_order=True)
        .first()
        .filter(pl.col("distance") > 0)
    )
    past = (
        errors.join(farthest.select(key, "moved"), on=key)
        .with_columns(
            block=_block(samples.episodes, split),
            reached=(pl.col("error") * pl.col("moved").sign()) >= pl.col("moved").abs(),
        )
        .group_by(key, "block")
        .agg(as_far=pl.col("reached").sum())
        .sort(key, "block")
        .with_columns(nearness=0.5 ** (pl.int_range(pl.len()).over(key) / parameters.nearness))
        .group_by(key)
        .agg(
            pl.col("as_far").sum(),
            often=(pl.col("as_far") > 0).sum() / (pl.len() + 1),
            lately=pl.col("nearness").filter(pl.col("as_far") > 0).sum() / (pl.col("nearness").sum() + 1),
        )
    )
    rare = -((pl.col("as_far") + 1) / (pl.col("past") + 1)).log() / (pl.col("past") + 1).log()
    calm = 1 - pl.max_horizontal("often", "lately")
    rarity = rare.clip(0, 1) * calm
    found = farthest.join(past, on=key).with_columns(rarity=rarity)
    return found.join(samples.series.select(key, *KEYS), on=key).sort(key)


def _block(episodes: pl.Series, split: Split) -> pl.Expr:
    """The number of the window of history that a sample lies in, counted back from the split.

    Windows are as long as what is compared: one far point in an hour is rare among points and common among hours. Where
    recording stopped again and again, each stretch is one: what shows in all of them is the rule.
    """
    past = episodes.filter(episodes < split.at)
    if len(past) > FEW_EPISODES:
        return len(past) - pl.col("episode")
    length = max((split.after.end - split.at).total_seconds() * 1e6, 1.0)
    back = (pl.lit(split.at) - pl.col("ts")).dt.total_microseconds() - 1
    return (back / length).floor().cast(pl.Int64)


def _finding(
    facts: FactMaker,
    rows: pl.DataFrame,
    entity: EntityId,
    metric: str,
    average: Average,
    *,
    weight: float,
) -> Finding:
    assert average.split is not None
    row = average.detail
    up = float(str(row["deviation"])) > 0
    value, usual = float(str(row["value"])), float(str(row["usual"]))
    kind = kind_of(metric)
    points = list(zip(rows["ts"].to_list(), rows["value"].to_list(), strict=True))
    return facts.stated(
        family=FindingFamily.METRIC,
        entity=entity,
        signal=metric,
        summary=f"{metric} of {entity} {'rises' if up else 'falls'} to {value:.4g}, usually {usual:.4g}",
        direction=Direction.UP if up else Direction.DOWN,
        strength=average.total * weight,
        fault_kinds={kind: 1.0},
        onset=onset_of(points, average.split.at),
        points=points,
        predicate=SeriesShift(
            probe_key=ProbeKey(rows["probe"][0]),
            select={"metric": metric},
            column="value",
            statistic="max" if up else "min",
            before=average.split.before,
            after=average.split.after,
            direction="up" if up else "down",
            threshold=value,
            reference=usual,
        ),
    )


def onset_of(points: list[tuple[datetime, float]], split: datetime) -> datetime | None:
    """When the change that holds at the end began: the foot of the rise, above the noise of the first part.

    The noise is that of the first eighth of the series (at least eight points), so that a slow ramp is dated from
    its beginning and not from where it becomes obvious.
    """
    values = np.array([value for _, value in points])
    head = max(8, len(values) // 8)
    if len(values) < head + 2:
        return next((moment for moment, _ in points if moment >= split), None)
    middle = float(np.median(values[:head]))
    spread = max(
        1.4826 * float(np.median(np.abs(values[:head] - middle))),
        float(np.quantile(values[:head], 0.9) - np.quantile(values[:head], 0.1)) / 2.56,
        0.03 * abs(middle),
        1e-9,
    )
    z = (values - middle) / spread
    late = z[-max(5, len(z) // 10) :]
    sign = float(np.sign(late[int(np.argmax(np.abs(late)))]))
    beyond = np.nonzero(sign * z >= 6)[0]
    if not len(beyond) or beyond[-1] < len(z) - max(5, len(z) // 10):
        return next((moment for moment, _ in points if moment >= split), None)
    foot = max(1.0, 0.02 * float(np.max(sign * z)))
    first = int(beyond[-1])
    while first > 0 and sign * z[first - 1] >= foot:
        first -= 1
    return points[first][0]


def _deadlines(samples: _Samples, evidence: Evidence, facts: FactMaker) -> list[Finding]:
    """Countdowns that reached zero: a series that had been falling straight all along, and crossed it."""
    found = []
    step = pl.col("value").diff()
    candidates = (
        samples.rows.group_by("series")
        .agg(pl.len(), pl.col("value").first(), last=pl.col("value").last(), falling=(step.drop_nulls() < 0).mean())
        .filter(pl.col("len") >= 10, pl.col("value") > 0, pl.col("last") <= 0, pl.col("falling") >= STRAIGHT)
        .join(samples.series.select("series", *KEYS), on="series")
        .sort("series")
    )
    for row in candidates.iter_rows(named=True):
        rows = samples.of(row)
        entity, metric = row["entity"], row["metric"]
        values = rows["value"].to_numpy()
        seconds = rows["ts"].dt.epoch("us").to_numpy() / 1e6
        slope, base = np.polyfit(seconds - seconds[0], values, 1)
        residual = values - (base + slope * (seconds - seconds[0]))
        drift = abs(slope) * (seconds[-1] - seconds[0])
        if slope >= 0 or drift <= 20 * (1.4826 * float(np.median(np.abs(residual))) + 1e-9):
            continue
        moment = rows.filter(pl.col("value") <= 0)["ts"][0]
        if moment > evidence.as_of:
            continue
        found.append(_deadline(facts, rows, EntityId(str(entity)), str(metric), moment))
    return found


def _deadline(facts: FactMaker, rows: pl.DataFrame, entity: EntityId, metric: str, moment: datetime) -> Finding:
    points = list(zip(rows["ts"].to_list(), rows["value"].to_list(), strict=True))
    before = [value for ts, value in points if ts < moment]
    after = [value for ts, value in points if ts >= moment]
    window = rows["ts"].to_list()
    return facts.stated(
        family=FindingFamily.METRIC,
        entity=entity,
        signal=f"countdown {metric}",
        summary=f"{metric} of {entity} counted down and reached zero",
        direction=Direction.DOWN,
        strength=0.9,
        fault_kinds={FaultKind.EXPIRY: 1.0},
        onset=moment,
        points=points,
        predicate=SeriesShift(
            probe_key=ProbeKey(rows["probe"][0]),
            select={"metric": metric},
            column="value",
            statistic="max",
            before_statistic="min",
            before=Window(start=window[0], end=moment),
            after=Window(start=moment, end=window[-1] + timedelta(microseconds=1)),
            direction="down",
            threshold=rounded(max(after)),
            reference=rounded(min(before)),
        ),
    )
