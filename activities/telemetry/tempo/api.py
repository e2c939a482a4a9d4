"""Tempo's HTTP API and TraceQL (https://grafana.com/docs/tempo/latest/api_docs/): whole traces by one search.

A search gives the spans that match. `{one service} && {true}` matches every span of every trace that the service took
part in, and `select` names what is wanted of them; so one query gives what would be one for each trace.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pydantic import JsonValue

from activities.telemetry.documents import Document, as_list, as_map
from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import SourceClient
from activities.telemetry.otlp_spans import attributes_in, id_in, nanos_in
from activities.telemetry.tempo.config import TempoConfig
from activities.telemetry.trace_search import PEER_ATTRIBUTES, Dependency, Found, Span, Trace
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window

RESOURCE = ("service.name", "service.namespace", "k8s.namespace.name", "k8s.pod.name", "k8s.deployment.name")
SELECTED = ", ".join(
    (
        "name",
        "kind",
        "status",
        "span:parentID",
        *(f"resource.{name}" for name in RESOURCE),
        *(f"span.{name}" for name in PEER_ATTRIBUTES),
    )
)
LATEST_FIRST = " with (most_recent=true)"
LOOKED_AT_FOR_CALLS = 100
"""Traces that are looked at to learn who calls whom: Tempo keeps no graph that its API tells."""


class TempoApi:
    """Searches on one server."""

    def __init__(self, client: SourceClient, config: TempoConfig) -> None:
        self._client = client
        self._config = config
        self._headers = {"X-Scope-OrgID": config.organisation} if config.organisation else {}
        self._latest_first = LATEST_FIRST
        self._incomplete = 0

    @property
    def notes(self) -> Sequence[str]:
        """See `TraceApi`."""
        if not self._incomplete:
            return ()
        return [f"{self._incomplete} traces have more than {self._config.most_spans} spans (most_spans)"]

    def services(self, window: Window) -> Sequence[str]:
        """See `TraceApi`."""
        document = self._get("/api/v2/search/tag/resource.service.name/values", _bounds(window))
        values = [as_map(item).get("value") for item in as_list(as_map(document).get("tagValues"))]
        if not isinstance(as_map(document).get("tagValues"), list):
            raise QueryError(ObservationStatus.ERROR, "is no answer of Tempo's API (tagValues is missing)")
        return sorted({item for item in values if isinstance(item, str) and item})

    def dependencies(self, window: Window) -> Sequence[Dependency]:
        """See `TraceApi`; as far as the latest traces show it."""
        calls: dict[tuple[str, str], int] = {}
        for trace in self._traces("{ true }", window, LOOKED_AT_FOR_CALLS):
            services = {span.span_id: span.service for span in trace.spans}
            for span in trace.spans:
                caller = services.get(span.parent_id)
                if caller and caller != span.service:
                    calls[caller, span.service] = calls.get((caller, span.service), 0) + 1
        return [Dependency(parent=pair[0], child=pair[1], calls=count) for pair, count in sorted(calls.items())]

    def search(
        self, service: str, window: Window, *, limit: int, failed: bool = False, least: timedelta | None = None
    ) -> Found:
        """See `TraceApi`."""
        query = f"{{ resource.service.name = {_quoted(service)} }}"
        if failed:
            query += " && { status = error }"
        if least is not None:
            query += f" && {{ duration >= {least // timedelta(microseconds=1)}us }}"
        found = self._traces(f"{query} && {{ true }}", window, limit)
        bounds = window.start.timestamp() * 1e6, window.end.timestamp() * 1e6  # asked for by whole seconds
        inside = [trace for trace in found if trace.spans and bounds[0] <= _begin(trace) < bounds[1]]
        return Found(traces=inside, more=len(found) >= limit)

    def _traces(self, query: str, window: Window, limit: int) -> list[Trace]:
        parameters = {
            **_bounds(window),
            "limit": str(limit),
            "spss": str(self._config.most_spans),
            "q": f"{query} | select({SELECTED}){self._latest_first}",
        }
        try:
            document = self._get("/api/search", parameters)
        except QueryError as error:
            if not self._latest_first or "HTTP 400" not in error.detail:
                raise
            self._latest_first = ""  # before Tempo 2.8
            return self._traces(query, window, limit)
        found = as_map(document).get("traces")
        if not isinstance(document, dict) or not isinstance(found or [], list):
            raise QueryError(ObservationStatus.ERROR, "is no answer of Tempo's API (traces is no list)")
        return [self._trace(as_map(item)) for item in as_list(found)]

    def _trace(self, item: Document) -> Trace:
        sets = as_list(item.get("spanSets")) or [item.get("spanSet")]
        spans: dict[str, Span] = {}
        for spanset in map(as_map, sets):
            given = as_list(spanset.get("spans"))
            matched = nanos_in(spanset.get("matched"))
            self._incomplete += matched is not None and matched > len(given)
            for entry in map(as_map, given):
                span = _span(entry)
                if span is not None:
                    spans[span.span_id] = span
        return Trace(trace_id=id_in(item.get("traceID")).rjust(32, "0"), spans=list(spans.values()))

    def _get(self, path: str, parameters: Mapping[str, str]) -> JsonValue:
        return self._client.get(path, parameters, self._headers)


def _span(item: Document) -> Span | None:
    begins, nanos = nanos_in(item.get("startTimeUnixNano")), nanos_in(item.get("durationNanos"))
    found = {
        key.removeprefix("resource.").removeprefix("span."): value
        for key, value in attributes_in(item.get("attributes")).items()
    }
    service = found.get("service.name", "")
    if begins is None or nanos is None or not service:
        return None
    return Span(
        span_id=id_in(item.get("spanID")),
        parent_id=id_in(found.get("span:parentID") or found.get("parentID")),
        name=str(item.get("name") or found.get("name") or ""),
        start_us=begins // 1_000,
        duration_us=nanos // 1_000,
        service=service,
        resource={key: value for key, value in found.items() if key in RESOURCE},
        attributes={**found, "span.kind": found.get("kind", found.get("span:kind", ""))},
        failed=found.get("status", found.get("span:status", "")) == "error",
    )


def _begin(trace: Trace) -> int:
    return min(span.start_us for span in trace.spans)


def _bounds(window: Window) -> dict[str, str]:
    """Whole seconds, the last one included."""
    return {"start": str(int(window.start.timestamp())), "end": str(int(-(-window.end.timestamp() // 1)))}


def _quoted(text: str) -> str:
    """A string of TraceQL."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
