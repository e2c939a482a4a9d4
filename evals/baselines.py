"""Plain methods beside ours, on the same bundle with the same information.

Each reduces every modality to series per entity (metrics as they are; log lines, spans, failures and mean durations
per interval), because that is what such methods read. BARO is given the true moment of the injection; no other is.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import structlog
from numpy.typing import NDArray

from activities.analysis.graph import Graph
from activities.answers import COLUMNS
from activities.telemetry.backend import run_probe
from activities.telemetry.plan import topology_probe
from activities.telemetry.recorded import Bundle, CapturedBackend, RecordedBackend, open_bundle
from evals.results import Ranked
from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import ChangeProbe, LogProbe, MetricProbe, TopologyProbe, TraceProbe, entity_of

LOG = structlog.stdlib.get_logger(__name__)
ALERTED = "alerted-entity"
NOTES = {
    ALERTED: "the entity that the alert is about; it stands beside every run",
    "latest-change": "the target of the latest change before the alert",
    "random": "a seeded shuffle of the entities",
    "n-sigma": "largest deviation of any series after a fixed change point, in standard deviations",
    "onset-first": "the entity whose series deviates first by over three standard deviations",
    "random-walk": "personalised PageRank from the alert along calls, weighted by n-sigma",
    "baro": "BARO's robust scorer (FSE'24) by fse-baro; given the true time of the injection, which we are not",
}
RECENT = timedelta(minutes=5)
"""The fixed change point: what is newer is suspect, what is older is usual."""

BAD = ["error", "fatal", "critical", "warn", "warning"]
"""Severities that such methods count."""

SIGMAS = 3.0
DAMPING = 0.85
STEPS = 100
SHORT = timedelta(minutes=30)
KEPT = 50
SERIES = pl.Schema(
    {"entity": pl.String(), "signal": pl.String(), "ts": pl.Datetime("us", "UTC"), "value": pl.Float64()}
)

Scores = Mapping[EntityId, float]
"""Higher is more suspect."""


@dataclass(frozen=True, kw_only=True)
class CaseInput:
    """What a method may look at."""

    entities: tuple[EntityId, ...]
    series: pl.DataFrame
    """(entity, signal, ts, value), sorted."""

    graph: Graph
    alerting: EntityId | None
    alert_at: datetime
    changes: tuple[tuple[datetime, EntityId], ...]
    """When what was changed, where that is known."""

    injected_at: datetime | None
    """For the one method that is given it."""

    seed: str


Method = Callable[[CaseInput], Scores | None]


def case_input(folder: Path, injected_at: datetime | None) -> CaseInput:
    """Read a bundle, clamped to what was visible."""
    bundle = open_bundle(folder)
    if bundle.manifest.answers is not None:
        answers = _captured(CapturedBackend(bundle))
        series, graph, queried, changes = answers.series, answers.graph, answers.queried, answers.changes
    else:
        series, graph, queried = _series(bundle), _graph(bundle), set()
        changes = tuple((item.at, item.target) for item in bundle.changes() if item.target is not None)
    named = queried | set(series["entity"].unique().to_list()) | set(graph.kinds)
    if bundle.alert.entity:
        named.add(bundle.alert.entity)
    named |= {item.entity for item in bundle.cluster() if item.entity}
    return CaseInput(
        entities=tuple(EntityId(name) for name in sorted(named)),
        series=series,
        graph=graph,
        alerting=bundle.alert.entity,
        alert_at=bundle.alert.starts_at,
        changes=changes,
        injected_at=injected_at,
        seed=bundle.manifest.bundle_id,
    )


def rank_all(given: CaseInput, methods: Mapping[str, Method]) -> dict[str, tuple[Ranked, ...]]:
    """The ranking of every one of these methods that can be run here."""
    found: dict[str, tuple[Ranked, ...]] = {}
    for name, method in methods.items():
        scores = method(given)
        if scores is not None:
            found[name] = _ranking(given.entities, scores)
    return found


def _ranking(entities: tuple[EntityId, ...], scores: Scores) -> tuple[Ranked, ...]:
    floor = min([*scores.values(), 0.0]) - 1.0
    rows = [Ranked(entity=name, probability=float(scores.get(name, floor))) for name in entities]
    return tuple(sorted(rows, key=lambda row: (-row.probability, row.entity))[:KEPT])


def _alerted(given: CaseInput) -> Scores | None:
    """None where the alert is about no entity."""
    return None if given.alerting is None else {given.alerting: 1.0}


def _latest_change(given: CaseInput) -> Scores | None:
    """None where no change is recorded."""
    known = [(at, target) for at, target in given.changes if at <= given.alert_at]
    return {target: float(number) for number, (_, target) in enumerate(sorted(known), start=1)} if known else None


def _random(given: CaseInput) -> Scores:
    rng = random.Random(given.seed)  # noqa: S311 - a stated, seeded baseline
    return {name: rng.random() for name in given.entities}


def _n_sigma(given: CaseInput) -> Scores:
    deviations = _deviations(given)
    found = deviations.group_by("entity").agg(pl.col("z").max())
    return {EntityId(name): float(z) for name, z in found.iter_rows()}


def _onset_first(given: CaseInput) -> Scores:
    """Minus the seconds between the change point and the first large deviation."""
    large = _deviations(given).filter(pl.col("z") > SIGMAS)
    found = large.group_by("entity").agg(pl.col("ts").min())
    since = _change_point(given)
    return {EntityId(name): -(at - since).total_seconds() for name, at in found.iter_rows()}


def _random_walk(given: CaseInput) -> Scores:
    names = list(given.entities)
    index = {name: number for number, name in enumerate(names)}
    weight = np.array([_n_sigma_of(given).get(name, 0.0) for name in names]) + 1e-3
    moves = np.zeros((len(names), len(names)))
    for name in names:
        for callee in given.graph.downstream(name):
            if callee in index:
                moves[index[name], index[callee]] = weight[index[callee]]
                moves[index[callee], index[name]] += 0.1 * weight[index[name]]
        moves[index[name], index[name]] += weight[index[name]]
    moves /= moves.sum(axis=1, keepdims=True)
    start = np.zeros(len(names))
    start[index[given.alerting] if given.alerting in index else slice(None)] = 1.0
    start /= start.sum()
    standing: NDArray[np.float64] = start.copy()
    for _ in range(STEPS):
        standing = (1 - DAMPING) * start + DAMPING * standing @ moves
    return {name: float(value) for name, value in zip(names, standing, strict=True)}


def _n_sigma_of(given: CaseInput) -> Scores:
    return {name: min(value, 1e3) for name, value in _n_sigma(given).items()}


def _baro(given: CaseInput) -> Scores | None:
    """None where the package is not installed, or the time is not known."""
    try:
        import pandas  # noqa: PLC0415 - comes with the optional package
        from baro.root_cause_analysis import robust_scorer  # noqa: PLC0415
    except ImportError:
        return None
    if given.injected_at is None or given.series.is_empty():
        return None
    keyed = given.series.with_columns(
        column=pl.format("c{}", pl.struct("entity", "signal").rank("dense")),
        bucket=pl.col("ts").dt.truncate(_bucket(given.series)),
    )
    owner = dict(keyed.select("column", "entity").unique().iter_rows())
    wide = (
        keyed.pivot("column", index="bucket", values="value", aggregate_function="mean")
        .sort("bucket")
        .with_columns(pl.col(list(owner)).forward_fill().fill_null(0.0))
        .select(pl.col("bucket").dt.epoch("s").alias("time"), *owner)
    )
    table = pandas.DataFrame(wide.to_dict(as_series=False))
    try:
        ranks = robust_scorer(table, inject_time=int(given.injected_at.timestamp()))["ranks"]
    except (ValueError, KeyError, IndexError) as error:
        LOG.warning("baseline.failed", method="baro", case=given.seed, reason=str(error)[:200])
        ranks = []  # it ranks nobody, and is scored so
    scores: dict[EntityId, float] = {}
    for place, column in enumerate(ranks):
        scores.setdefault(EntityId(owner[column]), -float(place))
    return scores


METHODS: Mapping[str, Method] = {
    ALERTED: _alerted,
    "latest-change": _latest_change,
    "random": _random,
    "n-sigma": _n_sigma,
    "onset-first": _onset_first,
    "random-walk": _random_walk,
    "baro": _baro,
}


def _change_point(given: CaseInput) -> datetime:
    """Five minutes before the alert; two thirds into what there is, where that leaves too little before."""
    early, late = given.series["ts"].min(), given.series["ts"].max()
    at = given.alert_at - RECENT
    if not isinstance(early, datetime) or not isinstance(late, datetime):
        return at
    return at if at - early > RECENT else early + (late - early) * 2 / 3


def _deviations(given: CaseInput) -> pl.DataFrame:
    """(entity, signal, ts, z) of everything after the change point."""
    at = _change_point(given)
    usual = (
        given.series.filter(pl.col("ts") < at)
        .group_by("entity", "signal")
        .agg(mean=pl.col("value").mean(), spread=pl.col("value").std())
    )
    return (
        given.series.filter(pl.col("ts") >= at)
        .join(usual, on=["entity", "signal"])
        .filter(pl.col("spread") > 0)
        .with_columns(z=((pl.col("value") - pl.col("mean")) / pl.col("spread")).abs())
        .filter(pl.col("z").is_finite())
        .select("entity", "signal", "ts", "z")
    )


def _bucket(frame: pl.DataFrame) -> str:
    early, late = frame["ts"].min(), frame["ts"].max()
    assert isinstance(early, datetime)
    assert isinstance(late, datetime)
    return "15s" if late - early < SHORT else "1m"


@dataclass(frozen=True)
class _Answers:
    """What a captured investigation was told."""

    series: pl.DataFrame
    graph: Graph
    queried: set[str]
    """Every entity that was asked about."""

    changes: tuple[tuple[datetime, EntityId], ...]


def _captured(backend: CapturedBackend) -> _Answers:
    probes = backend.probes()
    parts = [SERIES.to_frame()]
    graph = Graph.from_answer(pl.DataFrame(schema=COLUMNS["topology"]))
    changes: list[tuple[datetime, EntityId]] = []
    for probe in probes:
        rows = run_probe(backend, probe).rows
        if rows is None:
            continue
        if isinstance(probe, TopologyProbe):
            graph = Graph.from_answer(rows)
        elif isinstance(probe, ChangeProbe):
            changes += [(row["ts"], EntityId(row["target"])) for row in rows.iter_rows(named=True) if row["target"]]
        elif isinstance(probe, MetricProbe | LogProbe | TraceProbe):
            named = _series_of(probe, rows).with_columns(entity=pl.lit(probe.entity))
            parts.append(named.select(pl.col(name).cast(kind) for name, kind in SERIES.items()))
    queried: set[str] = {entity for probe in probes if (entity := entity_of(probe)) is not None}
    return _Answers(pl.concat(parts).sort("entity", "signal", "ts"), graph, queried, tuple(sorted(changes)))


def _series_of(probe: MetricProbe | LogProbe | TraceProbe, rows: pl.DataFrame) -> pl.DataFrame:
    """(ts, signal, value) of one answer."""
    if isinstance(probe, MetricProbe):
        return rows.select("ts", "value", signal="metric")
    if isinstance(probe, LogProbe):
        counted = rows.group_by("ts").agg(
            lines=pl.col("count").sum().cast(pl.Float64),
            bad_lines=pl.col("count").filter(pl.col("severity").is_in(BAD)).sum().cast(pl.Float64),
        )
    else:
        counted = rows.group_by("ts").agg(
            spans=pl.col("count").sum().cast(pl.Float64),
            failures=pl.col("errors").sum().cast(pl.Float64),
            duration=pl.col("duration_us").sum() / pl.col("count").sum(),
        )
    return counted.unpivot(index="ts", variable_name="signal")


def _series(bundle: Bundle) -> pl.DataFrame:
    """Every modality as series."""
    parts = [part for part in (_metrics(bundle), _logs(bundle), _spans(bundle)) if part is not None]
    frames = [part.select(pl.col(name).cast(kind) for name, kind in SERIES.items()) for part in parts]
    return pl.concat([SERIES.to_frame(), *frames]).sort("entity", "signal", "ts")


def _rows(bundle: Bundle, modality: str) -> pl.DataFrame | None:
    recorded = getattr(bundle.manifest, modality)
    if recorded is None:
        return None
    return pl.read_parquet(bundle.path(recorded)).filter(
        pl.col("ts") >= bundle.manifest.visible.start, pl.col("ts") < bundle.manifest.as_of
    )


def _metrics(bundle: Bundle) -> pl.DataFrame | None:
    rows = _rows(bundle, "metrics")
    if rows is None:
        return None
    rows = rows.sort("entity", "metric", "ts")
    counter = pl.col("metric").is_in(list(bundle.manifest.counters))
    step = pl.col("value").diff().over("entity", "metric").clip(lower_bound=0)
    return (
        rows.with_columns(value=pl.when(counter).then(step).otherwise(pl.col("value")))
        .drop_nulls("value")
        .rename({"metric": "signal"})
    )


def _logs(bundle: Bundle) -> pl.DataFrame | None:
    rows = _rows(bundle, "logs")
    if rows is None or rows.is_empty():
        return None
    bad = pl.col("severity").str.to_lowercase().is_in(BAD)
    counted = (
        rows.with_columns(ts=pl.col("ts").dt.truncate(_bucket(rows)))
        .group_by("entity", "ts")
        .agg(lines=pl.len().cast(pl.Float64), bad_lines=bad.sum().cast(pl.Float64))
    )
    return counted.unpivot(index=["entity", "ts"], variable_name="signal")


def _spans(bundle: Bundle) -> pl.DataFrame | None:
    rows = _rows(bundle, "traces")
    if rows is None or rows.is_empty():
        return None
    counted = (
        rows.with_columns(ts=pl.col("ts").dt.truncate(_bucket(rows)))
        .group_by("entity", "ts")
        .agg(
            spans=pl.len().cast(pl.Float64),
            failures=pl.col("error").sum().cast(pl.Float64),
            duration=pl.col("duration_us").mean(),
        )
    )
    return counted.unpivot(index=["entity", "ts"], variable_name="signal")


def _graph(bundle: Bundle) -> Graph:
    backend = RecordedBackend(bundle)
    try:
        rows = run_probe(backend, topology_probe("recorded", bundle.manifest.as_of)).rows
    finally:
        backend.close()
    assert rows is not None
    return Graph.from_answer(rows)
