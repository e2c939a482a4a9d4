"""One made-up incident: a system, a fault or none, an alert, and what of it was recorded."""

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from evals.bundles import LOGS, METRICS, TRACES, Recording, Root, Truth, opaque_id
from evals.simulator.dynamics import Course, Disturbance, Series, simulate
from evals.simulator.faults import FAULTS, Fault, Place
from evals.simulator.instrumentation import (
    Instrumentation,
    Measured,
    draw_instrumentation,
    entity_of,
    metric_rows,
    pod_name,
    pod_of,
)
from evals.simulator.requests import log_lines, spans
from evals.simulator.system import System, draw_system
from workflows.contracts.alert import Alert, Severity
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind, Topology, entity_id

SECONDS = 5.0
"""Of one step."""

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
Situation = Literal["fault", "two faults", "nothing", "recovered", "only a deploy"]
SITUATIONS: dict[Situation, float] = {
    "fault": 0.78,
    "two faults": 0.05,
    "nothing": 0.06,
    "recovered": 0.05,
    "only a deploy": 0.06,
}
TRIES = 12
"""Draws until a fault is felt at an entry; after that nobody would have noticed."""

FELT_FAILED, FELT_SLOWER = 0.02, 1.5
"""An alert fires where so much more fails, or requests take so many times as long, in three steps in a row."""

HARMLESS = (
    (ChangeKind.DEPLOY, "Roll out {name} 1.{n}", "update the copyright year"),
    (ChangeKind.DEPLOY, "Roll out {name} 1.{n}", "bump a test dependency"),
    (ChangeKind.CONFIG, "Configure {name}", "log level: info -> warn"),
)


class UnfeltError(Exception):
    """Nobody would have noticed the fault."""


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What was recorded, and what really happened."""

    recording: Recording
    truth: Truth
    how: Instrumentation
    situation: Situation
    fault: str


@dataclass(frozen=True, kw_only=True)
class _Happened:
    fault: Fault
    place: Place
    change: Change | None = None

    @property
    def root(self) -> Root:
        """As truths name it."""
        system, item = self.place.system, self.place.item
        change = None if self.change is None else self.change.id
        if self.fault.on_node:
            entity = entity_id(EntityKind.NODE, system.node_name(item.nodes[0]))
            return Root(entity=entity, fault_kind=self.fault.kind, change_id=change)
        aliases = [pod_of(item, replica) for replica in range(item.replicas)] if item.kind == "service" else []
        return Root(entity=entity_of(item), aliases=tuple(aliases), fault_kind=self.fault.kind, change_id=change)


def draw_incident(seed: int, number: int) -> Incident:
    """The incident of a seed and a number: always the same."""
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    rng = random.Random(digest)  # noqa: S311 - a drawn incident, not a secret
    for _ in range(TRIES):
        try:
            return _drawn(rng, f"{seed}-{number}")
        except UnfeltError:
            continue
    return _drawn(rng, f"{seed}-{number}", situation="nothing")


def _drawn(rng: random.Random, name: str, situation: Situation | None = None) -> Incident:
    system = draw_system(rng)
    how = draw_instrumentation(rng, system)
    situation = situation or rng.choices(list(SITUATIONS), weights=list(SITUATIONS.values()))[0]
    history = rng.choice((24, 60, 120, 240, 720))
    history = max(history, 20 * how.step)
    after = rng.randint(36, 120)
    steps = history + after
    numbers = np.random.default_rng(rng.getrandbits(64))
    disks = numbers.uniform(0.2, 0.7, len(system.components))
    what = Disturbance.none(system, steps, disks)
    base = _load(system, steps, numbers, hour=rng.uniform(0, 24))
    count = {"two faults": 2, "nothing": 0, "only a deploy": 0}.get(situation, 1)
    ends = history + rng.randint(12, 30) if situation == "recovered" else steps
    happened = [_break(rng, system, what, history, ends) for _ in range(count)]
    if how.topology == "none" and any(item.fault.on_node for item in happened):
        raise UnfeltError  # nobody knows of nodes there
    course = simulate(system, what, base)
    calm = simulate(system, Disturbance.none(system, steps, disks), base)
    begin = BEGIN + timedelta(minutes=rng.randint(0, 500_000))
    alert_step, entry, text = (
        _symptom(system, course, calm, history) if count else (history + 10, system.entries[0], "latency is unusual")
    )
    seen = min(steps, alert_step + rng.randint(12, 60)) if situation != "recovered" else min(steps, ends + 24)
    seen = max(seen, alert_step + 2)
    happened, changes = _changes(rng, system, happened, begin=begin, history=history, situation=situation)
    measured = Measured(system=system, course=course, disturbance=what, how=how, seconds=SECONDS, rng=numbers)
    recording = _recorded(
        measured,
        happened,
        changes,
        name=name,
        begin=begin,
        alert_step=alert_step,
        seen=seen,
        entry=entry,
        text=text,
    )
    truth = Truth.of(
        [item.root for item in happened],
        bundle_id=recording.bundle_id,
        system=how.label,
        case=name,
        injected_at=begin + timedelta(seconds=history * SECONDS) if happened else None,
        note=f"{situation}: {', '.join(item.fault.name for item in happened)}",
    )
    truth = truth.model_copy(update={"changes_recorded": how.changes})
    fault = happened[0].fault.name if happened else ""
    return Incident(recording=recording, truth=truth, how=how, situation=situation, fault=fault)


def _load(system: System, steps: int, numbers: np.random.Generator, *, hour: float) -> Series:
    """Requests a second: the day's course, and what is never quite the same."""
    hours = hour + np.arange(steps) * SECONDS / 3_600
    daily = 1 + 0.5 * np.sin((hours - 6) / 24 * 2 * np.pi)
    wandering = np.zeros(steps)
    shocks = numbers.normal(0, 0.03, steps)
    for step in range(1, steps):
        wandering[step] = 0.9 * wandering[step - 1] + shocks[step]
    load: Series = system.rate * daily * np.exp(wandering)
    return load


def _break(rng: random.Random, system: System, what: Disturbance, begin: int, end: int) -> _Happened:
    fault = rng.choice(FAULTS)
    if fault.name == "load_surge":
        component = rng.choice(system.entries)
    else:
        fitting = [number for number, item in enumerate(system.components) if item.kind in fault.kinds]
        component = rng.choice(fitting)
    place = Place(system=system, component=component, begin=begin, end=end, hard=rng.random(), rng=rng)
    fault.effect(place, what)
    return _Happened(fault=fault, place=place)


def _symptom(system: System, course: Course, calm: Course, begin: int) -> tuple[int, int, str]:
    """When an entry's users feel it, which entry, and how an alert says so.

    Raises:
        UnfeltError: they do not.
    """
    found: list[tuple[int, int, str]] = []
    for entry in system.entries:
        failing = course.failed[:, entry] - calm.failed[:, entry] > FELT_FAILED
        slower = course.time_ms[:, entry] / calm.time_ms[:, entry] > FELT_SLOWER
        for felt, text in ((failing, "requests fail"), (slower, "p95 latency is high")):
            held = np.convolve(felt[begin:].astype(int), np.ones(3), mode="valid")
            steps = np.flatnonzero(held == 3)
            if len(steps):
                found.append((begin + int(steps[0]) + 3, entry, text))
    if not found:
        raise UnfeltError
    return min(found)


def _changes(
    rng: random.Random,
    system: System,
    happened: list[_Happened],
    *,
    begin: datetime,
    history: int,
    situation: Situation,
) -> tuple[list[_Happened], list[Change]]:
    """What brought the faults in, where something did, and what else was changed."""
    changes: list[Change] = []

    def change(kind: ChangeKind, title: str, detail: str, component: int, step: float) -> Change:
        item, number = system.components[component], len(changes) + 1
        made = Change(
            id=f"change-{number}",
            at=begin + timedelta(seconds=step * SECONDS),
            kind=kind,
            target=entity_of(item),
            title=title.format(name=item.name, n=number),
            detail=detail.format(name=item.name, n=number),
        )
        changes.append(made)
        return made

    told: list[_Happened] = []
    for item in happened:
        by = None
        if item.fault.changes and rng.random() < 0.6:
            kind, title, detail = rng.choice(item.fault.changes)
            by = change(kind, title, detail, item.place.component, history - rng.uniform(0, 12))
        told.append(_Happened(fault=item.fault, place=item.place, change=by))
    decoys = rng.choice((0, 0, 1, 2)) + (situation == "only a deploy")
    services = [number for number, item in enumerate(system.components) if item.kind == "service"]
    for _ in range(decoys):
        kind, title, detail = rng.choice(HARMLESS)
        change(kind, title, detail, rng.choice(services), history - rng.uniform(0, min(history, 100)))
    return told, changes


def _recorded(
    measured: Measured,
    happened: list[_Happened],
    changes: list[Change],
    *,
    name: str,
    begin: datetime,
    alert_step: int,
    seen: int,
    entry: int,
    text: str,
) -> Recording:
    """What of it was recorded."""
    how, system = measured.how, measured.system

    def at(step: float) -> datetime:
        return begin + timedelta(seconds=step * SECONDS)

    visible = VisibleWindow(start=begin, end=at(seen))
    metrics, counters = (None, list[str]()) if how.scheme is None else metric_rows(measured)
    if metrics is not None:
        metrics = _timed(metrics.with_columns(pl.col("ts") * SECONDS), begin).select(METRICS.names())
    item = system.components[entry]
    alert = Alert(
        source="simulator",
        fingerprint=f"{item.name}-{text}",
        title=f"{text} at {item.name}",
        severity=Severity.CRITICAL,
        starts_at=at(alert_step),
        entity=entity_of(item),
        labels={"service": item.name},
    )
    root = happened[0].place.component if happened else None
    message = happened[0].fault.message if happened else ""
    return Recording(
        bundle_id=opaque_id("simulated", name),
        alert=alert,
        visible=visible,
        as_of=visible.end,
        topology=_topology(system, how) if how.topology == "declared" else None,
        metrics=metrics,
        logs=_timed(log_lines(measured, root, message), begin).select(LOGS.names()) if how.logs else None,
        traces=_timed(spans(measured), begin).select(TRACES.names()) if how.traces else None,
        changes=[item for item in changes if item.at < visible.end] if how.changes else None,
        cluster=_conditions(system, happened, begin) if how.cluster else None,
        counters=counters,
    )


def _timed(frame: pl.DataFrame, begin: datetime) -> pl.DataFrame:
    """Seconds from the beginning as moments."""
    micros = (pl.col("ts") * 1_000_000).cast(pl.Int64).cast(pl.Duration("us"))
    return frame.with_columns(ts=pl.lit(begin).cast(pl.Datetime("us", "UTC")) + micros).sort("ts")


def _topology(system: System, how: Instrumentation) -> Topology:
    """Everything, as a service catalogue and a cluster would tell it."""
    entities = [Entity(id=entity_of(item), kind=item.entity_kind, name=item.name) for item in system.components]
    edges = [
        Edge(
            source=entity_of(system.components[link.caller]),
            target=entity_of(system.components[link.callee]),
            kind=EdgeKind.CALLS,
        )
        for link in system.links
    ]
    for number in range(system.nodes):
        name = system.node_name(number)
        entities.append(Entity(id=entity_id(EntityKind.NODE, name), kind=EntityKind.NODE, name=name))
    for item in system.components:
        for replica, node in enumerate(item.nodes):
            target = entity_id(EntityKind.NODE, system.node_name(node))
            if item.kind != "service" or not (how.per_pod or how.cluster):
                edges.append(Edge(source=entity_of(item), target=target, kind=EdgeKind.RUNS_ON))
                continue
            pod = pod_of(item, replica)
            entities.append(Entity(id=pod, kind=EntityKind.POD, name=pod_name(item, replica)))
            edges.append(Edge(source=pod, target=entity_of(item), kind=EdgeKind.PART_OF))
            edges.append(Edge(source=pod, target=target, kind=EdgeKind.RUNS_ON))
    unique = {(edge.source, edge.target, edge.kind): edge for edge in edges}
    return Topology(entities=tuple(entities), edges=tuple(unique.values()))


def _conditions(system: System, happened: list[_Happened], begin: datetime) -> list[ClusterCondition]:
    """What a cluster's API says of pods and nodes; what was warned of long ago and is over, too."""
    rows: list[ClusterCondition] = []
    for item in happened:
        if not item.fault.reason:
            continue
        at = begin + timedelta(seconds=(item.place.begin + 3) * SECONDS)
        if item.fault.on_node:
            name = system.node_name(item.place.item.nodes[0])
            rows.append(_condition(at, "Node", name, entity_id(EntityKind.NODE, name), item.fault))
            continue
        for replica in range(item.place.item.replicas if item.place.item.kind == "service" else 0):
            pod = pod_of(item.place.item, replica)
            rows.append(_condition(at, "Pod", pod_name(item.place.item, replica), pod, item.fault))
    return rows


def _condition(at: datetime, kind: str, name: str, entity: EntityId, fault: Fault) -> ClusterCondition:
    return ClusterCondition(
        at=at,
        object_kind=kind,
        object_name=name,
        entity=entity,
        type="Ready",
        healthy=False,
        reason=fault.reason,
        message=fault.cluster_message,
    )
