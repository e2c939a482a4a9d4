"""What has been growing for longer than any candidate onset: leaks, filling disks, queues that never drain."""

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.facts import FactMaker
from activities.analysis.metric_kinds import kind_of
from activities.analysis.parameters import Parameters
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import SeriesShift
from workflows.contracts.probe import Window, entity_of

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


def find_ramps(evidence: Evidence, parameters: Parameters, facts: FactMaker) -> list[Finding]:
    """At most one finding per entity and kind: an amount that grew steadily, dated from its foot.

    Comparing before and after any moment says little about it: the moments before are part of the ramp.
    """
    best: dict[tuple[EntityId, FaultKind], Finding] = {}
    for item in evidence.of("metrics"):
        entity = entity_of(item.probe)
        stocks = [name for name in item.rows["metric"].unique().sort() if kind_of(name) in STOCKS]
        if entity is None or not stocks:
            continue
        rows = item.rows.filter(pl.col("metric").is_in(stocks), pl.col("value").is_finite()).sort("metric", "ts")
        for (metric,), series in rows.group_by("metric", maintain_order=True):
            found = _ramp(facts, item, str(metric), series, evidence.as_of, parameters=parameters)
            key = (entity, kind_of(str(metric)))
            if found is not None and (key not in best or found.strength > best[key].strength):
                best[key] = found
    return [best[key] for key in sorted(best)]


def _ramp(
    facts: FactMaker, item: AnsweredProbe, metric: str, series: pl.DataFrame, as_of: datetime, *, parameters: Parameters
) -> Finding | None:
    entity = entity_of(item.probe)
    assert entity is not None
    values = series["value"].to_numpy().astype(float)
    peak = int(np.argmax(values)) if len(values) else 0
    if len(values) < LEAST_POINTS or peak < LATE * len(values):
        return None
    foot, usual = _foot(values[: peak + 1])
    moments: list[datetime] = series["ts"].to_list()
    grown = values[peak] / usual if usual > 0 else 0.0
    steady = _steady(values[foot : peak + 1])
    long = moments[peak] - moments[foot] > max(parameters.lags)
    if not long or grown < LEAST_GROWTH or steady < STEADY or foot == 0:
        return None
    kind = kind_of(metric)
    before = Window(start=moments[0], end=moments[foot])
    level = float(np.median(values[:foot]))
    return facts.stated(
        family=FindingFamily.METRIC,
        entity=entity,
        signal=f"ramp {metric}",
        summary=f"{metric} of {entity} grows since {moments[foot]:%H:%M:%S} to {values[peak]:.4g}, from {level:.4g}",
        direction=Direction.UP,
        strength=parameters.metric_weights[kind] * steady * min(1.0, math.log(grown) / math.log(2)),
        fault_kinds={kind: 1.0},
        onset=_began(moments, values, foot, peak, level=usual),
        points=list(zip(moments, values.tolist(), strict=True)),
        predicate=SeriesShift(
            probe_key=item.probe.key,
            select={"metric": metric},
            column="value",
            statistic="max",
            before=before,
            after=Window(start=moments[foot], end=as_of),
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


def _began(moments: list[datetime], values: NDArray[np.float64], foot: int, peak: int, *, level: float) -> datetime:
    """Where the ramp's line leaves the usual level: it stands out of the noise only later."""
    seconds = np.array([(moment - moments[foot]).total_seconds() for moment in moments[foot : peak + 1]])
    slope, base = np.polyfit(seconds, values[foot : peak + 1], 1)
    back = (level - base) / slope if slope > 0 else 0.0
    return max(moments[0], moments[foot] + timedelta(seconds=min(0.0, float(back))))


def _steady(ramp: NDArray[np.float64]) -> float:
    """Share of the steps between the medians of equal blocks that go up."""
    if len(ramp) < 2 * BLOCKS:
        return 0.0
    levels = [float(np.median(block)) for block in np.array_split(ramp, BLOCKS)]
    return float(np.mean(np.diff(levels) > 0))
