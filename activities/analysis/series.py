"""Every metric of every entity as a numbered series; taken in blocks, so that memory stays bounded."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl

from activities.analysis.change_points import moment_of
from activities.analysis.evidence import AnsweredProbe, Evidence, Matrix, Numbers
from activities.analysis.parameters import LIMITS, Parameters
from activities.answers import TIMESTAMP
from workflows.contracts.probe import entity_of

FIRING = "ALERTS{"
"""Series of a monitoring system's own alerts, as Prometheus keeps them: a sample while one fires, none otherwise."""


@dataclass(frozen=True)
class Block:
    """Series with samples at the same moments, one a row."""

    number: Numbers
    """The series of each row."""

    at: Numbers
    """Microseconds since 1970, ascending."""

    value: Matrix


@dataclass(frozen=True)
class Series:
    """The finite samples of all series."""

    names: pl.DataFrame
    """(number, entity, metric, probe, frame, begin, points), by number from 0 on."""

    frames: tuple[tuple[Numbers, Matrix], ...]
    """Microseconds since 1970, and values, series after series, each by time."""

    fired: Mapping[tuple[str, str], Numbers]
    """When an alert of a monitoring system fired, as answered, per probe and metric."""

    @classmethod
    def of(cls, evidence: Evidence, parameters: Parameters) -> "Series":
        """Every series of the metric answers; alerts of a monitoring system are filled up with their silence."""
        names: list[tuple[str, str, str, int, int, int]] = []
        frames: list[tuple[Numbers, Matrix]] = []
        firing: list[pl.DataFrame] = []
        for item in evidence.of("metrics"):
            rows, runs = _by_series(item.rows)
            for metric, begin, points in runs:
                if metric.startswith(FIRING):
                    firing.append(_named(item, rows.slice(begin, points)))
                else:
                    names.append((entity_of(item.probe) or "", metric, item.probe.key, len(frames), begin, points))
            frames.append(_arrays(rows))
        if firing:
            filled = _with_silence(pl.concat(firing), frames, evidence, parameters)
            names += _names(filled, frame=len(frames))
            frames.append(_arrays(filled))
        return cls(
            names=pl.DataFrame(names, schema=_NAMES, orient="row").with_row_index("number"),
            frames=tuple(frames),
            fired={(rows["probe"][0], rows["metric"][0]): _arrays(rows)[0] for rows in firing},
        )

    def arrays(self, number: int) -> tuple[Numbers, Matrix]:
        """Microseconds since 1970, and values, of one series, by time."""
        frame, begin, points = self._places[number]
        at, values = self.frames[frame]
        return at[begin : begin + points], values[begin : begin + points]

    def blocks(self, numbers: Iterable[int]) -> Iterator[Block]:
        """The series in their order; those beside each other that share their moments together."""
        taken: list[int] = []
        at = np.empty(0, dtype=np.int64)
        for number in numbers:
            moments, _ = self.arrays(number)
            if taken and ((len(taken) + 1) * len(at) > LIMITS.series_cells or not np.array_equal(at, moments)):
                yield self._block(taken, at)
                taken = []
            taken.append(number)
            at = moments
        if taken:
            yield self._block(taken, at)

    def moments(self) -> Numbers:
        """Every moment of which there is a sample, in microseconds since 1970, by time."""
        kept = [np.unique(at) for at, _ in self.frames]
        return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *kept]))

    @cached_property
    def _places(self) -> list[tuple[int, int, int]]:
        return self.names.select("frame", "begin", "points").rows()

    def _block(self, numbers: list[int], at: Numbers) -> Block:
        value = np.stack([self.arrays(number)[1] for number in numbers])
        return Block(np.array(numbers, dtype=np.int64), at, value)


def thinned(at: Numbers, values: Matrix) -> list[tuple[datetime, float]]:
    """The points that a chart shows, so that none of the others is looked at."""
    stride = max(1, -(-len(at) // LIMITS.chart_points))
    shown = slice((len(at) - 1) % stride, None, stride)
    return [(moment_of(moment), value) for moment, value in zip(at[shown], values[shown].tolist(), strict=True)]


_NAMES = pl.Schema(
    {
        "entity": pl.String(),
        "metric": pl.String(),
        "probe": pl.String(),
        "frame": pl.Int64(),
        "begin": pl.Int64(),
        "points": pl.Int64(),
    }
)


def _by_series(answer: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[str, int, int]]]:
    """The finite samples of an answer, series after series and each by time, with (metric, begin, points) of each."""
    rows = answer if answer["value"].is_finite().all() else answer.filter(pl.col("value").is_finite())
    begins, metrics = _runs(rows)
    back = np.diff(_arrays(rows)[0]) < 0
    back[begins[1:] - 1] = False
    if back.any() or len(set(metrics)) < len(metrics):
        rows = rows.sort("metric", "ts", maintain_order=True)
        begins, metrics = _runs(rows)
    points = np.diff([*begins, rows.height])
    return rows, list(zip(metrics, begins.tolist(), points.tolist(), strict=True))


def _runs(rows: pl.DataFrame) -> tuple[Numbers, list[str]]:
    """Where another metric begins, and which."""
    metric = rows["metric"].cast(pl.Categorical)
    code = metric.to_physical().to_numpy()
    begins = np.flatnonzero(np.concatenate([np.ones(min(1, len(code)), dtype=bool), code[1:] != code[:-1]]))
    return begins, metric.gather(begins).cast(pl.String).to_list()


def _named(item: AnsweredProbe, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        pl.lit(entity_of(item.probe), pl.String).alias("entity"),
        pl.col("metric").cast(pl.String),
        pl.lit(item.probe.key).alias("probe"),
        "ts",
        "value",
    )


def _arrays(rows: pl.DataFrame) -> tuple[Numbers, Matrix]:
    return rows["ts"].to_physical().to_numpy(), rows["value"].to_numpy()


def _names(named: pl.DataFrame, *, frame: int) -> list[tuple[str, str, str, int, int, int]]:
    """One row a run of samples of the same series."""
    runs = named.group_by("entity", "metric", "probe", maintain_order=True).agg(points=pl.len())
    ends = runs["points"].cum_sum()
    return [
        (entity, metric, probe, frame, end - points, points)
        for (entity, metric, probe, points), end in zip(runs.iter_rows(), ends, strict=True)
    ]


def _with_silence(
    alerts: pl.DataFrame, frames: list[tuple[Numbers, Matrix]], evidence: Evidence, parameters: Parameters
) -> pl.DataFrame:
    """Alert series with a zero for every bucket of time in which anything was recorded and they did not fire."""
    length = parameters.bucket
    recorded = [pl.Series("ts", np.unique(at)).cast(TIMESTAMP) for at, _ in frames]
    buckets = pl.concat([alerts["ts"], *recorded]).dt.truncate(length).unique()
    keys = ["entity", "metric", "probe"]
    fired = alerts.group_by(*keys, pl.col("ts").dt.truncate(length)).agg(value=pl.col("value").max())
    return (
        alerts.select(keys)
        .unique(["entity", "metric"], maintain_order=True)
        .join(buckets.to_frame(), how="cross")
        .join(fired.drop("probe"), on=["entity", "metric", "ts"], how="left")
        .with_columns(pl.col("value").fill_null(0.0))
        .filter(pl.col("ts") < evidence.as_of)
        .select(*keys, "ts", "value")
        .sort([*keys[:2], "ts"])
    )
