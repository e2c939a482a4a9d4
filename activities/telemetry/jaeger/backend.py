"""Answers trace probes from a Jaeger: failed, slow and ordinary traces sampled apart, for all entities together."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from activities.telemetry.backend import Answers, answered
from activities.telemetry.entities import Labels, Resolver, inventory_rows
from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import HttpBackend
from activities.telemetry.jaeger.api import Dependency, JaegerApi, Process, Tag, Trace
from activities.telemetry.jaeger.config import JaegerConfig
from activities.telemetry.registry import Opening
from activities.telemetry.spans import SPANS, Sample, SpanReduction, no_spans
from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import InventoryProbe, TraceProbe, Window

READ_BACK = timedelta(hours=1)
SLICES = tuple(timedelta(minutes=value) for value in (0, 1, 2, 3, 4, 6, 8, 11, 15, 22, 30, 45, 60))
"""Bounds of the parts of the time that are sampled apart, back from the moment of the query."""

MOST_ENTRIES = 4
"""Services whose traces are searched: the one that alerts, and those that nobody else calls."""

MOST_SEARCHES = 36
FAILED, SLOW_SHARE = {"error": "true"}, 0.95
LOOKED_AT_FOR_PEERS = 20
"""Traces of an entry that are looked at to learn which databases and queues exist."""

_CALLING = frozenset(("client", "producer"))
_PEER_TAGS = (
    "peer.service",
    "service.peer.name",
    "db.system",
    "db.system.name",
    "db.name",
    "db.namespace",
    "messaging.system",
    "messaging.destination",
    "messaging.destination.name",
    "server.address",
    "net.peer.name",
)


class JaegerBackend(HttpBackend):
    """One Jaeger, open for one attempt at one step."""

    def __init__(self, opening: Opening) -> None:
        assert isinstance(opening.config, JaegerConfig)
        self._config = opening.config
        self._resolver = opening.resolver
        super().__init__(opening.config)
        self._api = JaegerApi(self._client)

    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """Services, who calls whom, and the databases and queues that a few traces show."""
        for probe in probes:
            services = self._api.services()
            known = self._api.dependencies(probe.window.end, probe.window.length)
            rows: list[tuple[Labels, str, Labels]] = [({"service_name": name}, "", {}) for name in services]
            rows += [({"service_name": item.parent}, "calls", {"service_name": item.child}) for item in known]
            recent = Window(start=probe.window.end - READ_BACK, end=probe.window.end)
            for name in _roots(services, known)[:MOST_ENTRIES]:
                for trace in self._api.search(name, recent, limit=LOOKED_AT_FOR_PEERS):
                    rows += _sightings(trace)
            table = inventory_rows(rows)
            yield probe, answered(table.head(probe.max_rows), probe.window, total=table.height)

    def traces(self, probes: Sequence[TraceProbe]) -> Answers:
        """Spans of all entities, from traces that were fetched together."""
        end = max(probe.window.end for probe in probes)
        window = Window(start=max(min(probe.window.start for probe in probes), end - READ_BACK), end=end)
        sampling = _Sampling(self._api, self._config, self._resolver(), [probe.entity for probe in probes])
        samples = sampling.samples(window)
        if not samples:
            for probe in probes:
                yield probe, no_spans(window)
            return
        reduction = SpanReduction(samples, window)
        try:
            for probe in probes:
                yield probe, reduction.answer(probe, sampling.problems)
        finally:
            reduction.close()


@dataclass(frozen=True)
class _Search:
    """One search that is to be made."""

    service: str
    part: Window
    kind: str
    """`ordinary`, `failed` or `slow`."""

    least: timedelta | None = None


class _Sampling:
    """All that one investigation fetches."""

    def __init__(self, api: JaegerApi, config: JaegerConfig, resolver: Resolver, entities: Sequence[EntityId]) -> None:
        self._api = api
        self._config = config
        self._resolver = resolver
        self._entities = entities
        self._limits = {"ordinary": config.most_traces, "failed": config.most_traces, "slow": config.most_traces // 2}
        self.problems: list[str] = []

    def samples(self, window: Window) -> list[Sample]:
        """Samples of every part of the window.

        Raises:
            QueryError: nothing at all could be fetched.
        """
        services = self._api.services()
        entries = self._entries(services, self._api.dependencies(window.end, window.length))
        parts = _parts(window)
        left = MOST_SEARCHES
        found: dict[_Search, list[Trace]] = {}
        seen: set[str] = set()
        for entry in entries:
            ordinary = [_Search(entry, part, "ordinary") for part in parts][:left]
            left -= len(ordinary)
            fetched = self._fetched(ordinary)
            full = [search for search in ordinary if len(fetched.get(search, ())) >= self._limits["ordinary"]]
            slow = self._slow([trace for traces in fetched.values() for trace in traces])
            more = [_Search(entry, item.part, "failed") for item in full]
            more += [_Search(entry, item.part, "slow", slow) for item in full] if slow else []
            more = more[:left]
            left -= len(more)
            for search, traces in {**fetched, **self._fetched(more)}.items():
                fresh = [trace for trace in traces if trace.trace_id not in seen]
                found[search] = fresh if search.kind == "ordinary" else traces
            seen |= {trace.trace_id for search, traces in found.items() if search.service == entry for trace in traces}
            if left <= 0:
                break
        return self._sorted_out(found)

    def _entries(self, services: Sequence[str], dependencies: Sequence[Dependency]) -> list[str]:
        by_entity: dict[EntityId, str] = {}
        for name in services:
            entity = self._resolver.entity({"service_name": name})
            if entity is not None:
                by_entity.setdefault(entity, name)
        nearest = [by_entity[entity] for entity in self._entities if entity in by_entity][:1]
        return list(dict.fromkeys([*nearest, *_roots(services, dependencies)]))[:MOST_ENTRIES]

    def _fetched(self, searches: Sequence[_Search]) -> dict[_Search, list[Trace]]:
        found: dict[_Search, list[Trace]] = {}
        failed: QueryError | None = None
        with ThreadPoolExecutor(max(1, min(4, len(searches))), thread_name_prefix="traces") as pool:
            running = {search: pool.submit(self._search, search) for search in searches}
            for search, work in running.items():
                try:
                    found[search] = work.result()
                except QueryError as error:
                    failed = failed or error
                    when = f"{search.part.start:%H:%M} to {search.part.end:%H:%M}"
                    self.problems.append(f"{search.kind} traces of {search.service}, {when}: {error.detail}")
        if failed is not None and not found and searches:
            raise failed
        return found

    def _search(self, search: _Search) -> list[Trace]:
        return self._api.search(
            search.service,
            search.part,
            limit=self._limits[search.kind],
            tags=FAILED if search.kind == "failed" else None,
            least=search.least,
        )

    def _slow(self, traces: Sequence[Trace]) -> timedelta | None:
        if not traces:
            return None
        durations = [max((span.duration_us for span in trace.spans), default=0) for trace in traces]
        return timedelta(microseconds=max(1, int(np.quantile(durations, SLOW_SHARE))))

    def _sorted_out(self, found: Mapping[_Search, list[Trace]]) -> list[Sample]:
        """Each trace in one sample: where failed or slow ones were fetched apart, the ordinary ones are the others."""
        apart: dict[tuple[str, Window], dict[str, _Search]] = {}
        for search in found:
            apart.setdefault((search.service, search.part), {})[search.kind] = search
        samples = []
        for kinds in apart.values():
            failed = {trace.trace_id: trace for trace in found.get(kinds.get("failed", _NONE), ())}
            slow_search = kinds.get("slow")
            slow = {
                trace.trace_id: trace
                for trace in (found[slow_search] if slow_search else ())
                if trace.trace_id not in failed and not _has_failed(trace)
            }
            for kind, traces in (("failed", failed), ("slow", slow)):
                if kind in kinds:
                    whole = len(found[kinds[kind]]) < self._limits[kind]
                    samples.append(self._sample(kinds[kind].part, list(traces.values()), whole=whole))
            if "ordinary" in kinds:
                search = kinds["ordinary"]
                ordinary = [
                    trace
                    for trace in found[search]
                    if not ("failed" in kinds and (trace.trace_id in failed or _has_failed(trace)))
                    and not (slow_search and (trace.trace_id in slow or _lasts(trace, slow_search.least)))
                ]
                whole = len(found[search]) < self._limits["ordinary"]
                samples.append(self._sample(search.part, ordinary, whole=whole))
        return samples

    def _sample(self, part: Window, traces: Iterable[Trace], *, whole: bool) -> Sample:
        rows = [row for trace in traces for row in self._rows(trace)]
        return Sample(window=part, spans=pl.DataFrame(rows, schema=SPANS, orient="row"), whole=whole)

    def _rows(self, trace: Trace) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for span in trace.spans:
            process = trace.processes.get(span.process)
            entity = self._resolver.entity(_labels_of(process)) if process is not None else None
            if entity is None:
                continue
            tags = _texts(span.tags)
            peer_labels = _peer(tags)
            peer = self._resolver.entity(peer_labels) if peer_labels else None
            rows.append(
                (
                    datetime.fromtimestamp(span.start_us / 1e6, UTC),
                    span.duration_us,
                    trace.trace_id,
                    span.span_id,
                    next((ref.span_id for ref in span.references if ref.trace_id == trace.trace_id), ""),
                    entity,
                    span.operation,
                    peer if peer != entity else None,
                    _failed(tags),
                )
            )
        return rows


_NONE = _Search("", Window(start=datetime(1990, 1, 1, tzinfo=UTC), end=datetime(1990, 1, 1, tzinfo=UTC)), "")


def _roots(services: Sequence[str], dependencies: Sequence[Dependency]) -> list[str]:
    """Services that nobody else calls, the busiest first."""
    called = {item.child for item in dependencies if item.child != item.parent}
    weight: dict[str, int] = {}
    for item in dependencies:
        weight[item.parent] = weight.get(item.parent, 0) + item.calls
    return sorted((name for name in services if name not in called), key=lambda name: (-weight.get(name, 0), name))


def _sightings(trace: Trace) -> list[tuple[Labels, str, Labels]]:
    rows: list[tuple[Labels, str, Labels]] = []
    for span in trace.spans:
        process = trace.processes.get(span.process)
        peer = _peer(_texts(span.tags))
        if process is None:
            continue
        labels = _labels_of(process)
        rows.append((labels, "", {}))
        if peer:
            rows.append((labels, "calls", peer))
    return rows


def _labels_of(process: Process) -> dict[str, str]:
    """Who left a span: its service, with what its resource says of pod and workload."""
    return {
        "service_name": process.service,
        **{key: value for key, value in _texts(process.tags).items() if _tells(key)},
    }


def _tells(key: str) -> bool:
    return key.startswith("k8s.") or key in ("service.namespace",)


def _texts(tags: Sequence[Tag] | None) -> dict[str, str]:
    return {tag.key: str(tag.value).lower() if isinstance(tag.value, bool) else str(tag.value) for tag in tags or ()}


def _peer(tags: Mapping[str, str]) -> dict[str, str]:
    """What a span calls, as labels; empty for spans that call nobody."""
    if tags.get("span.kind") not in _CALLING:
        return {}
    found = {key: tags[key] for key in _PEER_TAGS if tags.get(key)}
    named = found.pop("peer.service", None) or found.pop("service.peer.name", None)
    if named and not any(key.startswith(("db.", "messaging.")) for key in found):
        return {"service_name": named}
    return found


def _failed(tags: Mapping[str, str]) -> bool:
    return tags.get("error", "").lower() == "true" or tags.get("otel.status_code", "").upper() == "ERROR"


def _has_failed(trace: Trace) -> bool:
    return any(_failed(_texts(span.tags)) for span in trace.spans)


def _lasts(trace: Trace, least: timedelta | None) -> bool:
    limit = (least or timedelta.max) // timedelta(microseconds=1)
    return any(span.duration_us >= limit for span in trace.spans)


def _parts(window: Window) -> list[Window]:
    bounds = [*(window.end - span for span in SLICES if window.end - span > window.start), window.start]
    return [Window(start=start, end=end) for end, start in itertools.pairwise(bounds)]
