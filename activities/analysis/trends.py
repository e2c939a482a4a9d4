"""What has been growing for longer than any candidate onset: leaks, filling disks, queues that never drain."""

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.catalogue import Meaning, Signal, meaning_of
from activities.analysis.change_points import moment_of
from activities.analysis.evidence import Numbers
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.metric_weights import floor_of, weight_of
from activities.analysis.parameters import Parameters
from activities.analysis.series import thinned
from activities.analysis.wording import measured, name_of, readable
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import SeriesShift
from workflows.contracts.probe import Window

STOCKS = frozenset((FaultKind.MEMORY, FaultKind.DISK, FaultKind.SATURATION))
"""Kinds whose series are amounts that pile up."""


@evidence_family(needs={"metrics": ["metric", "ts", "value"]})
def find_trends(given: AnalysisInput) -> list[Finding]:
    """At most one finding per entity and kind: an amount that grew steadily, dated from its foot.

    Comparing before and after any moment says little about it: the moments before are part of the trend.
    """
    series, best = given.series, dict[tuple[str, FaultKind], Finding]()
    stocks = [metric for metric in series.names["metric"].unique() if _piles_up(meaning_of(metric))]
    piling = series.names.filter(
        pl.col("metric").is_in(stocks), pl.col("points") >= given.parameters.trend_least_points
    )
    for row in piling.iter_rows(named=True):
        found = _trend(given, row)
        key = (row["entity"], meaning_of(row["metric"]).kind)
        if found is not None and (key not in best or found.strength > best[key].strength):
            best[key] = found
    return [best[key] for key in sorted(best)]


def _piles_up(meaning: Meaning) -> bool:
    return meaning.kind in STOCKS and meaning.signal in (Signal.UTILISATION, Signal.SATURATION) and meaning.rise_is_bad


def _trend(given: AnalysisInput, row: dict[str, Any]) -> Finding | None:
    parameters, (at, values) = given.parameters, given.series.arrays(row["number"])
    peak = int(np.argmax(values))
    if peak < parameters.trend_late * len(values):
        return None
    foot, usual = _foot(values[: peak + 1], parameters)
    grown = values[peak] / usual if usual > 0 else 0.0
    long = at[peak] - at[foot] > max(parameters.onset_offsets) / timedelta(microseconds=1)
    if not long or grown < parameters.trend_least_growth or foot == 0:
        return None
    steady = _steady(values[foot : peak + 1], parameters)
    if steady < parameters.trend_steady:
        return None
    metric, entity, meaning = row["metric"], EntityId(row["entity"]), meaning_of(row["metric"])
    if values[peak] - usual < floor_of(meaning, parameters):
        return None
    began = moment_of(at[foot])
    before = Window(start=moment_of(at[0]), end=began)
    level = float(np.median(values[:foot]))
    return given.factory.stated(
        family=FindingFamily.METRIC,
        mechanism=Mechanism.TREND,
        entity=entity,
        signal=metric,
        summary=(
            f"{readable(metric)} of {name_of(entity)} has grown since {began:%H:%M:%S} "
            f"from {measured(level, meaning)} to {measured(float(values[peak]), meaning)}"
        ),
        unit=meaning.unit,
        direction=Direction.UP,
        strength=weight_of(meaning, parameters) * steady * min(1.0, math.log(grown) / math.log(2)),
        fault_kinds={meaning.kind: 1.0},
        onset=_began(at, values, foot, peak, level=usual),
        points=thinned(at, values),
        predicate=SeriesShift(
            probe_key=ProbeKey(row["probe"]),
            select={"metric": metric},
            column="value",
            statistic="max",
            before=before,
            after=Window(start=began, end=given.evidence.as_of),
            direction="up",
            threshold=rounded(float(values[peak])),
            reference=rounded(level),
        ),
    )


def _foot(rising: NDArray[np.float64], parameters: Parameters) -> tuple[int, float]:
    """Where the series last was at the level of its beginning, and that level."""
    head = rising[: max(parameters.trend_blocks, len(rising) // parameters.trend_blocks)]
    usual = float(np.median(head))
    floor = parameters.trend_noise_floor * abs(usual)
    noise = max(1.4826 * float(np.median(np.abs(head - usual))), floor, 1e-9)
    return int(np.nonzero(rising <= usual + parameters.trend_noise * noise)[0][-1]), usual


def _began(at: Numbers, values: NDArray[np.float64], foot: int, peak: int, *, level: float) -> datetime:
    """Where the trend's line leaves the usual level: it stands out of the noise only later."""
    seconds = (at[foot : peak + 1] - at[foot]) / 1e6
    slope, base = np.polyfit(seconds, values[foot : peak + 1], 1)
    back = float((level - base) / slope) if slope > 0 else 0.0
    return max(moment_of(at[0]), moment_of(at[foot]) + timedelta(seconds=min(0.0, back)))


def _steady(trend: NDArray[np.float64], parameters: Parameters) -> float:
    """Share of the steps between the medians of equal blocks that go up."""
    if len(trend) < 2 * parameters.trend_blocks:
        return 0.0
    levels = [float(np.median(block)) for block in np.array_split(trend, parameters.trend_blocks)]
    return float(np.mean(np.diff(levels) > 0))
