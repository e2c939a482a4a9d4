"""What has been growing for longer than any candidate onset: leaks, filling disks, queues that never drain."""

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.change_points import moment_of
from activities.analysis.evidence import Numbers
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.metric_kinds import kind_of, weight_of
from activities.analysis.parameters import Parameters
from activities.analysis.series import Series, thinned
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import SeriesShift
from workflows.contracts.probe import Window

STOCKS = frozenset((FaultKind.MEMORY, FaultKind.DISK, FaultKind.SATURATION))
"""Kinds whose series are amounts that pile up."""

LEAST_POINTS = 24
LEAST_GROWTH = 1.3
"""Times the level of the beginning."""

BLOCKS = 8
STEADY = 0.85
"""Share of the steps between blocks of the ramp that go up."""

LATE = 0.75
"""Part of the series after which its peak must lie."""


def find_trends(series: Series, as_of: datetime, parameters: Parameters, factory: FindingFactory) -> list[Finding]:
    """At most one finding per entity and kind: an amount that grew steadily, dated from its foot.

    Comparing before and after any moment says little about it: the moments before are part of the ramp.
    """
    best: dict[tuple[str, FaultKind], Finding] = {}
    stocks = [metric for metric in series.names["metric"].unique() if kind_of(metric) in STOCKS]
    piling = series.names.filter(pl.col("metric").is_in(stocks), pl.col("points") >= LEAST_POINTS)
    for row in piling.iter_rows(named=True):
        found = _ramp(factory, row, series, as_of, parameters)
        key = (row["entity"], kind_of(row["metric"]))
        if found is not None and (key not in best or found.strength > best[key].strength):
            best[key] = found
    return [best[key] for key in sorted(best)]


def _ramp(
    factory: FindingFactory, row: dict[str, Any], series: Series, as_of: datetime, parameters: Parameters
) -> Finding | None:
    at, values = series.arrays(row["number"])
    peak = int(np.argmax(values))
    if peak < LATE * len(values):
        return None
    foot, usual = _foot(values[: peak + 1])
    grown = values[peak] / usual if usual > 0 else 0.0
    long = at[peak] - at[foot] > max(parameters.onset_offsets) / timedelta(microseconds=1)
    if not long or grown < LEAST_GROWTH or foot == 0 or (steady := _steady(values[foot : peak + 1])) < STEADY:
        return None
    metric, entity = row["metric"], EntityId(row["entity"])
    kind = kind_of(metric)
    began = moment_of(at[foot])
    before = Window(start=moment_of(at[0]), end=began)
    level = float(np.median(values[:foot]))
    return factory.stated(
        family=FindingFamily.METRIC,
        mechanism=Mechanism.TREND,
        entity=entity,
        signal=metric,
        summary=f"{metric} of {entity} grows since {began:%H:%M:%S} to {values[peak]:.4g}, from {level:.4g}",
        direction=Direction.UP,
        strength=weight_of(kind, parameters) * steady * min(1.0, math.log(grown) / math.log(2)),
        fault_kinds={kind: 1.0},
        onset=_began(at, values, foot, peak, level=usual),
        points=thinned(at, values),
        predicate=SeriesShift(
            probe_key=ProbeKey(row["probe"]),
            select={"metric": metric},
            column="value",
            statistic="max",
            before=before,
            after=Window(start=began, end=as_of),
            direction="up",
            threshold=rounded(float(values[peak])),
            reference=rounded(level),
        ),
    )


def _foot(rising: NDArray[np.float64]) -> tuple[int, float]:
    """Where the series last was at the level of its first eighth, and that level."""
    head = rising[: max(BLOCKS, len(rising) // 8)]
    usual = float(np.median(head))
    noise = max(1.4826 * float(np.median(np.abs(head - usual))), 0.02 * abs(usual), 1e-9)
    return int(np.nonzero(rising <= usual + 2 * noise)[0][-1]), usual


def _began(at: Numbers, values: NDArray[np.float64], foot: int, peak: int, *, level: float) -> datetime:
    """Where the ramp's line leaves the usual level: it stands out of the noise only later."""
    seconds = (at[foot : peak + 1] - at[foot]) / 1e6
    slope, base = np.polyfit(seconds, values[foot : peak + 1], 1)
    back = float((level - base) / slope) if slope > 0 else 0.0
    return max(moment_of(at[0]), moment_of(at[foot]) + timedelta(seconds=min(0.0, back)))


def _steady(ramp: NDArray[np.float64]) -> float:
    """Share of the steps between the medians of equal blocks that go up."""
    if len(ramp) < 2 * BLOCKS:
        return 0.0
    levels = [float(np.median(block)) for block in np.array_split(ramp, BLOCKS)]
    return float(np.mean(np.diff(levels) > 0))
