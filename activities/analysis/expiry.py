"""Countdowns that reached zero: certificates, leases, licences."""

import numpy as np

from activities.analysis.change_points import moment_of
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.parameters import Parameters
from activities.analysis.series import Series, thinned
from activities.analysis.wording import name_of, readable
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import SeriesShift
from workflows.contracts.probe import Window


@evidence_family(needs={"metrics": ["metric", "ts", "value"]})
def find_expiry(given: AnalysisInput) -> list[Finding]:
    """One finding for each series that had been falling straight all along and crossed zero."""
    series, parameters, found = given.series, given.parameters, []
    for block in series.blocks(range(series.names.height)):
        if len(block.at) < parameters.expiry_least_points:
            continue
        falling = (np.diff(block.value, axis=1) < 0).mean(axis=1)
        candidates = (block.value[:, 0] > 0) & (block.value[:, -1] <= 0) & (falling >= parameters.expiry_straight)
        found += [int(number) for number in block.number[candidates] if _straight(series, int(number), parameters)]
    return [_finding(given.factory, series, number) for number in found]


def _straight(series: Series, number: int, parameters: Parameters) -> bool:
    at, values = series.arrays(number)
    seconds = (at - at[0]) / 1e6
    slope, base = np.polyfit(seconds, values, 1)
    off = 1.4826 * float(np.median(np.abs(values - (base + slope * seconds))))
    return bool(slope < 0 and abs(slope) * seconds[-1] > parameters.expiry_clear * (off + 1e-9))


def _finding(factory: FindingFactory, series: Series, number: int) -> Finding:
    row, (at, values) = series.names.row(number, named=True), series.arrays(number)
    metric, entity = row["metric"], EntityId(row["entity"])
    crossed = at[values <= 0][0]
    moment = moment_of(crossed)
    return factory.stated(
        family=FindingFamily.METRIC,
        mechanism=Mechanism.EXPIRY,
        entity=entity,
        signal=metric,
        summary=f"{readable(metric)} of {name_of(entity)} counted down and reached zero at {moment:%H:%M:%S}",
        direction=Direction.DOWN,
        strength=factory.parameters.expiry_strength,
        fault_kinds={FaultKind.EXPIRY: 1.0},
        onset=moment,
        points=thinned(at, values),
        predicate=SeriesShift(
            probe_key=ProbeKey(row["probe"]),
            select={"metric": metric},
            column="value",
            statistic="max",
            before_statistic="min",
            before=Window(start=moment_of(at[0]), end=moment),
            after=Window(start=moment, end=moment_of(at[-1] + 1)),
            direction="down",
            threshold=rounded(float(values[at >= crossed].max())),
            reference=rounded(float(values[at < crossed].min())),
        ),
    )
