"""Before and after: the candidate moments at which the fault may have begun, and what is compared across them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import numpy as np

from activities.analysis.evidence import Evidence, Matrix, Numbered, Numbers
from activities.analysis.parameters import LIMITS, Parameters
from workflows.contracts.probe import Window

Key = TypeVar("Key")
Detail = TypeVar("Detail")
LATER = -1
EARLIER = LATER - 1
"""In place of the bucket of history, of what lies after a change point, and of what lies before the history."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class ChangePoint:
    """One candidate onset."""

    at: datetime
    pre: Window
    """What is compared with: the history."""

    post: Window
    """What is compared: from the change point to the moment of the query."""

    bucket: timedelta
    """History is compared in buckets of this length."""

    def covered_since(self, moment: datetime) -> "ChangePoint":
        """The same without the history before `moment`; a second of it is always left."""
        if moment <= self.pre.start + self.bucket:
            return self
        start = min(moment, self.at - timedelta(seconds=1))
        return replace(self, pre=Window(start=max(start, self.pre.start), end=self.at))


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_of(at: int) -> datetime:
    """The moment so many microseconds after 1970 began."""
    return EPOCH + timedelta(microseconds=int(at))


def median_of(rows: Matrix, known: Numbers | None = None) -> Matrix:
    """The median of each row; of those of which only so many are numbers, of these, and not a number where none is."""
    size = np.full(len(rows), rows.shape[1]) if known is None else known
    ordered, row = np.sort(rows, axis=1), np.arange(len(rows))
    low, high = np.maximum(size - 1, 0) // 2, np.minimum(size // 2, rows.shape[1] - 1)
    found: Matrix = ordered[row, low] / 2 + ordered[row, high] / 2
    return found


def change_points_of(evidence: Evidence, parameters: Parameters) -> list[ChangePoint]:
    """The candidate onsets; every analysis averages over them, which is steadier than choosing one.

    A change point needs a bucket of history before it, and telemetry shortly before it. A recording that is too short
    for `least_change_points` of the onset offsets also gets some at parts of its length.
    """
    window = evidence.window
    known = window.start + parameters.bucket
    moments = {evidence.alert_at - offset for offset in parameters.onset_offsets if evidence.alert_at - offset >= known}
    if len(moments) < parameters.least_change_points:
        moments |= {window.start + part * window.length for part in parameters.short_parts}
    moments = {moment for moment in moments if evidence.recorded(moment - parameters.coverage_gap, moment)}
    return [
        _change_point(evidence, moment, parameters)
        for moment in sorted(moments or {evidence.alert_at - min(parameters.onset_offsets)}, reverse=True)
    ]


def _change_point(evidence: Evidence, moment: datetime, parameters: Parameters) -> ChangePoint:
    pre = evidence.pre_window(moment)
    times = max(1, math.ceil(pre.length / parameters.bucket / LIMITS.buckets))
    return ChangePoint(at=moment, pre=pre, post=evidence.post_window(moment), bucket=times * parameters.bucket)


class PrePostSums:
    """Rows about numbered things on both sides of a change point: sums per thing, and per bucket of history."""

    def __init__(self, rows: Numbered, change_point: ChangePoint) -> None:
        """Assign each row to the change point's pre window, by bucket, or to its post window."""
        moment, length = micros(change_point.at), change_point.bucket // timedelta(microseconds=1)
        self._rows = rows
        self.buckets = max(0, moment - 1 - micros(change_point.pre.start)) // length + 1
        back = (moment - 1 - rows.at) // length
        before = np.where(back < self.buckets, back, EARLIER)
        self._bucket = np.where(rows.at < moment, before, LATER).astype(np.int16)

    def pre_by_bucket(self, column: str, thing: Numbers, things: int) -> Matrix:
        """Sums of `column` per thing and bucket of history, the buckets counted back from the change point.

        Args:
            column: what is summed.
            thing: the thing that each number stands for; -1 for those that stand for none.
            things: how many there are.
        """
        found = np.zeros(things * self.buckets)
        for part in self._parts():
            number, bucket = thing[self._rows.number[part]], self._bucket[part]
            kept = (bucket >= 0) & (number >= 0)
            position = number[kept] * self.buckets + bucket[kept]
            found += np.bincount(position, weights=self._rows.values[column][part][kept], minlength=len(found))
        return found.reshape(things, self.buckets)

    def pre(self, column: str, thing: Numbers, things: int) -> Matrix:
        """Sums of `column` per thing over all of the history."""
        return self._side(column, thing, things, later=False)

    def post(self, column: str, thing: Numbers, things: int) -> Matrix:
        """Sums of `column` per thing since the change point."""
        return self._side(column, thing, things, later=True)

    def _side(self, column: str, thing: Numbers, things: int, *, later: bool) -> Matrix:
        found = np.zeros(things)
        for part in self._parts():
            number = thing[self._rows.number[part]]
            side = self._bucket[part] == LATER if later else self._bucket[part] >= 0
            kept = side & (number >= 0)
            found += np.bincount(number[kept], weights=self._rows.values[column][part][kept], minlength=things)
        return found

    def _parts(self) -> Iterator[slice]:
        """Some rows at a time, so that memory stays bounded."""
        return (slice(begin, begin + LIMITS.rows_at_once) for begin in range(0, len(self._bucket), LIMITS.rows_at_once))


def ended_of(at: Numbers, values: Matrix, change_point: datetime, parameters: Parameters) -> datetime | None:
    """Since when a series has been back near what it was before a change point; None where it is not.

    Args:
        at: microseconds since 1970, ascending.
        values: the series at those moments.
        change_point: where the history ends with which it is compared.
        parameters: numbers of the engine.
    """
    past = int(np.searchsorted(at, micros(change_point)))
    if not past or past == len(at):
        return None
    apart = np.abs(values - np.median(values[:past]))
    away = np.flatnonzero(apart > parameters.ended_part * apart[past:].max())
    first = int(away[-1]) + 1 if len(away) else len(at)
    if len(at) - first < parameters.ended_points:
        return None
    lasted = timedelta(microseconds=int(at[-1] - at[first]))
    return moment_of(at[first]) if lasted >= parameters.ended_for else None


@dataclass
class _Average(Generic[Detail]):
    total: float
    best: float
    change_point: ChangePoint
    detail: Detail


@dataclass(frozen=True, kw_only=True)
class Averaged(Generic[Key, Detail]):
    """A sign's mean strength, and where it is shown."""

    key: Key
    strength: float
    change_point: ChangePoint
    """The latest at which it was about strongest."""

    detail: Detail
    """What is known of it there."""


class Averages(Generic[Key, Detail]):
    """Collects the strength of signs over the change points; a change point without a sign counts as zero."""

    def __init__(self, parameters: Parameters) -> None:
        """Begin with nothing."""
        self._clearly = parameters.clearly_stronger
        self._collected: dict[Key, _Average[Detail]] = {}

    def add(self, key: Key, strength: float, change_point: ChangePoint, detail: Detail) -> None:
        """One sign's strength at one change point; `detail` describes the example that is shown."""
        known = self._collected.get(key)
        if known is None:
            best = strength if strength > 0 else 0.0
            self._collected[key] = _Average(strength, best, change_point, detail)
            return
        known.total += strength
        if strength > known.best * self._clearly:
            known.best, known.change_point, known.detail = strength, change_point, detail

    def over(self, change_points: Sequence[ChangePoint], *, least: float) -> Iterator[Averaged[Key, Detail]]:
        """Every sign whose mean strength is at least `least`, by key."""
        for key, item in sorted(self._collected.items(), key=lambda pair: repr(pair[0])):
            strength = item.total / len(change_points)
            if strength >= least:
                yield Averaged(key=key, strength=strength, change_point=item.change_point, detail=item.detail)


def chart(points: Iterable[tuple[datetime, float]], alert_at: datetime) -> tuple[tuple[float, float], ...]:
    """At most `chart_points` (seconds relative to the alert, value) points, thinned evenly, the latest always kept."""
    ordered: Sequence[tuple[datetime, float]] = sorted(points)
    stride = max(1, -(-len(ordered) // LIMITS.chart_points))
    kept = list(ordered)[::-1][::stride][::-1]
    return tuple(((moment - alert_at).total_seconds(), value) for moment, value in kept)
