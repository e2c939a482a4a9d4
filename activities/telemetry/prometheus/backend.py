"""Answers metric probes from a Prometheus: few queries for all entities, the answers handed out by entity."""

import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from statistics import median

import numpy as np
import polars as pl

from activities.answers import COLUMNS, TIMESTAMP
from activities.telemetry.backend import Answer, Answers, answered
from activities.telemetry.entities import IDENTITY_LABELS, Labels, Resolver, inventory_rows, labels_of
from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import HttpBackend
from activities.telemetry.prometheus.api import Numbers, PrometheusApi, Rule, Series
from activities.telemetry.prometheus.config import PrometheusConfig
from activities.telemetry.prometheus.expressions import (
    NAME,
    Expression,
    batches,
    combined,
    is_counter,
    native_quantile,
    quantile,
    summed,
    symptom,
    tells_something_cheaply,
    whole,
    worth_fetching,
)
from activities.telemetry.registry import Opening
from activities.telemetry.series import with_ratios
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import InventoryProbe, MetricProbe, Window

RECENT = timedelta(minutes=30)
"""The part of the window that is fetched in fine steps."""

COARSE = timedelta(minutes=5)
FINEST = timedelta(seconds=5)
USUAL_INTERVAL = timedelta(seconds=60)
LOOKED_BACK_S, LEAST_SCRAPES = (20, 120, 600), 3
"""How far back scrapes are counted to learn their interval, and how many there must be: the shortest that is enough,
because a target that has just been started has few."""

POINTS_IN_ALL = 2_500_000
"""Points fetched for one investigation; beyond them metrics are summed on the server, and steps grow."""

POINTS_A_QUERY = 300_000
SCRAPES_A_RATE = 4
"""Scrape intervals that a rate looks back: Prometheus' documentation of `rate` asks for at least two samples."""

TELLING_LABELS = ("app", "app_kubernetes_io_name", "service_name", "service", "deployment", "job", "pod")
"""Labels by which entities are picked out, the first that all of them have."""

NEAR = 20
"""Entities nearest to the alert of which everything is fetched, however many there are."""

PODS_APART = 4
"""Up to so many pods of an entity have series of their own; of more, the highest value counts."""

MOST_NAMES = 200_000
_NOT_SIGNS = frozenset(
    (*IDENTITY_LABELS, NAME, "__name__", "alertstate", "endpoint", "uid", "id", "image", "prometheus")
)
_INVENTORY_NAMES = (
    "up|target_info|kube_pod_info|kube_deployment_created|container_last_seen|node_uname_info|pg_up|redis_up"
)
_GRAPHS = (
    ("traces_service_graph_request_total", "client", "server"),
    ("istio_requests_total", "source_workload", "destination_workload"),
)


@dataclass
class _Course:
    """What was fetched of one entity."""

    parts: list[tuple[str, str, Numbers, Numbers, bool]] = field(default_factory=list)
    """(metric, instance, moments in seconds, values, whether they are rates)."""


class PrometheusBackend(HttpBackend):
    """One Prometheus, open for one attempt at one step."""

    def __init__(self, opening: Opening) -> None:
        assert isinstance(opening.config, PrometheusConfig)
        self._config = opening.config
        self._resolver = opening.resolver
        super().__init__(opening.config)
        self._api = PrometheusApi(self._client)

    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """Label sets of everything scraped, and who calls whom where span metrics say so."""
        for probe in probes:
            at = probe.window.end
            matchers = [self._config.selector] if self._config.selector else []
            everything = "{" + ", ".join([*matchers, '__name__!=""']) + "}"
            known = "{" + ", ".join([*matchers, f'__name__=~"{_INVENTORY_NAMES}"']) + "}"
            size = self._api.instant(f"count({everything})", at)
            few = bool(size) and size[0][1] <= MOST_NAMES
            by = ", ".join(IDENTITY_LABELS)
            found = self._api.instant(f"group by ({by}) ({everything if few else known})", at)
            rows: list[tuple[Labels, str, Labels]] = [(labels, "", {}) for labels, _ in found if labels]
            rows += self._calls(at)
            detail = "" if few else "of the many series only those that say what is scraped were looked at"
            table = inventory_rows(rows)
            yield probe, answered(table.head(probe.max_rows), probe.window, total=table.height, detail=detail)

    def _calls(self, at: datetime) -> list[tuple[Labels, str, Labels]]:
        parts = [
            f"sum by ({caller}, {callee}) (rate({name}{{{self._config.selector}}}[10m])) > 0"
            for name, caller, callee in _GRAPHS
        ]
        rows: list[tuple[Labels, str, Labels]] = []
        for labels, _ in self._api.instant("\nor\n".join(f"({part})" for part in parts), at):
            for _, caller, callee in _GRAPHS:
                if labels.get(caller) and labels.get(callee):
                    rows.append(({"service_name": labels[caller]}, "calls", {"service_name": labels[callee]}))
        return rows

    def metrics(self, probes: Sequence[MetricProbe]) -> Answers:
        """Everything worth fetching, in as few queries as there can be."""
        window = Window(
            start=min(probe.window.start for probe in probes), end=max(probe.window.end for probe in probes)
        )
        wanted = {probe.entity for probe in probes}
        collection = _Collection(self._api, self._config, self._resolver(), wanted, [p.entity for p in probes[:NEAR]])
        courses = collection.fetched(window)
        for probe in probes:
            yield probe, _answer(courses.get(probe.entity), probe, collection.problems)


class _Collection:
    """All that one investigation fetches."""

    def __init__(
        self,
        api: PrometheusApi,
        config: PrometheusConfig,
        resolver: Resolver,
        wanted: set[EntityId],
        near: Sequence[EntityId],
    ) -> None:
        self._api = api
        self._config = config
        self._resolver = resolver
        self._wanted = wanted
        self._near = frozenset(near)
        self.problems: dict[str, ObservationStatus] = {}
        """Why something is missing, with its status."""

    def fetched(self, window: Window) -> dict[EntityId, _Course]:
        interval = self._interval(window.end)
        expressions = self._expressions(window)
        recent = Window(start=max(window.start, window.end - RECENT), end=window.end)
        fine = max(interval, FINEST)
        total = sum(item.series for item in expressions)
        fine = max(fine, RECENT * max(1, total) / POINTS_IN_ALL)
        fine = timedelta(seconds=math.ceil(fine.total_seconds()))
        passes = [(recent, fine, max(SCRAPES_A_RATE * interval, fine))]
        if window.start < recent.start:
            earlier = Window(start=window.start, end=recent.start - COARSE)
            passes.append((earlier, COARSE, max(COARSE, SCRAPES_A_RATE * interval)))
        courses: dict[EntityId, _Course] = {}
        work = []
        for span, step, rate in passes:
            points = max(1, math.ceil(span.length / step))
            for batch in batches(expressions, most_series=max(1, POINTS_A_QUERY // points)):
                work.append((batch, span, step, rate))
        with ThreadPoolExecutor(self._config.limits.at_once, thread_name_prefix="promql") as pool:
            for found in pool.map(lambda item: list(self._range(*item)), work):
                for expression, series in found:
                    self._place(courses, expression, series)
        return courses

    def _expressions(self, window: Window) -> list[Expression]:
        selector, kinds = self._config.selector, self._api.kinds()
        everything = "{" + ", ".join(filter(None, (selector, '__name__!=""'))) + "}"
        sizes = {
            labels["__name__"]: int(value)
            for labels, value in self._api.instant(f"count by (__name__) ({everything})", window.end)
            if "__name__" in labels
        }
        names = sorted(name for name in sizes if worth_fetching(name))
        points = RECENT / FINEST + (window.length / COARSE)
        all_of_it = sum(sizes[name] for name in names) * points <= POINTS_IN_ALL
        near = self._matching_near()
        found = [symptom(rule.name, rule.query) for rule in self._firing(window.end)]
        for name in names:
            counter = is_counter(name, kinds)
            if all_of_it or name == "ALERTS":
                found.append(whole(name, selector, counter=counter, series=sizes[name]))
            elif tells_something_cheaply(name):
                found.append(summed(name, selector, counter=counter, series=sizes[name], entities=len(self._wanted)))
            elif near:
                series = max(1, sizes[name] * len(self._near) // max(1, len(self._wanted)))
                found.append(whole(name, near, counter=counter, series=series))
        for name in sorted(sizes):
            if name.endswith("_bucket") and _is_duration(name):
                found.append(quantile(name, selector, series=min(sizes[name], 2 * len(self._wanted))))
            elif kinds.get(name) == "histogram" and f"{name}_bucket" not in sizes and f"{name}_count" not in sizes:
                found.append(native_quantile(name, selector, series=sizes[name]))
        return found

    def _matching_near(self) -> str:
        """Label matchers for what is near the alert; empty where no one label tells it from the rest."""
        seen: dict[str, dict[EntityId, set[str]]] = {}
        for source, text, resolution in self._resolver.names():
            if source == self._config.name and resolution.entity in self._near:
                for key, value in labels_of(text).items():
                    seen.setdefault(key, {}).setdefault(resolution.entity, set()).add(value)
        for key in TELLING_LABELS:
            values = seen.get(key, {})
            if values.keys() == self._near & self._named and values:
                shown = sorted({value for several in values.values() for value in several})
                pattern = "|".join(re.escape(value) for value in shown).replace("\\", "\\\\").replace('"', '\\"')
                return ", ".join(filter(None, (self._config.selector, f'{key}=~"{pattern}"')))
        return ""

    @cached_property
    def _named(self) -> frozenset[EntityId]:
        """What this source has a name for."""
        return frozenset(
            found.entity
            for source, _, found in self._resolver.names()
            if source == self._config.name and found.entity is not None
        )

    def _firing(self, at: datetime) -> list[Rule]:
        """Alerting rules that fire for this environment."""
        matchers = ", ".join(filter(None, ('alertstate="firing"', self._config.selector)))
        try:
            ours = {labels.get("alertname") for labels, _ in self._api.instant(f"ALERTS{{{matchers}}}", at)}
            return [rule for rule in self._api.firing_rules() if rule.name in ours] if ours else []
        except QueryError as error:
            self._note("the alerting rules", error)
            return []

    def _interval(self, at: datetime) -> timedelta:
        """How often things are scraped here."""
        matchers = f"{{{self._config.selector}}}" if self._config.selector else ""
        for seconds in LOOKED_BACK_S:
            counts = [value for _, value in self._api.instant(f"count_over_time(up{matchers}[{seconds}s])", at)]
            usual = median(counts) if counts else 0
            if usual >= LEAST_SCRAPES:
                return timedelta(seconds=max(1.0, seconds / usual))
        return USUAL_INTERVAL

    def _range(
        self, batch: list[Expression], span: Window, step: timedelta, rate: timedelta
    ) -> Iterator[tuple[Expression, list[Series]]]:
        """The series of each expression; of a batch that is rejected or too large, its halves."""
        try:
            found = self._api.range(combined(batch, rate), span, step)
        except QueryError as error:
            divisible = len(batch) > 1 and error.status in (ObservationStatus.ERROR, ObservationStatus.TRUNCATED)
            if not divisible:
                self._note(f"{batch[0].metric} and {len(batch) - 1} more" if len(batch) > 1 else batch[0].metric, error)
                return
            middle = len(batch) // 2
            yield from self._range(batch[:middle], span, step, rate)
            yield from self._range(batch[middle:], span, step, rate)
            return
        by_name = {expression.metric: expression for expression in batch}
        grouped: dict[str, list[Series]] = {}
        for series in found:
            grouped.setdefault(series.labels.get(NAME, ""), []).append(series)
        yield from ((by_name[name], several) for name, several in grouped.items() if name in by_name)

    def _place(self, courses: dict[EntityId, _Course], expression: Expression, several: list[Series]) -> None:
        for series in several:
            entity = self._resolver.entity({key: value for key, value in series.labels.items() if key != NAME})
            if entity in self._wanted:
                metric, instance = _named(expression, series.labels)
                part = (metric, instance, series.at, series.values, expression.counter)
                courses.setdefault(entity, _Course()).parts.append(part)

    def _note(self, what: str, error: QueryError) -> None:
        self.problems.setdefault(f"{what}: {error.detail}", error.status)


def _is_duration(bucket: str) -> bool:
    return bucket.removesuffix("_bucket").endswith(("_seconds", "_milliseconds", "_duration", "_latency", "_ms"))


def _named(expression: Expression, labels: Labels) -> tuple[str, str]:
    """What a series is called among those of its entity, and which instance of the entity it is about."""
    base, _, inner = expression.metric.partition("{")
    kept = {key: value for key, value in labels.items() if key not in _NOT_SIGNS}
    shown = [inner.rstrip("}")] if inner else []
    shown += [f'{key}="{value}"' for key, value in sorted(kept.items())]
    metric = f"{base}{{{','.join(shown)}}}" if shown else base
    return f"rate({metric})" if expression.counter else metric, labels.get("pod") or labels.get("instance") or ""


def _answer(course: _Course | None, probe: MetricProbe, problems: dict[str, ObservationStatus]) -> Answer:
    detail = "; ".join(sorted(problems))[:900]
    if course is None:
        if problems:
            return Answer(status=next(iter(problems.values())), detail=detail)
        return answered(pl.DataFrame(schema=COLUMNS["metrics"]), probe.window)
    rows = with_ratios(_table(course)).filter(pl.col("value").is_finite(), pl.col("value").abs() < 1e300)
    total = rows.height + 1 if problems else rows.height
    return answered(rows.head(probe.max_rows), probe.window, total=total, detail=detail)


def _table(course: _Course) -> pl.DataFrame:
    """(metric, ts, value) of one entity: rates of its pods are summed; other series stay apart while they are few."""
    if not course.parts:
        return pl.DataFrame(schema=COLUMNS["metrics"])
    frames = [
        pl.DataFrame(
            {
                "metric": pl.repeat(metric, len(at), eager=True),
                "instance": pl.repeat(instance, len(at), eager=True),
                "rate": pl.repeat(rate, len(at), eager=True),
                "ts": (at * 1e6).round().astype(np.int64),
                "value": values,
            }
        )
        for metric, instance, at, values, rate in course.parts
    ]
    rows = pl.concat(frames).filter(pl.col("value").is_not_nan())
    instances = pl.col("instance").n_unique().over("metric")
    apart = (~pl.col("rate")) & (instances > 1) & (instances <= PODS_APART)
    inner = pl.col("metric").str.strip_suffix("}")
    with_instance = (
        pl.when(pl.col("metric").str.ends_with("}"))
        .then(inner + pl.lit(',pod="') + pl.col("instance") + pl.lit('"}'))
        .otherwise(pl.col("metric") + pl.lit('{pod="') + pl.col("instance") + pl.lit('"}'))
    )
    rows = rows.with_columns(metric=pl.when(apart).then(with_instance).otherwise(pl.col("metric")))
    once = rows.group_by("metric", "instance", "ts").agg(pl.col("value").max(), pl.col("rate").first())
    return (
        once.group_by("metric", "ts")
        .agg(pl.when(pl.col("rate").first()).then(pl.col("value").sum()).otherwise(pl.col("value").max()))
        .select("metric", pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC").cast(TIMESTAMP), "value")
        .sort("metric", "ts")
    )
