"""Loki's HTTP API: queries and their answers, checked before anything is believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import SourceClient
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window


class _Stream(BaseModel):
    model_config = ConfigDict(extra="ignore")
    stream: dict[str, str]
    values: list[list[JsonValue]]


class _Series(BaseModel):
    model_config = ConfigDict(extra="ignore")
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore")
    resultType: str  # noqa: N815 - the API's own word
    result: list[JsonValue]


_STREAMS, _SERIES = TypeAdapter(list[_Stream]), TypeAdapter(list[_Series])
_LABEL_SETS: TypeAdapter[list[dict[str, str]]] = TypeAdapter(list[dict[str, str]])


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    at_ns: int
    """Nanoseconds since 1970."""

    labels: Mapping[str, str]
    """Of its stream, with its structured metadata."""

    line: str


class LokiApi:
    """Queries to one server."""

    def __init__(self, client: SourceClient, organisation: str | None) -> None:
        self._client = client
        self._headers = {} if organisation is None else {"X-Scope-OrgID": organisation}

    def streams(self, selector: str, window: Window) -> list[dict[str, str]]:
        """The label sets of every stream with lines in the window."""
        found = self._get("/loki/api/v1/series", {"match[]": f"{{{selector}}}", **_span(window)})
        try:
            return _LABEL_SETS.validate_python(_field(found, "data") or [])
        except ValidationError as error:
            raise _unexpected(error) from error

    def lines(self, query: str, window: Window, limit: int) -> list[Entry]:
        """At most `limit` lines, the newest first."""
        data = self._query(query, {**_span(window), "limit": str(limit), "direction": "backward"}, "streams")
        try:
            streams = _STREAMS.validate_python(data.result)
            return [_entry(stream.stream, value) for stream in streams for value in stream.values]
        except (ValidationError, ValueError, TypeError, IndexError) as error:
            raise _unexpected(error) from error

    def counts(
        self, query: str, window: Window, step: timedelta
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """(labels, [(seconds since 1970, value)]) of a metric query."""
        step_text = f"{step.total_seconds():g}"
        data = self._query(query, {**_span(window), "step": step_text}, "matrix")
        try:
            found = _SERIES.validate_python(data.result)
            return [(item.metric, [(at, float(value)) for at, value in item.values]) for item in found]
        except (ValidationError, ValueError) as error:
            raise _unexpected(error) from error

    def version(self) -> str:
        """What the server calls itself."""
        found = self._get("/loki/api/v1/status/buildinfo", {})
        return str(_field(found, "version") or "unknown")

    def _query(self, query: str, parameters: Mapping[str, str], wanted: str) -> _Data:
        document = self._get("/loki/api/v1/query_range", {"query": query, **parameters})
        try:
            data = _Data.model_validate(_field(document, "data"))
        except ValidationError as error:
            raise _unexpected(error) from error
        if data.resultType != wanted:
            raise QueryError(ObservationStatus.ERROR, f"answered {data.resultType} where {wanted} were expected")
        return data

    def _get(self, path: str, parameters: Mapping[str, str]) -> JsonValue:
        return self._client.get(path, parameters, self._headers)


def _entry(labels: Mapping[str, str], value: list[JsonValue]) -> Entry:
    at, line = value[0], value[1]
    if not isinstance(at, str) or not isinstance(line, str):
        raise TypeError("a line is not a moment and a text")
    beside = value[2] if len(value) > 2 and isinstance(value[2], dict) else {}
    metadata = {str(key): str(item) for key, item in beside.items() if isinstance(item, str)}
    return Entry(int(at), {**labels, **metadata}, line)


def _field(document: JsonValue, name: str) -> JsonValue:
    if not isinstance(document, dict):
        raise QueryError(ObservationStatus.ERROR, "is no answer of Loki's API (it is no object)")
    return document.get(name)


def _span(window: Window) -> dict[str, str]:
    return {"start": _stamp(window.start), "end": _stamp(window.end)}


def _stamp(at: datetime) -> str:
    return str((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000)


def _unexpected(error: Exception) -> QueryError:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return QueryError(ObservationStatus.ERROR, f"is no answer of Loki's API ({where}: {first['msg']})")
    return QueryError(ObservationStatus.ERROR, f"is no answer of Loki's API ({error})")
