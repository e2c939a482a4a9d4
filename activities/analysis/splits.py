"""Before and after: the candidate moments at which the fault may have begun, and what is compared across them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from activities.analysis.evidence import Evidence
from activities.analysis.parameters import Parameters
from workflows.contracts.probe import Window

CHART_POINTS = 60
LEAST_SPLITS = 3
SHORT_PARTS = (0.25, 0.4, 0.55, 0.7)
"""Where a short recording is cut, as parts of its length."""

CLEARLY = 1.05
"""An earlier split replaces a later one as the example only when it is stronger by this factor."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One candidate onset."""

    at: datetime
    before: Window
    after: Window


def splits_of(evidence: Evidence, parameters: Parameters) -> list[Split]:
    """The candidate onsets; every analysis averages over them, which is steadier than choosing one.

    A split needs a piece of history before it, and telemetry shortly before it. A recording that is too short for
    `LEAST_SPLITS` of the lags is also cut at parts of its length.
    """
    window = evidence.window()
    known = window.start + parameters.chunk
    moments = {evidence.alert_at - lag for lag in parameters.lags if evidence.alert_at - lag >= known}
    if len(moments) < LEAST_SPLITS:
        moments |= {window.start + part * window.length for part in SHORT_PARTS}
    moments = {moment for moment in moments if evidence.recorded(moment - parameters.hole, moment)}
    return [
        Split(at=moment, before=evidence.before(moment), after=Window(start=moment, end=evidence.as_of))
        for moment in sorted(moments or {evidence.alert_at - min(parameters.lags)}, reverse=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Sums of columns on both sides of a split."""

    before: pl.DataFrame
    """Per keys and `chunk`, the number of the piece of history, counted back from the split."""

    after: pl.DataFrame
    """Per keys."""

    def named(self, names: pl.DataFrame, on: str, keys: list[str]) -> "Cut":
        """The counts of `names` instead of those of the numbers in column `on`; numbers without a name are left out."""
        summed = pl.col("count").sum()
        return Cut(
            before=self.before.select(on, "chunk", "count")
            .join(names.select(on, *keys), on=on)
            .group_by(*keys, "chunk")
            .agg(summed),
            after=self.after.select(on, "count").join(names.select(on, *keys), on=on).group_by(keys).agg(summed),
        )


def cut(rows: pl.DataFrame, keys: list[str], sums: list[str], split: Split, parameters: Parameters) -> Cut:
    """`sums` of the rows per `keys` and piece of history, and since the split."""
    length = parameters.chunk.total_seconds() * 1e6
    back = (pl.lit(split.at) - pl.col("ts")).dt.total_microseconds() - 1
    summed = [pl.col(name).sum() for name in sums]
    before = rows.filter(pl.col("ts") < split.at)
    return Cut(
        before=before.with_columns(chunk=(back / length).floor().cast(pl.Int64)).group_by(*keys, "chunk").agg(summed),
        after=rows.filter(pl.col("ts") >= split.at).group_by(keys).agg(summed),
    )


@dataclass
class Average:
    """Collects a signal's strength over the splits, and remembers the latest at which it was about strongest."""

    total: float = 0.0
    best: float = 0.0
    split: Split | None = None
    detail: dict[str, object] = field(default_factory=dict)

    def add(self, strength: float, split: Split, detail: dict[str, object]) -> None:
        """One split's strength; `detail` describes the example that is shown."""
        self.total += strength
        if strength > self.best * CLEARLY:
            self.best, self.split, self.detail = strength, split, detail


def chart(points: Iterable[tuple[datetime, float]], alert_at: datetime) -> tuple[tuple[float, float], ...]:
    """At most 60 (seconds relative to the alert, value) points, thinned evenly, the latest always kept."""
    ordered: Sequence[tuple[datetime, float]] = sorted(points)
    stride = max(1, -(-len(ordered) // CHART_POINTS))
    kept = list(ordered)[::-1][::stride][::-1]
    return tuple(((moment - alert_at).total_seconds(), value) for moment, value in kept)
