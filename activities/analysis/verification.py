"""Evaluates predicates against stored answers. Nothing here knows how a finding was made."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.change_points import micros
from workflows.contracts.canonical import digest_of
from workflows.contracts.claim import Claim, ClaimState
from workflows.contracts.finding import Finding
from workflows.contracts.identifiers import ClaimKey, ProbeKey
from workflows.contracts.predicate import AllOf, Occurred, Predicate, RowCount, SeriesLevel, SeriesShift, Statistic
from workflows.contracts.probe import Window

TOLERANCE = 1e-5
"""Relative slack for numbers that were rounded when the claim was written."""

_REDUCERS: Mapping[Statistic, Callable[[NDArray[np.float64]], np.float64]] = {
    "median": np.median,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "sum": np.sum,
    "last": lambda numbers: numbers[-1],
}


class UnsupportedClaimError(ValueError):
    """The evidence a predicate names cannot be evaluated: it is missing, or lacks a column or any value."""


class _InOrder:
    """Rows by time, so that a window is a slice of them."""

    def __init__(self, rows: pl.DataFrame) -> None:
        _require(rows, "ts")
        self._rows = rows.drop_nulls("ts").sort("ts", maintain_order=True)
        self._at = self._rows["ts"].dt.epoch("us").to_numpy()

    def values(self, column: str, window: Window) -> NDArray[np.float64]:
        """The numbers of a column within the window, its end not included."""
        _require(self._rows, column)
        begin, end = np.searchsorted(self._at, [micros(window.start), micros(window.end)])
        return self._rows[column][int(begin) : int(end)].cast(pl.Float64).to_numpy()


def evaluate(predicate: Predicate, answers: Mapping[ProbeKey, pl.DataFrame]) -> tuple[ClaimState, str]:
    """Whether the statement holds in these answers, and why not.

    Returns:
        `verified` with an empty reason; `contradicted` when the answers say otherwise; `unsupported` when they
        do not say.
    """
    try:
        problem = _problem(predicate, answers)
    except UnsupportedClaimError as error:
        return ClaimState.UNSUPPORTED, str(error)
    return (ClaimState.VERIFIED, "") if problem is None else (ClaimState.CONTRADICTED, problem)


def claims_of(findings: Sequence[Finding], answers: Mapping[ProbeKey, pl.DataFrame]) -> list[Claim]:
    """The statement of every finding as a claim, evaluated; in the order of the findings."""
    found = []
    for item in findings:
        state, reason = evaluate(item.predicate, answers)
        found.append(
            Claim(
                key=ClaimKey(f"claim-{digest_of(f'{item.key}{item.summary}'.encode())[:12]}"),
                text=item.summary,
                findings=(item.key,),
                predicate=item.predicate,
                state=state,
                reason=reason,
            )
        )
    return found


def verified(findings: Sequence[Finding], claims: Sequence[Claim]) -> list[Finding]:
    """The findings whose claim holds; any other supports nothing."""
    holding = {key for claim in claims if claim.state is ClaimState.VERIFIED for key in claim.findings}
    return [item for item in findings if item.key in holding]


def _problem(predicate: Predicate, answers: Mapping[ProbeKey, pl.DataFrame]) -> str | None:
    match predicate:
        case AllOf():
            if not predicate.parts:
                raise UnsupportedClaimError("the claim states nothing")
            problems = (_problem(part, answers) for part in predicate.parts)
            return next((problem for problem in problems if problem is not None), None)
        case SeriesShift():
            return _shift_problem(predicate, answers)
        case SeriesLevel():
            return _level_problem(predicate, answers)
        case RowCount():
            return _count_problem(predicate, answers)
        case Occurred():
            return _occurrence_problem(predicate, answers)


def _shift_problem(predicate: SeriesShift, answers: Mapping[ProbeKey, pl.DataFrame]) -> str | None:
    rows = _InOrder(_selected(predicate.probe_key, predicate.select, answers))
    before = _statistic(rows, predicate.before, predicate.column, predicate.per, predicate.before_statistic)
    after = _statistic(rows, predicate.after, predicate.column, predicate.per, predicate.statistic)
    if after is None or before is None:
        raise UnsupportedClaimError("one of the two windows holds no value")
    up = predicate.direction == "up"
    if not _reaches(after, predicate.threshold, up=up):
        return f"{predicate.statistic} is {after:.6g} in the later window, claimed {predicate.threshold:.6g}"
    if not _reaches(before, predicate.reference, up=not up):
        return f"{predicate.before_statistic} is {before:.6g} in the earlier window, claimed {predicate.reference:.6g}"
    return None


def _level_problem(predicate: SeriesLevel, answers: Mapping[ProbeKey, pl.DataFrame]) -> str | None:
    rows = _InOrder(_selected(predicate.probe_key, predicate.select, answers))
    level = _statistic(rows, predicate.window, predicate.column, None, "median")
    if level is None:
        raise UnsupportedClaimError("the window holds no value")
    if not _reaches(level, predicate.at_least, up=True):
        return f"median is {level:.6g}, claimed {predicate.at_least:.6g}"
    return None


def _count_problem(predicate: RowCount, answers: Mapping[ProbeKey, pl.DataFrame]) -> str | None:
    rows = _within(_selected(predicate.probe_key, predicate.select, answers), predicate.window)
    if predicate.column is None:
        found = float(rows.height)
    else:
        _require(rows, predicate.column)
        found = float(rows[predicate.column].sum())
    if found < predicate.at_least * (1 - TOLERANCE):
        return f"{found:.6g} found, at least {predicate.at_least:.6g} claimed"
    if predicate.at_most is not None and found > predicate.at_most * (1 + TOLERANCE):
        return f"{found:.6g} found, at most {predicate.at_most:.6g} claimed"
    return None


def _occurrence_problem(predicate: Occurred, answers: Mapping[ProbeKey, pl.DataFrame]) -> str | None:
    rows = _selected(predicate.probe_key, predicate.select, answers)
    _require(rows, "ts")
    if rows.filter(pl.col("ts") == predicate.at).is_empty():
        return f"no such row at {predicate.at.isoformat()}"
    return None


def _selected(key: ProbeKey, select: Mapping[str, str], answers: Mapping[ProbeKey, pl.DataFrame]) -> pl.DataFrame:
    rows = answers.get(key)
    if rows is None:
        raise UnsupportedClaimError(f"there is no answer to {key}")
    for column, value in select.items():
        _require(rows, column)
        texts = rows.schema[column] in (pl.String, pl.Categorical)
        rows = rows.filter((pl.col(column) if texts else pl.col(column).cast(pl.String)) == value)
    return rows


def _within(rows: pl.DataFrame, window: Window) -> pl.DataFrame:
    _require(rows, "ts")
    return rows.filter(pl.col("ts") >= window.start, pl.col("ts") < window.end)


def _statistic(rows: _InOrder, window: Window, column: str, per: str | None, statistic: Statistic) -> float | None:
    values = rows.values(column, window)
    if not values.size:
        return None
    if per is not None:
        whole = float(np.nansum(rows.values(per, window)))
        return None if whole == 0 else float(np.nansum(values)) / whole
    return float(_REDUCERS[statistic](values))


def _reaches(value: float, bound: float, *, up: bool) -> bool:
    slack = abs(bound) * TOLERANCE
    return value >= bound - slack if up else value <= bound + slack


def _require(rows: pl.DataFrame, column: str) -> None:
    if column not in rows.columns:
        raise UnsupportedClaimError(f"the answer has no column {column}")
