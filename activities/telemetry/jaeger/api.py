"""Jaeger's HTTP API: searches and their answers, checked before anything is believed."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import SourceClient
from activities.telemetry.trace_search import Dependency, Found, Span, Trace
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window


class _Tag(BaseModel):
    """An attribute of a span or of a process."""

    model_config = ConfigDict(extra="ignore")
    key: str
    value: JsonValue = None


class _Reference(BaseModel):
    """Which span caused a span."""

    model_config = ConfigDict(extra="ignore")
    ref_type: str = Field(alias="refType")
    trace_id: str = Field(alias="traceID")
    span_id: str = Field(alias="spanID")


class _Span(BaseModel):
    """A span, as far as it is read; times are microseconds."""

    model_config = ConfigDict(extra="ignore")
    span_id: str = Field(alias="spanID")
    operation: str = Field(alias="operationName")
    references: list[_Reference] = []
    start_us: int = Field(alias="startTime")
    duration_us: int = Field(alias="duration")
    tags: list[_Tag] | None = []
    process: str = Field(alias="processID")


class _Process(BaseModel):
    """Who left spans."""

    model_config = ConfigDict(extra="ignore")
    service: str = Field(alias="serviceName")
    tags: list[_Tag] | None = []


class _Trace(BaseModel):
    """A whole trace."""

    model_config = ConfigDict(extra="ignore")
    trace_id: str = Field(alias="traceID")
    spans: list[_Span]
    processes: dict[str, _Process]


class _Dependency(BaseModel):
    """How often one service called another."""

    model_config = ConfigDict(extra="ignore")
    parent: str
    child: str
    calls: int = Field(alias="callCount", default=0)


_TRACES, _NAMES = TypeAdapter(list[_Trace]), TypeAdapter(list[str])
_DEPENDENCIES = TypeAdapter(list[_Dependency])


class JaegerApi:
    """Searches on one server."""

    def __init__(self, client: SourceClient) -> None:
        self._client = client

    @property
    def notes(self) -> Sequence[str]:
        """Jaeger gives whole traces."""
        return ()

    def services(self, _window: Window) -> list[str]:
        """Every service that ever left spans: Jaeger knows no window here."""
        try:
            return _NAMES.validate_python(self._data("/api/services", {}) or [])
        except ValidationError as error:
            raise _unexpected(error) from error

    def dependencies(self, window: Window) -> list[Dependency]:
        """Which service called which; a server without the job that computes it has none."""
        parameters = {
            "endTs": str(int(window.end.timestamp() * 1e3)),
            "lookback": str(int(window.length.total_seconds() * 1e3)),
        }
        try:
            found = _DEPENDENCIES.validate_python(self._data("/api/dependencies", parameters) or [])
        except ValidationError as error:
            raise _unexpected(error) from error
        return [Dependency(parent=item.parent, child=item.child, calls=item.calls) for item in found]

    def search(
        self, service: str, window: Window, *, limit: int, failed: bool = False, least: timedelta | None = None
    ) -> Found:
        """See `TraceApi`."""
        parameters = {
            "service": service,
            "start": str(int(window.start.timestamp() * 1e6)),
            "end": str(int(window.end.timestamp() * 1e6)),
            "limit": str(limit),
        }
        if failed:
            parameters["tags"] = json.dumps({"error": "true"})
        if least is not None:
            parameters["minDuration"] = f"{least // timedelta(microseconds=1)}us"
        try:
            found = _TRACES.validate_python(self._data("/api/traces", parameters) or [])
        except ValidationError as error:
            raise _unexpected(error) from error
        return Found(traces=[_trace(item) for item in found], more=len(found) >= limit)

    def _data(self, path: str, parameters: Mapping[str, str]) -> JsonValue:
        document = self._client.get(path, parameters)
        if not isinstance(document, dict):
            raise QueryError(ObservationStatus.ERROR, "is no answer of Jaeger's API (it is no object)")
        errors = document.get("errors")
        if errors:
            raise QueryError(ObservationStatus.ERROR, f"the query was rejected: {str(errors)[:300]}")
        return document.get("data")


def _trace(item: _Trace) -> Trace:
    spans = []
    for span in item.spans:
        process = item.processes.get(span.process)
        if process is None:
            continue
        tags = _texts(span.tags)
        parents = [found.span_id for found in span.references if found.trace_id == item.trace_id]
        spans.append(
            Span(
                span_id=span.span_id,
                parent_id=parents[0] if parents else "",
                name=span.operation,
                start_us=span.start_us,
                duration_us=span.duration_us,
                service=process.service,
                resource=_texts(process.tags),
                attributes=tags,
                failed=tags.get("error", "").lower() == "true" or tags.get("otel.status_code", "").upper() == "ERROR",
            )
        )
    return Trace(trace_id=item.trace_id, spans=spans)


def _texts(tags: Sequence[_Tag] | None) -> dict[str, str]:
    return {tag.key: str(tag.value).lower() if isinstance(tag.value, bool) else str(tag.value) for tag in tags or ()}


def _unexpected(error: ValidationError) -> QueryError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return QueryError(ObservationStatus.ERROR, f"is no answer of Jaeger's API ({where}: {first['msg']})")
