"""How a system is measured: naming schemes of metrics, who measures, how often; the names are the documented ones."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from evals.bundles import METRICS
from evals.simulator.dynamics import Course, Disturbance, Series
from evals.simulator.system import Component, System
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import EntityKind, entity_id

Scheme = Literal["prometheus", "opentelemetry", "cloudwatch", "datadog", "statsd", "mesh"]
SCHEMES: tuple[Scheme, ...] = ("prometheus", "opentelemetry", "cloudwatch", "datadog", "statsd", "mesh")
Rows = Iterator[tuple[EntityId, str, Series]]


@dataclass(frozen=True, kw_only=True)
class Instrumentation:
    """What of a system somebody can look at."""

    scheme: Scheme | None
    """Of its metrics; None without metrics."""

    traces: bool
    logs: bool
    cluster: bool
    changes: bool
    resources: bool
    """Whether processors, memory and volumes are measured, not requests alone."""

    per_pod: bool
    success: bool
    """Whether shares of success are stored where there are shares, not shares of failure."""

    topology: Literal["declared", "none"]
    step: int
    """Steps of the simulation between two points."""

    dark: frozenset[int]
    """Components that measure nothing themselves."""

    @property
    def label(self) -> str:
        """The class of instrumentation by which results are told apart."""
        parts = [f"metrics ({self.scheme})"] if self.scheme else []
        parts += [name for name, there in (("traces", self.traces), ("logs", self.logs)) if there]
        return " + ".join(parts)


def draw_instrumentation(rng: random.Random, system: System) -> Instrumentation:
    """One of many ways to look at a system."""
    scheme: Scheme | None = rng.choice(SCHEMES)
    traces, logs = rng.choice(((False, False), (False, True), (True, False), (True, True)))
    if traces and rng.random() < 0.4:
        scheme = None
    coarse = scheme == "cloudwatch"
    services = [number for number, item in enumerate(system.components) if item.kind == "service"]
    dark = rng.sample(services[len(system.entries) :], k=round(len(services) * rng.choice((0.0, 0.0, 0.0, 0.1))))
    return Instrumentation(
        scheme=scheme,
        traces=traces,
        logs=logs,
        cluster=rng.random() < 0.5,
        changes=rng.random() < 0.8,
        resources=scheme is not None and rng.random() < 0.8,
        per_pod=rng.random() < 0.4,
        success=rng.random() < 0.4,
        topology="none" if traces and rng.random() < 0.3 else "declared",
        step=12 if coarse else rng.choice((1, 2, 3, 6, 12)),
        dark=frozenset(dark),
    )


def pod_name(item: Component, replica: int) -> str:
    """Of a replica."""
    return f"{item.name}-{sum(map(ord, item.name)) % 9973:04x}-{replica:02d}"


def entity_of(item: Component) -> EntityId:
    """A component's entity."""
    return entity_id(item.entity_kind, item.name)


def pod_of(item: Component, replica: int) -> EntityId:
    """A replica's entity."""
    return entity_id(EntityKind.POD, pod_name(item, replica))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A course of things, and what measures it."""

    system: System
    course: Course
    disturbance: Disturbance
    how: Instrumentation
    seconds: float
    """Of one step of the simulation."""

    rng: np.random.Generator

    def noisy(self, values: Series, part: float = 0.05) -> Series:
        """With the noise that every measurement has."""
        return values * self.rng.lognormal(0, part, len(values))

    def counted(self, per_second: Series) -> Series:
        """Whole things in each step, of a mean per second."""
        return self.rng.poisson(np.maximum(per_second, 0) * self.seconds).astype(float)


def metric_rows(measured: Measured) -> tuple[pl.DataFrame, list[str]]:
    """Points of all series by step number (`ts` is still a number), and which metrics are cumulative counters."""
    entities: list[str] = []
    names: list[str] = []
    values: list[Series] = []
    numbers: list[Series] = []
    counters: set[str] = set()
    for entity, metric, series in _all_series(measured, counters):
        kept = _every(series, measured.how.step, total=metric in counters or metric.endswith(SUMMED))
        entities += [entity] * len(kept)
        names += [metric] * len(kept)
        values.append(kept)
        numbers.append(np.arange(1, len(kept) + 1, dtype=float) * measured.how.step)
    frame = pl.DataFrame(
        {
            "ts": np.concatenate(numbers) if numbers else np.zeros(0),
            "entity": entities,
            "metric": names,
            "value": np.concatenate(values) if values else np.zeros(0),
        },
        schema={**METRICS, "ts": pl.Float64()},
    )
    return frame.filter(pl.col("value").is_finite()), sorted(counters)


SUMMED = ("RequestCount", "Count", ".hits", ".errors", ".count", ".timeouts")
"""What is stored as so many in each point's time."""


def _every(series: Series, step: int, *, total: bool) -> Series:
    """One value for each so many steps: the sum of what is counted, the last of what only grows, else the mean."""
    usable = len(series) // step * step
    blocks = series[:usable].reshape(-1, step)
    if not total:
        means: Series = blocks.mean(axis=1)
        return means
    grows = bool(np.all(np.diff(series) >= 0)) and series[-1] > series.mean()
    found: Series = blocks[:, -1] if grows else blocks.sum(axis=1)
    return found


def _all_series(measured: Measured, counters: set[str]) -> Rows:
    how = measured.how
    if how.scheme is None:
        return
    for number, item in enumerate(measured.system.components):
        if number in how.dark:
            continue
        if item.kind == "service" and how.scheme != "mesh":
            for entity, part in _instances(item, how):
                yield from _requests(measured, number, entity, part, counters)
        if how.resources:
            for entity, part in _instances(item, how):
                yield from _resources(measured, number, entity, part, counters)
            yield from _store(measured, number)
    if how.scheme == "mesh":
        yield from _edges(measured, counters)
    if how.resources:
        yield from _nodes(measured, counters)


def _instances(item: Component, how: Instrumentation) -> list[tuple[EntityId, float]]:
    if not how.per_pod or item.kind != "service":
        return [(entity_of(item), 1.0)]
    return [(pod_of(item, replica), 1 / item.replicas) for replica in range(item.replicas)]


def _requests(measured: Measured, number: int, entity: EntityId, part: float, counters: set[str]) -> Rows:
    """What a service says of the requests that it serves; nothing while it is not there."""
    course, down = measured.course, measured.disturbance.down[:, number] >= 1
    arrived = measured.counted(course.rate[:, number] * part)
    failed = measured.rng.binomial(arrived.astype(int), np.clip(course.failed[:, number], 0, 1)).astype(float)
    seconds = measured.noisy(course.time_ms[:, number]) / 1_000
    arrived[down], failed[down], there = 0.0, 0.0, np.where(down, np.nan, 1.0)
    operation = measured.system.components[number].operations[0]
    share = np.divide(failed, arrived, out=np.zeros_like(failed), where=arrived > 0)
    match measured.how.scheme:
        case "prometheus":
            label = f'handler="/{operation}"'
            names = {
                f'http_requests_total{{code="200",{label}}}': np.cumsum(arrived - failed),
                f'http_requests_total{{code="500",{label}}}': np.cumsum(failed),
                f"http_request_duration_seconds_sum{{{label}}}": np.cumsum(arrived * seconds),
                f"http_request_duration_seconds_count{{{label}}}": np.cumsum(arrived),
            }
            counters.update(names)
            yield from ((entity, name, series * there) for name, series in names.items())
            yield entity, "up", np.where(down, 0.0, 1.0)
        case "opentelemetry":
            label = f'http_route="/{operation}"'
            name = "http_server_request_duration_seconds"
            names = {
                f'{name}_count{{http_response_status_code="200",{label}}}': np.cumsum(arrived - failed),
                f'{name}_count{{http_response_status_code="500",{label}}}': np.cumsum(failed),
                f"{name}_sum{{{label}}}": np.cumsum(arrived * seconds),
                f"{name}_count{{{label}}}": np.cumsum(arrived),
            }
            counters.update(names)
            yield from ((entity, key, series * there) for key, series in names.items())
        case "cloudwatch":
            yield entity, "TargetResponseTime", seconds * there
            yield entity, "RequestCount", arrived
            yield entity, "HTTPCode_Target_5XX_Count", failed
        case "datadog":
            yield entity, "trace.http.request.hits", arrived
            yield entity, "trace.http.request.errors", failed
            yield entity, "trace.http.request.duration", seconds * there
        case _:
            yield entity, f"request.{operation}.time.mean", seconds * 1_000 * there
            yield entity, f"request.{operation}.count", arrived
            if measured.how.success:
                yield entity, f"request.{operation}.success_rate", np.where(arrived > 0, 100 * (1 - share), np.nan)
            else:
                yield entity, f"request.{operation}.error_rate", np.where(arrived > 0, share, np.nan)


def _edges(measured: Measured, counters: set[str]) -> Rows:
    """What each caller's proxy says of what it calls (Istio's standard metrics, reporter source)."""
    for number, link in enumerate(measured.system.links):
        caller, callee = measured.system.components[link.caller], measured.system.components[link.callee]
        if link.caller in measured.how.dark:
            continue
        count = measured.counted(measured.course.link_rate[:, number])
        failed = measured.rng.binomial(count.astype(int), measured.course.link_failed[:, number]).astype(float)
        spent = count * measured.noisy(measured.course.link_ms[:, number])
        label = f'destination_workload="{callee.name}",reporter="source"'
        names = {
            f'istio_requests_total{{{label},response_code="200"}}': np.cumsum(count - failed),
            f'istio_requests_total{{{label},response_code="503"}}': np.cumsum(failed),
            f"istio_request_duration_milliseconds_sum{{{label}}}": np.cumsum(spent),
            f"istio_request_duration_milliseconds_count{{{label}}}": np.cumsum(count),
        }
        counters.update(names)
        yield from ((entity_of(caller), name, series) for name, series in names.items())


def _resources(measured: Measured, number: int, entity: EntityId, part: float, counters: set[str]) -> Rows:
    """Processor, memory and volume of a component or of one replica."""
    item, what = measured.system.components[number], measured.disturbance
    there = np.where(what.down[:, number] >= 1, np.nan, 1.0)
    load = measured.noisy(measured.course.load[:, number] + 0.01, 0.1)
    memory = measured.noisy(item.memory_mb * what.memory[:, number] * 1e6, 0.01)
    disk = measured.noisy(what.disk[:, number], 0.001)
    waiting = measured.counted(what.waiting[:, number] / measured.seconds)
    match measured.how.scheme:
        case "cloudwatch":
            yield entity, "CPUUtilization", np.minimum(100 * load, 100) * there
            yield entity, "MemoryUtilization", np.minimum(memory / (item.memory_mb * 4e6) * 100, 100) * there
        case "datadog":
            yield entity, "kubernetes.cpu.usage.total", load * item.cores * 1e9 * there
            yield entity, "kubernetes.memory.usage_pct", np.minimum(memory / (item.memory_mb * 4e6), 1) * there
            yield entity, "system.disk.in_use", disk
        case "statsd":
            yield entity, "process.cpu.percent", np.minimum(100 * load, 100) * there
            yield entity, "process.memory.rss", memory * there
            yield entity, "disk.used.percent", 100 * disk
        case _:
            yield entity, "container_memory_working_set_bytes", memory * there
            yield entity, "container_spec_memory_limit_bytes", np.full(len(load), item.memory_mb * 4e6)
            counters.add("container_cpu_usage_seconds_total")
            spent = np.cumsum(load * item.cores * measured.seconds)
            yield entity, "container_cpu_usage_seconds_total", spent * there
            yield entity, "kubelet_volume_stats_used_bytes", disk * 50e9
            yield entity, "kubelet_volume_stats_capacity_bytes", np.full(len(load), 50e9)
            if item.kind == "service":
                busy = measured.course.rate[:, number] * part * measured.course.time_ms[:, number] / 1_000
                yield entity, "hikaricp_connections_pending", waiting * there
                yield entity, "hikaricp_connections_active", np.minimum(measured.noisy(busy), item.workers) * there
                yield entity, "hikaricp_connections_max", np.full(len(load), float(item.workers))


def _store(measured: Measured, number: int) -> Rows:
    """What a database or a cache says of itself."""
    item, what = measured.system.components[number], measured.disturbance
    if item.kind == "service":
        return
    entity, rate = entity_of(item), measured.course.rate[:, number]
    there = np.where(what.down[:, number] >= 1, np.nan, 1.0)
    own = measured.course.own_ms[:, number] / 1_000
    sessions = measured.noisy(np.minimum(rate * own, item.workers) + 5) + what.waiting[:, number]
    waiting = measured.counted(what.waiting[:, number] / measured.seconds)
    match (item.kind, measured.how.scheme):
        case ("cache", "cloudwatch"):
            yield entity, "CurrConnections", sessions * there
        case ("database", "cloudwatch"):
            yield entity, "DatabaseConnections", sessions * there
            yield entity, "FreeStorageSpace", (1 - what.disk[:, number]) * 50e9 * there
            yield entity, "ReadLatency", measured.noisy(own) * there
        case ("cache", _):
            yield entity, "redis_connected_clients", sessions * there
            yield entity, "redis_memory_used_bytes", item.memory_mb * 1e6 * what.memory[:, number] * there
        case ("database", "datadog"):
            yield entity, "postgresql.connections", sessions * there
            yield entity, "postgresql.waiting_queries", waiting * there
        case _:
            yield entity, "pg_up", np.where(what.down[:, number] >= 1, 0.0, 1.0)
            yield entity, 'pg_stat_activity_count{state="active"}', sessions * there
            yield entity, 'pg_stat_activity_count{wait_event_type="Lock"}', waiting * there


def _nodes(measured: Measured, counters: set[str]) -> Rows:
    """Processors of the nodes; nothing of one that is down."""
    used = np.zeros((len(measured.disturbance.rate), measured.system.nodes))
    size = np.full(measured.system.nodes, 4.0)
    for number, item in enumerate(measured.system.components):
        for node in item.nodes:
            used[:, node] += measured.course.load[:, number] * item.cores
            size[node] += item.cores
    for node in range(measured.system.nodes):
        entity = entity_id(EntityKind.NODE, measured.system.node_name(node))
        share = np.minimum(measured.noisy(used[:, node] / size[node] + 0.02), 1.0)
        there = np.where(measured.disturbance.nodes[:, node] > 0, 1.0, np.nan)
        match measured.how.scheme:
            case "cloudwatch":
                yield entity, "CPUUtilization", 100 * share * there
            case "datadog":
                yield entity, "system.cpu.idle", 100 * (1 - share) * there
            case "statsd":
                yield entity, "cpu.used.percent", 100 * share * there
            case _:
                name = 'node_cpu_seconds_total{mode="idle"}'
                counters.add(name)
                yield entity, name, np.cumsum((1 - share) * size[node] * measured.seconds) * there
