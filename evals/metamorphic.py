"""The same incident told otherwise: spelling, units, names, replicas, bystanders and clocks must not change the answer.

A transformation changes how telemetry is recorded and nothing of what happened, so the right answer stays the same
(metamorphic testing: Chen et al. 1998). What falls shows a mistake of meaning, on incidents that need no new truth.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from activities.analysis.catalogue import Meaning, Resource, Signal, meaning_of
from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.graph import Graph
from activities.answers import COLUMNS
from evals.bundles import Root
from evals.offline import diagnose
from evals.recorded_case import RecordedCase, ranking_of
from evals.results import Interval
from evals.scoring import accuracy_at, interval, names_root, ranks
from workflows.contracts.identifiers import Digest, EntityId
from workflows.contracts.probe import ClusterProbe, MetricProbe, entity_of

NOT_STORED = Digest("0" * 64)
CLOCK_ERROR = timedelta(seconds=90)
BYSTANDERS, OFTEN = 1_000, 0.002
"""Series that hardly ever move, and how likely a point of one is to."""

HOSTILE = (
    "memory",
    "error-500",
    "disk-full",
    "latency",
    "timeout",
    "cpu",
    "lock",
    "expired-cert",
    "fallback",
    "root-cause",
)
_FAILING = re.compile(r"errors?|failures?|failed|fails?")
_OF_REQUESTS = (Signal.ERRORS, Signal.STATE, Signal.DURATION, Signal.TRAFFIC)
_NAMES = ("caller", "peer", "target", "entity", "source")
"""Columns that hold an entity."""


@dataclass(frozen=True, kw_only=True)
class TransformationScore:
    """What one transformation does to one system."""

    system: str
    transformation: str
    cases: int
    """Those that it changes at all."""

    plain: Interval
    """AC@1 of these cases as they were recorded ..."""

    transformed: Interval
    """... and told otherwise."""


Transformation = Callable[[RecordedCase], RecordedCase | None]
"""None where there is nothing in a case that it could change."""


def shuffled(case: RecordedCase) -> RecordedCase:
    """Every answer's rows in another order."""
    return _with(case, lambda item: item.rows.sample(fraction=1, shuffle=True, seed=_seed(case)))


def in_per_cent(case: RecordedCase) -> RecordedCase | None:
    """Ratios in per cent."""
    return _respelled(case, lambda name, meaning: _ending(name, "_ratio", "_percent", meaning.unit == "ratio"), 100.0)


def in_milliseconds(case: RecordedCase) -> RecordedCase | None:
    """Seconds in milliseconds."""
    return _respelled(
        case, lambda name, meaning: _ending(name, "_seconds", "_milliseconds", meaning.unit == "s"), 1_000.0
    )


def as_success(case: RecordedCase) -> RecordedCase | None:
    """Shares of failures as shares of successes."""

    def renamed(name: str, meaning: Meaning) -> str | None:
        is_share = meaning.signal is Signal.ERRORS and meaning.unit == "ratio"
        return _FAILING.sub("success", name) if is_share and _FAILING.search(name) else None

    return _respelled(case, renamed, -1.0, offset=1.0)


def with_hostile_names(case: RecordedCase) -> RecordedCase:
    """Every service by a name that means something else."""
    services = sorted(name for name in case.evidence.graph.kinds if name.startswith("service:"))
    names = {name: EntityId(f"service:{HOSTILE[n % len(HOSTILE)]}-{n}") for n, name in enumerate(services)}

    def rows_of(item: AnsweredProbe) -> pl.DataFrame:
        present = [name for name in _NAMES if name in item.rows.columns]
        known = {str(old): str(new) for old, new in names.items()}
        return item.rows.with_columns(pl.col(present).cast(pl.String).replace(known)) if present else item.rows

    def probe_of(item: AnsweredProbe) -> AnsweredProbe:
        entity = entity_of(item.probe)
        if entity not in names:
            return item
        return replace(item, probe=item.probe.model_copy(update={"entity": names[EntityId(entity)]}))

    changed = _with(case, rows_of)
    answers = tuple(probe_of(item) for item in changed.evidence.answers)
    alerts = tuple(
        alert.model_copy(update={"entity": names.get(alert.entity, alert.entity) if alert.entity else None})
        for alert in case.evidence.alerts
    )
    roots = tuple(_renamed(root, names) for root in case.roots)
    return replace(changed, roots=roots, evidence=_rebuilt(replace(changed.evidence, answers=answers, alerts=alerts)))


def with_bystanders(case: RecordedCase) -> RecordedCase | None:
    """A thousand series that hardly ever move, all over the system."""
    holders = [item for item in case.evidence.of("metrics") if item.rows.height]
    if not holders:
        return None
    rng = random.Random(_seed(case))  # noqa: S311 - a draw that can be repeated
    added: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for number in range(BYSTANDERS):
        item = holders[number % len(holders)]
        moments = item.rows["ts"].unique().sort()
        values = [float(rng.random() < OFTEN) * rng.randint(3, 40) for _ in range(len(moments))]
        series = pl.DataFrame({"metric": f"worker_{number}_queue_depth", "ts": moments, "value": values})
        added[item.probe.key].append(series.select(item.rows.columns).cast(item.rows.schema))
    return _with(case, lambda item: pl.concat([item.rows, *added.get(item.probe.key, [])]))


def with_twins(case: RecordedCase) -> RecordedCase | None:
    """Every metric once more under another name, as exporters do that give an amount and its normalised form."""

    def doubled(item: AnsweredProbe) -> pl.DataFrame:
        name = pl.col("metric").cast(pl.String).str.replace(r"^([^{]*)", "${1}_normalised")
        return pl.concat([item.rows, item.rows.with_columns(metric=name.cast(item.rows.schema["metric"]))])

    if not any(item.rows.height for item in case.evidence.of("metrics")):
        return None
    return _with(case, lambda item: doubled(item) if item.probe.tool == "metrics" and item.rows.height else item.rows)


def with_recovered_conditions(case: RecordedCase) -> RecordedCase:
    """Pods of ten bystanders that could not be scheduled for some seconds."""
    at = case.evidence.alert_at - timedelta(minutes=3)
    rng = random.Random(_seed(case))  # noqa: S311 - a draw that can be repeated
    guilty = {root.entity for root in case.roots}
    services = sorted(name for name in case.evidence.graph.kinds if name not in guilty)
    rows = [
        row
        for name in rng.sample(services, min(10, len(services)))
        for row in (
            _condition(name, at, "Warning", "FailedScheduling", healthy=False),
            _condition(name, at + timedelta(seconds=5), "Normal", "Scheduled", healthy=True),
        )
    ]
    known = next(iter(case.evidence.of("cluster")), None)
    added = pl.DataFrame(rows, schema=COLUMNS["cluster"])
    if known is not None:
        both = pl.concat([known.rows.select(added.columns).cast(added.schema), added])
        return _with(case, lambda item: both if item is known else item.rows)
    probe = ClusterProbe(backend="recorded", window=case.evidence.window)
    answers = (*case.evidence.answers, AnsweredProbe(probe=probe, artifact=NOT_STORED, rows=added))
    return replace(case, evidence=replace(case.evidence, answers=answers))


def alert_early(case: RecordedCase) -> RecordedCase:
    """The alert's clock says that it fired earlier."""
    return _alerted(case, case.evidence.alert_at - CLOCK_ERROR)


def alert_late(case: RecordedCase) -> RecordedCase:
    """Or later, as far as the recording goes."""
    return _alerted(case, min(case.evidence.as_of, case.evidence.alert_at + CLOCK_ERROR))


def split_into_replicas(case: RecordedCase) -> RecordedCase | None:
    """What metrics say of a service is recorded of each of two pods of it."""
    graph = case.evidence.graph
    moved = {
        name: tuple(EntityId(f"pod:{name.partition(':')[2]}-{number}") for number in range(2))
        for item in case.evidence.of("metrics")
        if (name := EntityId(entity_of(item.probe) or "")).startswith("service:") and name not in graph.instances
    }
    topology = next(iter(case.evidence.of("topology")), None)
    if not moved or topology is None:
        return None
    answers: list[AnsweredProbe] = []
    for item in case.evidence.answers:
        pods = moved.get(EntityId(entity_of(item.probe) or ""), ()) if item.probe.tool == "metrics" else ()
        answers += [replace(item, probe=item.probe.model_copy(update={"entity": pod})) for pod in pods] or [item]
    parts = [(pod, name, "part_of", "declared", 1.0) for name, pods in moved.items() for pod in pods]
    kinds = [(pod, "", "pod", "declared", 1.0) for pods in moved.values() for pod in pods]
    schema = COLUMNS["topology"]
    edges = pl.DataFrame([*kinds, *parts], schema=schema, orient="row")
    grown = pl.concat([topology.rows.select(schema.names()).cast(schema), edges])
    changed = tuple(replace(item, rows=grown) if item is topology else item for item in answers)
    return replace(case, evidence=_rebuilt(replace(case.evidence, answers=changed)))


def measured_by_callers(case: RecordedCase) -> RecordedCase | None:
    """How long a service's requests take and how many fail is recorded by who calls it, with its name in a label."""
    graph = case.evidence.graph
    kept: dict[str, pl.DataFrame] = {}
    gained: dict[EntityId, list[pl.DataFrame]] = defaultdict(list)
    for item in case.evidence.of("metrics"):
        name = EntityId(entity_of(item.probe) or "")
        callers = sorted(graph.callers.get(name, ()))
        of_edge = (
            pl.col("metric").cast(pl.String).is_in([m for m in item.rows["metric"].unique() if _is_of_requests(m)])
        )
        edge = item.rows.filter(of_edge) if callers else item.rows.clear()
        if edge.height:
            known = edge["metric"].cast(pl.String)
            spelled = {
                metric: _labelled(metric, f'peer_service="{name.partition(":")[2]}"') for metric in known.unique()
            }
            gained[callers[0]].append(edge.with_columns(metric=known.replace(spelled).cast(edge.schema["metric"])))
            kept[item.probe.key] = item.rows.filter(~of_edge)
    if not gained:
        return None
    reported = {entity_of(item.probe) for item in case.evidence.of("metrics")}
    changed = _with(
        case,
        lambda item: pl.concat([kept.get(item.probe.key, item.rows), *_gained(item, gained)], how="vertical_relaxed"),
    )
    new = tuple(
        AnsweredProbe(
            probe=MetricProbe(backend="recorded", window=case.evidence.window, entity=name),
            artifact=NOT_STORED,
            rows=pl.concat(frames, how="vertical_relaxed"),
        )
        for name, frames in sorted(gained.items())
        if name not in reported
    )
    return replace(changed, evidence=replace(changed.evidence, answers=(*changed.evidence.answers, *new)))


TRANSFORMATIONS: dict[str, Transformation] = {
    "rows in another order": shuffled,
    "ratios in per cent": in_per_cent,
    "seconds in milliseconds": in_milliseconds,
    "successes for failures": as_success,
    "hostile names": with_hostile_names,
    "1,000 rare bystanders": with_bystanders,
    "metrics twice": with_twins,
    "recovered conditions": with_recovered_conditions,
    "alert 90 s early": alert_early,
    "alert 90 s late": alert_late,
    "services split in two": split_into_replicas,
    "metrics of callers": measured_by_callers,
}


def score_transformations(
    cases: Iterable[RecordedCase], transformations: Sequence[str] = tuple(TRANSFORMATIONS)
) -> list[TransformationScore]:
    """AC@1 of every system with and without each transformation.

    Args:
        cases: taken one after the other, so that one at a time is in memory.
        transformations: names of those that are tried.
    """
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for case in cases:
        plain = _accuracy(case)
        for name in transformations:
            changed = TRANSFORMATIONS[name](case)
            if changed is not None:
                found[case.system, name].append((plain, _accuracy(changed)))
    return [
        TransformationScore(
            system=system,
            transformation=name,
            cases=len(pairs),
            plain=interval([before] for before, _ in pairs),
            transformed=interval([after] for _, after in pairs),
        )
        for (system, name), pairs in sorted(
            found.items(), key=lambda row: (row[0][0], list(TRANSFORMATIONS).index(row[0][1]))
        )
    ]


def _accuracy(case: RecordedCase) -> float:
    report = diagnose(case.evidence, probes_planned=case.planned)
    return accuracy_at(1, ranks(ranking_of(report.hypotheses), case.roots, names_root))


def _seed(case: RecordedCase) -> int:
    return int.from_bytes(case.name.encode()[-6:])


def _with(case: RecordedCase, rows_of: Callable[[AnsweredProbe], pl.DataFrame]) -> RecordedCase:
    """The case with other rows in its answers."""
    answers = tuple(replace(item, rows=rows_of(item)) for item in case.evidence.answers)
    return replace(case, evidence=replace(case.evidence, answers=answers))


def _rebuilt(evidence: Evidence) -> Evidence:
    """With the graph that its topology answer says."""
    topology = next(iter(evidence.of("topology")), None)
    return evidence if topology is None else replace(evidence, graph=Graph.from_answer(topology.rows))


def _respelled(
    case: RecordedCase, renamed: Callable[[str, Meaning], str | None], factor: float, *, offset: float = 0.0
) -> RecordedCase | None:
    """Metrics under other names, with values that say the same."""
    metrics = sorted({name for item in case.evidence.of("metrics") for name in item.rows["metric"].unique()})
    names: dict[str, str] = {}
    for metric in metrics:
        base, brace, labels = metric.partition("{")
        other = renamed(base, meaning_of(metric))
        if other is not None:
            names[metric] = f"{other}{brace}{labels}"
    if not names:
        return None

    def rows_of(item: AnsweredProbe) -> pl.DataFrame:
        if item.probe.tool != "metrics":
            return item.rows
        name = pl.col("metric").cast(pl.String)
        value = pl.when(name.is_in(list(names))).then(offset + factor * pl.col("value")).otherwise(pl.col("value"))
        return item.rows.with_columns(value=value, metric=name.replace(names).cast(item.rows.schema["metric"]))

    return _with(case, rows_of)


def _ending(name: str, old: str, new: str, fits: bool) -> str | None:
    return name.removesuffix(old) + new if fits and name.endswith(old) else None


def _renamed(root: Root, names: dict[EntityId, EntityId]) -> Root:
    aliases = tuple(names.get(alias, alias) for alias in root.aliases)
    return root.model_copy(update={"entity": names.get(root.entity, root.entity), "aliases": aliases})


def _alerted(case: RecordedCase, at: datetime) -> RecordedCase:
    alerts = tuple(alert.model_copy(update={"starts_at": at}) for alert in case.evidence.alerts)
    return replace(case, evidence=replace(case.evidence, alerts=alerts))


def _condition(name: EntityId, at: datetime, type_: str, reason: str, *, healthy: bool) -> dict[str, object]:
    return {
        "ts": at,
        "object_kind": "Pod",
        "object_name": f"{name.partition(':')[2]}-0",
        "entity": name,
        "type": type_,
        "healthy": healthy,
        "reason": reason,
        "message": "",
        "count": 1,
    }


def _labelled(metric: str, label: str) -> str:
    """A series with one label more; `rate(...)` stays around it."""
    inner, end = (metric[:-1], ")") if metric.endswith(")") else (metric, "")
    return f"{inner[:-1]},{label}}}{end}" if inner.endswith("}") else f"{inner}{{{label}}}{end}"


def _is_of_requests(metric: str) -> bool:
    meaning = meaning_of(metric)
    return meaning.resource is Resource.REQUEST and meaning.signal in _OF_REQUESTS


def _gained(item: AnsweredProbe, gained: dict[EntityId, list[pl.DataFrame]]) -> list[pl.DataFrame]:
    is_of_metrics = item.probe.tool == "metrics"
    return gained.get(EntityId(entity_of(item.probe) or ""), []) if is_of_metrics else []
