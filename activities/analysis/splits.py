"""Before and after: the candidate moments at which the fault may have begun, and what is compared across them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from activities.analysis.evidence import Evidence, Matrix, Numbered, Numbers
from activities.analysis.parameters import Parameters
from workflows.contracts.probe import Window

CHART_POINTS = 60
LEAST_SPLITS = 3
SHORT_PARTS = (0.25, 0.4, 0.55, 0.7)
"""Where a short recording is cut, as parts of its length."""

MOST_PIECES = 240
"""Pieces of history that are compared; of a longer one they are longer, so that time does not grow with it."""

ROWS_AT_ONCE = 1_000_000
LATER = -1
"""In place of the piece of history, of what lies after a split."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CLEARLY = 1.05
"""An earlier split replaces a later one as the example only when it is stronger by this factor."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One candidate onset."""

    at: datetime
    before: Window
    after: Window
    piece: timedelta
    """History is compared in pieces of this length."""


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


def splits_of(evidence: Evidence, parameters: Parameters) -> list[Split]:
    """The candidate onsets; every analysis averages over them, which is steadier than choosing one.

    A split needs a piece of history before it, and telemetry shortly before it. A recording that is too short for
    `LEAST_SPLITS` of the lags is also cut at parts of its length.
    """
    window = evidence.window
    known = window.start + parameters.chunk
    moments = {evidence.alert_at - lag for lag in parameters.lags if evidence.alert_at - lag >= known}
    if len(moments) < LEAST_SPLITS:
        moments |= {window.start + part * window.length for part in SHORT_PARTS}
    moments = {moment for moment in moments if evidence.recorded(moment - parameters.hole, moment)}
    return [
        _split(evidence, moment, parameters)
        for moment in sorted(moments or {evidence.alert_at - min(parameters.lags)}, reverse=True)
    ]


def _split(evidence: Evidence, moment: datetime, parameters: Parameters) -> Split:
    before = evidence.before(moment)
    times = max(1, math.ceil(before.length / parameters.chunk / MOST_PIECES))
    return Split(
        at=moment, before=before, after=Window(start=moment, end=evidence.as_of), piece=times * parameters.chunk
    )


class Cut:
    """Rows about numbered things on both sides of a split: sums per thing, and per piece of history."""

    def __init__(self, rows: Numbered, split: Split) -> None:
        """Cut `rows` in two."""
        moment, length = micros(split.at), split.piece // timedelta(microseconds=1)
        self._rows = rows
        self._piece = np.where(rows.at < moment, (moment - 1 - rows.at) // length, LATER).astype(np.int16)
        self.pieces = max(0, moment - 1 - micros(split.before.start)) // length + 1

    def before(self, column: str, thing: Numbers, things: int) -> Matrix:
        """Sums of `column` per thing and piece of history, the pieces counted back from the split.

        Args:
            column: what is summed.
            thing: the thing that each number stands for; -1 for those that stand for none.
            things: how many there are.
        """
        found = np.zeros(things * self.pieces)
        for part in self._parts():
            number, piece = thing[self._rows.number[part]], self._piece[part]
            kept = (piece != LATER) & (number >= 0)
            position = number[kept] * self.pieces + piece[kept]
            found += np.bincount(position, weights=self._rows.values[column][part][kept], minlength=len(found))
        return found.reshape(things, self.pieces)

    def past(self, column: str, thing: Numbers, things: int) -> Matrix:
        """Sums of `column` per thing over all of the history."""
        return self._side(column, thing, things, later=False)

    def after(self, column: str, thing: Numbers, things: int) -> Matrix:
        """Sums of `column` per thing since the split."""
        return self._side(column, thing, things, later=True)

    def _side(self, column: str, thing: Numbers, things: int, *, later: bool) -> Matrix:
        found = np.zeros(things)
        for part in self._parts():
            number = thing[self._rows.number[part]]
            kept = ((self._piece[part] == LATER) == later) & (number >= 0)
            found += np.bincount(number[kept], weights=self._rows.values[column][part][kept], minlength=things)
        return found

    def _parts(self) -> Iterator[slice]:
        """Some rows at a time, so that memory stays bounded."""
        return (slice(begin, begin + ROWS_AT_ONCE) for begin in range(0, len(self._piece), ROWS_AT_ONCE))


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
