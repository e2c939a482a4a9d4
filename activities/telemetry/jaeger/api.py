"""Jaeger's HTTP API: searches and their answers, checked before anything is believed."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import SourceClient
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window


class Tag(BaseModel):
    """An attribute of a span or of a process."""

    model_config = ConfigDict(extra="ignore")
    key: str
    value: JsonValue = None


class Reference(BaseModel):
    """Which span caused a span."""

    model_config = ConfigDict(extra="ignore")
    ref_type: str = Field(alias="refType")
    trace_id: str = Field(alias="traceID")
    span_id: str = Field(alias="spanID")


class Span(BaseModel):
    """A span, as far as it is read; times are microseconds."""

    model_config = ConfigDict(extra="ignore")
    span_id: str = Field(alias="spanID")
    operation: str = Field(alias="operationName")
    references: list[Reference] = []
    start_us: int = Field(alias="startTime")
    duration_us: int = Field(alias="duration")
    tags: list[Tag] | None = []
    process: str = Field(alias="processID")


class Process(BaseModel):
    """Who left spans."""

    model_config = ConfigDict(extra="ignore")
    service: str = Field(alias="serviceName")
    tags: list[Tag] | None = []


class Trace(BaseModel):
    """A whole trace."""

    model_config = ConfigDict(extra="ignore")
    trace_id: str = Field(alias="traceID")
    spans: list[Span]
    processes: dict[str, Process]


class Dependency(BaseModel):
    """How often one service called another."""

    model_config = ConfigDict(extra="ignore")
    parent: str
    child: str
    calls: int = Field(alias="callCount", default=0)


_TRACES, _NAMES = TypeAdapter(list[Trace]), TypeAdapter(list[str])
_DEPENDENCIES = TypeAdapter(list[Dependency])


class JaegerApi:
    """Searches on one server."""

    def __init__(self, client: SourceClient) -> None:
        self._client = client

    def services(self) -> list[str]:
        """Every service that left spans."""
        try:
            return _NAMES.validate_python(self._data("/api/services", {}) or [])
        except ValidationError as error:
            raise _unexpected(error) from error

    def dependencies(self, end: datetime, back: timedelta) -> list[Dependency]:
        """Which service called which; a server without the job that computes it has none."""
        parameters = {"endTs": str(int(end.timestamp() * 1e3)), "lookback": str(int(back.total_seconds() * 1e3))}
        try:
            return _DEPENDENCIES.validate_python(self._data("/api/dependencies", parameters) or [])
        except ValidationError as error:
            raise _unexpected(error) from error

    def search(
        self,
        service: str,
        window: Window,
        *,
        limit: int,
        tags: Mapping[str, str] | None = None,
        least: timedelta | None = None,
    ) -> list[Trace]:
        """Whole traces that a service took part in, the latest first.

        Args:
            service: its name there.
            window: in which they began.
            limit: how many at most.
            tags: attributes of one of its spans.
            least: the shortest duration of one of its spans.
        """
        parameters = {
            "service": service,
            "start": str(int(window.start.timestamp() * 1e6)),
            "end": str(int(window.end.timestamp() * 1e6)),
            "limit": str(limit),
        }
        if tags:
            parameters["tags"] = json.dumps(dict(tags), sort_keys=True)
        if least is not None:
            parameters["minDuration"] = f"{least // timedelta(microseconds=1)}us"
        try:
            return _TRACES.validate_python(self._data("/api/traces", parameters) or [])
        except ValidationError as error:
            raise _unexpected(error) from error

    def _data(self, path: str, parameters: Mapping[str, str]) -> JsonValue:
        document = self._client.get(path, parameters)
        if not isinstance(document, dict):
            raise QueryError(ObservationStatus.ERROR, "is no answer of Jaeger's API (it is no object)")
        errors = document.get("errors")
        if errors:
            raise QueryError(ObservationStatus.ERROR, f"the query was rejected: {str(errors)[:300]}")
        return document.get("data")


def _unexpected(error: ValidationError) -> QueryError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return QueryError(ObservationStatus.ERROR, f"is no answer of Jaeger's API ({where}: {first['msg']})")
