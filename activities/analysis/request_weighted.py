"""What averages and request counts say together: how much time and how many requests an entity loses by itself.

A mean is multiplied by the requests it is the mean of, so that a rare call that became ten times slower does not
outweigh a common one that became twice as slow; what the entity's callees lose is taken off its own loss. What is left
of an entity that waits for others is not certainly its own: the way to a callee, the wait for a connection and a call
that is never answered are in no series of the callee.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.catalogue import Resource, Signal, meaning_of
from activities.analysis.catalogue.tokens import words_of
from activities.analysis.change_points import Averaged, Averages, ChangePoint, ended_of, micros
from activities.analysis.evidence import Evidence, Numbers
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.graph import Graph
from activities.analysis.metric_weights import floor_of
from activities.analysis.metrics import onset_of
from activities.analysis.parameters import Parameters
from activities.analysis.peers import with_peers
from activities.analysis.series import Series, thinned
from activities.analysis.shares import failing
from activities.analysis.wording import measured, name_of, readable
from workflows.contracts.canonical import rounded
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import SeriesShift
from workflows.contracts.probe import entity_of

Vector = NDArray[np.float64]
_UNSURE = {
    Mechanism.SELF_TIME_RISE: Mechanism.SLOW_REQUESTS,
    Mechanism.ORIGINATING_ERRORS: Mechanism.FAILED_REQUESTS,
}
"""What is said of an entity that waits for others."""


@evidence_family(needs={"metrics": ["metric", "ts", "value"]})
def find_request_weighted(given: AnalysisInput) -> Iterator[Finding]:
    """At most two findings per entity: time it loses by itself, and requests that fail with an error originating there.

    Entities that left spans are passed over: those say the same more exactly.
    """
    series, evidence = given.series, given.evidence
    traced = [entity_of(item.probe) for item in evidence.of("traces") if item.rows.height]
    about = [metric for metric in series.names["metric"].unique() if _mechanism_of(metric) or is_request_count(metric)]
    known = with_peers(series.names.filter(pl.col("metric").is_in(about)), evidence.graph)
    listed = known.filter(~pl.col("entity").is_in(traced))
    courses = [
        course
        for (entity, _), names in listed.sort("entity").group_by("entity", "reporter", maintain_order=True)
        for course in _courses(EntityId(str(entity)), names, series, given.parameters)
    ]
    averages: Averages[tuple[EntityId, str], _Loss] = Averages(given.parameters)
    for change_point in given.change_points:
        for mechanism in (Mechanism.SELF_TIME_RISE, Mechanism.ORIGINATING_ERRORS):
            lost = [
                _lost(course, change_point, given.parameters) for course in courses if course.mechanism == mechanism
            ]
            _share([item for item in lost if item is not None], evidence, change_point, given.parameters, averages)
    for item in averages.over(given.change_points, least=given.parameters.metric_least_strength):
        finding = _finding(given.factory, item, _waited_for(item.key[0], evidence.graph))
        if finding is not None:
            yield finding


@dataclass(frozen=True)
class _Course:
    """A mean duration or a share of failures, with the number of requests it was taken over, point by point."""

    entity: EntityId
    mechanism: Mechanism
    metric: str
    probe: ProbeKey
    answered: tuple[Numbers, Vector]
    """Microseconds since 1970, and values, as answered."""

    at: NDArray[np.int64]
    """Microseconds since 1970."""

    level: Vector
    """Mean duration, or share of requests that failed."""

    requests: Vector


def _waited_for(entity: EntityId, graph: Graph) -> list[EntityId]:
    """The callees that an entity waits for: what takes messages from a queue is not."""
    return sorted(name for name in graph.called_by(entity) if graph.kinds.get(name) != "queue")


def _courses(entity: EntityId, names: pl.DataFrame, series: Series, parameters: Parameters) -> list[_Course]:
    counts = {row["metric"]: row["number"] for row in names.iter_rows(named=True) if is_request_count(row["metric"])}
    found = []
    for row in names.sort("metric").iter_rows(named=True):
        mechanism = _mechanism_of(row["metric"])
        count = _request_count_of(row["metric"], counts) if mechanism else None
        if mechanism is None or count is None:
            continue
        answered, counted = series.arrays(row["number"]), series.arrays(counts[count])
        at, mine, theirs = np.intersect1d(answered[0], counted[0], return_indices=True)
        if len(at) < parameters.metric_least_points:
            continue
        level = answered[1][mine]
        if mechanism == Mechanism.ORIGINATING_ERRORS:
            level = failing(level, meaning_of(row["metric"]), parameters)
        found.append(
            _Course(
                entity=entity,
                mechanism=mechanism,
                metric=row["metric"],
                probe=ProbeKey(row["probe"]),
                answered=answered,
                at=at,
                level=level,
                requests=counted[1][theirs] * _seconds(count, at),
            )
        )
    return found


def is_request_count(metric: str) -> bool:
    """Whether a series counts requests."""
    meaning = meaning_of(metric)
    return meaning.signal is Signal.TRAFFIC and meaning.resource is Resource.REQUEST


def _labels(metric: str) -> str:
    return metric.partition("{")[2].rstrip("})")


def _mechanism_of(metric: str) -> Mechanism | None:
    """What a series is a measure of, if it is a mean duration or a share of failed or good requests."""
    meaning, words = meaning_of(metric), words_of(metric.partition("{")[0])
    if meaning.resource is not Resource.REQUEST or "client" in words:
        return None
    if meaning.signal is Signal.DURATION and meaning.is_mean:
        return Mechanism.SELF_TIME_RISE
    share = meaning.unit in ("ratio", "%") or "rate" in words or meaning.signal is Signal.STATE
    is_failing = meaning.signal in (Signal.ERRORS, Signal.STATE)
    return Mechanism.ORIGINATING_ERRORS if share and is_failing else None


def _request_count_of(metric: str, counts: Mapping[str, int]) -> str | None:
    """The count of the requests that `metric` is about: with its labels, or of the entity as a whole."""
    same = sorted(name for name in counts if _labels(name) == _labels(metric))
    plain = sorted(name for name in counts if not _labels(name))
    return next(iter(same or plain), None)


def _seconds(count: str, at: Numbers) -> float:
    """What turns a rate per second into requests per point; 1 for a count."""
    per_second = meaning_of(count).unit.endswith("/s") or not {"rps", "qps", "ops", "rate"}.isdisjoint(words_of(count))
    return float(np.median(np.diff(at))) / 1e6 if per_second else 1.0


@dataclass(frozen=True)
class _Loss:
    """What one course lost since a change_point: time, or requests."""

    course: _Course
    requests: float
    excess: float
    base: float
    """The time that is usual for as many requests; 0 for failures."""


def _lost(course: _Course, change_point: ChangePoint, parameters: Parameters) -> _Loss | None:
    moment = int(change_point.at.timestamp() * 1e6)
    known = course.requests > 0
    before, after = known & (course.at < moment), known & (course.at >= moment)
    if before.sum() < parameters.metric_least_points or not after.any():
        return None
    level, n = course.level, course.requests
    recent = _recent(course.at, before, parameters)
    count, past = float(n[after].sum()), float(n[before].sum())
    lost = float((level[after] * n[after]).sum())
    if course.mechanism == Mechanism.ORIGINATING_ERRORS:
        failed = level * n
        usual = max(
            (float(failed[before].sum()) + 0.5) / (past + 1),
            (float(failed[recent].sum()) + 0.0) / (float(n[recent].sum()) + 1),
        )
        return _Loss(course, count, max(0.0, lost - usual * count), 0.0)
    logs = np.log(np.maximum(level, 1e-9))
    middle = float(np.median(logs[before]))
    spread = 1.4826 * float(np.median(np.abs(logs[before] - middle)))
    usual = max(middle, float(np.median(logs[recent])))
    # What a long history has never done needs no allowance for what a short one may have missed.
    unknown = parameters.noise_floor**2 / (1 + float(before.sum()) / parameters.known_points)
    variance = spread**2 + unknown + parameters.latency_sampling**2 * (1 / count + 1 / past)
    squared = max(0.0, math.log(max(lost / count, 1e-9)) - usual) ** 2 / variance
    weight = squared / (squared + parameters.half_saturation**2)
    base = count * math.exp(usual)
    return _Loss(course, count, weight * max(0.0, lost - base), base)


def _recent(at: NDArray[np.int64], before: NDArray[np.bool_], parameters: Parameters) -> NDArray[np.intp]:
    """The last points before a change point, as far back as no coverage gap in the recording separates them."""
    last = np.nonzero(before)[0][-parameters.requests_recent :]
    step = float(np.median(np.diff(at)))
    gaps = np.nonzero(np.diff(at[last]) > parameters.requests_gap_steps * step)[0]
    return last[gaps[-1] + 1 :] if len(gaps) else last


def _share(
    lost: list[_Loss],
    evidence: Evidence,
    change_point: ChangePoint,
    parameters: Parameters,
    averages: Averages[tuple[EntityId, str], _Loss],
) -> None:
    """What each entity loses by itself: its loss less that of what it calls, as a part of all that is lost."""
    excess: dict[EntityId, float] = defaultdict(float)
    base: dict[EntityId, float] = defaultdict(float)
    requests: dict[EntityId, float] = defaultdict(float)
    worst: dict[EntityId, _Loss] = {}
    for item in lost:
        name = item.course.entity
        excess[name] += item.excess
        base[name] += item.base
        requests[name] += item.requests
        if name not in worst or item.excess > worst[name].excess:
            worst[name] = item
    own = {name: max(0.0, value - _passed_on(name, excess, evidence.graph)) for name, value in excess.items()}
    total = sum(own.values())
    busiest = max(requests.values(), default=0.0)
    for name, value in sorted(own.items()):
        if value <= 0:
            continue
        mechanism = worst[name].course.mechanism
        sure = (
            value / (parameters.failure_scale + parameters.failure_share * busiest)
            if mechanism is Mechanism.ORIGINATING_ERRORS
            else value / (base[name] + 1e-9)
        )
        strength = (1 - math.exp(-sure)) * math.sqrt(value / total)
        averages.add((name, mechanism.value), strength, change_point, worst[name])


def _passed_on(name: EntityId, excess: Mapping[EntityId, float], graph: Graph) -> float:
    """What an entity loses because its callees lose it; instances share in it by what they lose themselves.

    Of a workload and its instances that both are measured, the larger loss is its loss.
    """
    workload = graph.workload_of(name)
    instances = graph.instances.get(workload, frozenset())
    whole = sum(excess.get(one, 0.0) for one in instances)
    share = excess[name] / whole if name in instances and whole > 0 else 1.0
    callees = {graph.workload_of(other) for other in graph.called_by(name)} - {workload}
    lost = sum(
        max(excess.get(other, 0.0), sum(excess.get(one, 0.0) for one in graph.instances.get(other, ())))
        for other in callees
    )
    return share * lost + (whole if name == workload else 0.0)


def _finding(
    factory: FindingFactory, item: Averaged[tuple[EntityId, str], _Loss], callees: Sequence[EntityId]
) -> Finding | None:
    entity, course, change_point = item.key[0], item.detail.course, item.change_point
    at, values = course.answered
    usual = float(np.median(values[at < micros(change_point.at)]))
    now = float(np.mean(values[at >= micros(change_point.at)]))
    up, meaning = now > usual, meaning_of(course.metric)
    if up == meaning.fall_is_bad or abs(now - usual) < floor_of(meaning, factory.parameters):
        return None
    is_slow = course.mechanism is Mechanism.SELF_TIME_RISE
    return factory.stated(
        family=FindingFamily.METRIC,
        mechanism=_UNSURE[course.mechanism] if callees else course.mechanism,
        entity=entity,
        signal=course.metric,
        summary=(
            f"{readable(course.metric)} of {name_of(entity)} averages {measured(now, meaning)} "
            f"since {change_point.at:%H:%M:%S} (usually {measured(usual, meaning)})"
        ),
        note="weighted by its requests, and more than what it calls accounts for",
        direction=Direction.UP if up else Direction.DOWN,
        strength=item.strength,
        fault_kinds={FaultKind.LATENCY if is_slow else FaultKind.ERROR: 1.0},
        onset=onset_of(*course.answered, change_point.at, factory.parameters),
        ended=ended_of(*course.answered, change_point.at, factory.parameters),
        points=thinned(*course.answered),
        unit=meaning.unit,
        predicate=SeriesShift(
            probe_key=course.probe,
            select={"metric": course.metric},
            column="value",
            statistic="mean",
            before=change_point.pre,
            after=change_point.post,
            direction="up" if up else "down",
            threshold=rounded(now),
            reference=rounded(usual),
        ),
    )
