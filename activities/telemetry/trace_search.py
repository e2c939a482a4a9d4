"""Answers trace probes from a server that searches traces: failed, slow and ordinary ones sampled apart."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

import numpy as np
import polars as pl
from pydantic import Field

from activities.telemetry.backend import Answers, answered
from activities.telemetry.documents import clean
from activities.telemetry.entities import Labels, Resolver, inventory_rows
from activities.telemetry.environment import HttpSourceConfig
from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import HttpBackend, SourceClient
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
SLOW_SHARE = 0.95
LATEST_US = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp() * 1e6)
LOOKED_AT_FOR_PEERS = 20
"""Traces of an entry that are looked at to learn which databases and queues exist."""

_CALLING = frozenset(("client", "producer"))
PEER_ATTRIBUTES = (
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span, as far as it is read."""

    span_id: str
    parent_id: str
    """Empty of the first span of a trace, and where the parent is in another trace."""

    name: str
    start_us: int
    duration_us: int
    service: str
    resource: Mapping[str, str]
    """What is known of the process that left it, by OpenTelemetry's names."""

    attributes: Mapping[str, str]
    """By OpenTelemetry's names; `span.kind` is client, server, producer, consumer or internal."""

    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A trace, as far as the server gives it."""

    trace_id: str
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """How often one service called another."""

    parent: str
    child: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search gave."""

    traces: Sequence[Trace]
    more: bool
    """Whether there are others that the limit left out."""


class TraceSearchConfig(HttpSourceConfig):
    """A server that searches traces."""

    most_traces: Annotated[int, Field(ge=10, le=1_500)] = 100
    """Ordinary traces of one part of the time that are fetched."""


class TraceApi(Protocol):
    """What such a server is asked for; every call may raise `QueryError`."""

    @property
    def notes(self) -> Sequence[str]:
        """What is missing from the traces that were given so far."""

    def services(self, window: Window) -> Sequence[str]:
        """Every service that left spans."""

    def dependencies(self, window: Window) -> Sequence[Dependency]:
        """Which service called which, as far as the server knows."""

    def search(
        self, service: str, window: Window, *, limit: int, failed: bool = False, least: timedelta | None = None
    ) -> Found:
        """Whole traces that a service took part in, the latest first.

        Args:
            service: its name there.
            window: in which they began.
            limit: how many at most.
            failed: only those with a span that failed.
            least: only those with a span of this duration or longer.
        """


class TraceSearchBackend(HttpBackend):
    """One server, open for one attempt at one step."""

    def __init__(self, opening: Opening, api: Callable[[SourceClient], TraceApi]) -> None:
        assert isinstance(opening.config, TraceSearchConfig)
        self._config = opening.config
        self._resolver = opening.resolver
        super().__init__(opening.config)
        self._api = api(self._client)

    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """Services, who calls whom, and the databases and queues that a few traces show."""
        for probe in probes:
            services = self._api.services(probe.window)
            known = self._api.dependencies(probe.window)
            rows: list[tuple[Labels, str, Labels]] = [({"service_name": name}, "", {}) for name in services]
            rows += [({"service_name": item.parent}, "calls", {"service_name": item.child}) for item in known]
            recent = _whole_seconds(Window(start=probe.window.end - READ_BACK, end=probe.window.end))
            for name in _roots(services, known)[:MOST_ENTRIES]:
                for trace in self._api.search(name, recent, limit=LOOKED_AT_FOR_PEERS).traces:
                    rows += _sightings(trace)
            table = inventory_rows(rows)
            yield probe, answered(table.head(probe.max_rows), probe.window, total=table.height)

    def traces(self, probes: Sequence[TraceProbe]) -> Answers:
        """Spans of all entities, from traces that were fetched together."""
        end = max(probe.window.end for probe in probes)
        window = _whole_seconds(
            Window(start=max(min(probe.window.start for probe in probes), end - READ_BACK), end=end)
        )
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

    def __init__(
        self, api: TraceApi, config: TraceSearchConfig, resolver: Resolver, entities: Sequence[EntityId]
    ) -> None:
        self._api = api
        self._config = config
        self._resolver = resolver
        self._entities = entities
        self._limits = {"ordinary": config.most_traces, "failed": config.most_traces, "slow": config.most_traces // 2}
        self._failed: QueryError | None = None
        self.problems: list[str] = []

    def samples(self, window: Window) -> list[Sample]:
        """Samples of every part of the window.

        Raises:
            QueryError: nothing at all could be fetched.
        """
        services = self._api.services(window)
        entries = self._entries(services, self._api.dependencies(window))
        parts = _parts(window)
        left = MOST_SEARCHES
        found: dict[_Search, Found] = {}
        seen: set[str] = set()
        for entry in entries:
            ordinary = [_Search(entry, part, "ordinary") for part in parts][:left]
            left -= len(ordinary)
            fetched = self._fetched(ordinary)
            full = [search for search in ordinary if search in fetched and fetched[search].more]
            slow = self._slow([trace for result in fetched.values() for trace in result.traces])
            more = [_Search(entry, item.part, "failed") for item in full]
            more += [_Search(entry, item.part, "slow", slow) for item in full] if slow else []
            more = more[:left]
            left -= len(more)
            for search, result in {**fetched, **self._fetched(more)}.items():
                fresh = [trace for trace in result.traces if trace.trace_id not in seen]
                found[search] = Found(traces=fresh, more=result.more)
            seen |= {
                item.trace_id for search, result in found.items() if search.service == entry for item in result.traces
            }
            if left <= 0:
                self._note_left_out(entries[entries.index(entry) + 1 :])
                break
        if not found and self._failed is not None:
            raise self._failed
        self.problems += self._api.notes
        return self._sorted_out(found)

    def _entries(self, services: Sequence[str], dependencies: Sequence[Dependency]) -> list[str]:
        by_entity: dict[EntityId, str] = {}
        for name in services:
            entity = self._resolver.entity({"service_name": name})
            if entity is not None:
                by_entity.setdefault(entity, name)
        nearest = [by_entity[entity] for entity in self._entities if entity in by_entity][:1]
        return list(dict.fromkeys([*nearest, *_roots(services, dependencies)]))[:MOST_ENTRIES]

    def _note_left_out(self, entries: Sequence[str]) -> None:
        if entries:
            self.problems.append(
                f"traces that begin at {', '.join(entries)} were not searched: {MOST_SEARCHES} searches"
            )

    def _fetched(self, searches: Sequence[_Search]) -> dict[_Search, Found]:
        found: dict[_Search, Found] = {}
        with ThreadPoolExecutor(max(1, min(4, len(searches))), thread_name_prefix="traces") as pool:
            running = {search: pool.submit(self._search, search) for search in searches}
            for search, work in running.items():
                try:
                    found[search] = work.result()
                except QueryError as error:
                    self._failed = self._failed or error
                    when = f"{search.part.start:%H:%M} to {search.part.end:%H:%M}"
                    self.problems.append(f"{search.kind} traces of {search.service}, {when}: {error.detail}")
        return found

    def _search(self, search: _Search) -> Found:
        return self._api.search(
            search.service,
            search.part,
            limit=self._limits[search.kind],
            failed=search.kind == "failed",
            least=search.least,
        )

    def _slow(self, traces: Sequence[Trace]) -> timedelta | None:
        if not traces:
            return None
        durations = [min(LATEST_US, max((span.duration_us for span in trace.spans), default=0)) for trace in traces]
        return timedelta(microseconds=max(1, int(np.quantile(durations, SLOW_SHARE))))

    def _sorted_out(self, found: Mapping[_Search, Found]) -> list[Sample]:
        """Each trace in one sample: where failed or slow ones were fetched apart, the ordinary ones are the others."""
        apart: dict[tuple[str, Window], dict[str, _Search]] = {}
        for search in found:
            apart.setdefault((search.service, search.part), {})[search.kind] = search
        samples = []
        for kinds in apart.values():
            failed = {item.trace_id: item for item in found.get(kinds.get("failed", _NONE), NOTHING).traces}
            slow_search = kinds.get("slow")
            slow = {
                trace.trace_id: trace
                for trace in (found[slow_search] if slow_search else NOTHING).traces
                if trace.trace_id not in failed and not _has_failed(trace)
            }
            for kind, traces in (("failed", failed), ("slow", slow)):
                if kind in kinds:
                    whole = not found[kinds[kind]].more
                    samples.append(self._sample(kinds[kind].part, list(traces.values()), whole=whole))
            if "ordinary" in kinds:
                search = kinds["ordinary"]
                ordinary = [
                    trace
                    for trace in found[search].traces
                    if not ("failed" in kinds and (trace.trace_id in failed or _has_failed(trace)))
                    and not (slow_search and (trace.trace_id in slow or _lasts(trace, slow_search.least)))
                ]
                whole = not found[search].more
                samples.append(self._sample(search.part, ordinary, whole=whole))
        return samples

    def _sample(self, part: Window, traces: Iterable[Trace], *, whole: bool) -> Sample:
        found = (row_of(trace.trace_id, span, self._resolver) for trace in traces for span in trace.spans)
        rows = [row for row in found if row is not None]
        return Sample(window=part, spans=pl.DataFrame(rows, schema=SPANS, orient="row"), whole=whole)


NOTHING = Found(traces=(), more=False)
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
        labels, peer = labels_of(span), peer_of(span)
        rows.append((labels, "", {}))
        if peer:
            rows.append((labels, "calls", peer))
    return rows


def row_of(trace_id: str, span: Span, resolver: Resolver) -> tuple[object, ...] | None:
    """A span as a row of `SPANS`; None when nobody knows who left it, or its times are no times."""
    if not (0 <= span.start_us < LATEST_US and 0 <= span.duration_us < LATEST_US):
        return None
    entity = resolver.entity(labels_of(span))
    if entity is None:
        return None
    peer_labels = peer_of(span)
    peer = resolver.entity(peer_labels) if peer_labels else None
    return (
        datetime.fromtimestamp(span.start_us / 1e6, UTC),
        span.duration_us,
        clean(trace_id),
        clean(span.span_id),
        clean(span.parent_id),
        entity,
        clean(span.name),
        peer if peer != entity else None,
        span.failed,
    )


def labels_of(span: Span) -> dict[str, str]:
    """Who left a span: its service, with what its resource says of pod and workload."""
    about = {key: value for key, value in span.resource.items() if key.startswith("k8s.") or key == "service.namespace"}
    return {"service_name": span.service, **about}


def peer_of(span: Span) -> dict[str, str]:
    """What a span calls, as labels; empty for spans that call nobody."""
    if span.attributes.get("span.kind") not in _CALLING:
        return {}
    found = {key: span.attributes[key] for key in PEER_ATTRIBUTES if span.attributes.get(key)}
    named = found.pop("peer.service", None) or found.pop("service.peer.name", None)
    if named and not any(key.startswith(("db.", "messaging.")) for key in found):
        return {"service_name": named}
    return found


def _has_failed(trace: Trace) -> bool:
    return any(span.failed for span in trace.spans)


def _lasts(trace: Trace, least: timedelta | None) -> bool:
    limit = (least or timedelta.max) // timedelta(microseconds=1)
    return any(span.duration_us >= limit for span in trace.spans)


def lately() -> Window:
    """The last hour."""
    now = datetime.now(UTC)
    return Window(start=now - READ_BACK, end=now)


def _whole_seconds(window: Window) -> Window:
    """Cut to whole seconds, which is how some servers are asked: parts then end where they are thought to."""
    return Window(start=window.start.replace(microsecond=0), end=window.end.replace(microsecond=0))


def _parts(window: Window) -> list[Window]:
    bounds = [*(window.end - span for span in SLICES if window.end - span > window.start), window.start]
    return [Window(start=start, end=end) for end, start in itertools.pairwise(bounds)]
