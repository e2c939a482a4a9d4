"""Prometheus' HTTP API: queries and their answers, checked before anything is believed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import SourceClient
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window

MOST_POINTS = 11_000
"""Points of one series that Prometheus answers to one range query."""

Numbers = NDArray[np.float64]


class _Vector(BaseModel):
    metric: dict[str, str]
    value: tuple[float, str]


class _Matrix(BaseModel):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(BaseModel):
    resultType: str  # noqa: N815 - the API's own word
    result: list[JsonValue]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")
    status: Literal["success", "error"]
    data: JsonValue = None
    error: str = ""
    warnings: list[str] = []


class Rule(BaseModel):
    """An alerting rule, as far as it is read."""

    model_config = ConfigDict(extra="ignore")
    name: Annotated[str, Field(max_length=1_024)]
    query: Annotated[str, Field(max_length=65_536)]
    state: str = ""


class _Group(BaseModel):
    model_config = ConfigDict(extra="ignore")
    rules: list[Rule]


class _Groups(BaseModel):
    groups: list[_Group]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of an answer."""

    labels: Mapping[str, str]
    at: Numbers
    """Seconds since 1970."""

    values: Numbers


_VECTORS, _MATRICES = TypeAdapter(list[_Vector]), TypeAdapter(list[_Matrix])
_METADATA: TypeAdapter[dict[str, list[dict[str, str]]]] = TypeAdapter(dict[str, list[dict[str, str]]])


class PrometheusApi:
    """Queries to one server; the path of its API is part of the configured address."""

    def __init__(self, client: SourceClient) -> None:
        self.client = client

    def instant(self, query: str, at: datetime) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of a vector at a moment.

        Raises:
            QueryError: there is no answer, or it is none of Prometheus'.
        """
        data = self._query("/api/v1/query", {"query": query, "time": _stamp(at)}, "vector")
        try:
            found = _VECTORS.validate_python(data.result)
        except ValidationError as error:
            raise _unexpected(error) from error
        return [(item.metric, _number(item.value[1])) for item in found]

    def range(self, query: str, window: Window, step: timedelta) -> list[Series]:
        """Every series of a query over a window; the window is cut where the server would refuse it.

        Raises:
            QueryError: there is no answer, or it is none of Prometheus'.
        """
        parts: dict[tuple[tuple[str, str], ...], list[Series]] = {}
        begin = window.start
        while begin <= window.end:
            end = min(window.end, begin + step * (MOST_POINTS - 1))
            parameters = {
                "query": query,
                "start": _stamp(begin),
                "end": _stamp(end),
                "step": f"{step.total_seconds():g}",
            }
            for item in self._matrix(self._query("/api/v1/query_range", parameters, "matrix")):
                parts.setdefault(tuple(sorted(item.labels.items())), []).append(item)
            begin = end + step
        return [_joined(pieces) for pieces in parts.values()]

    def kinds(self) -> dict[str, str]:
        """The type of each metric (`counter`, `gauge`, ...) by its name, where the server knows it."""
        try:
            data = self._plain("/api/v1/metadata", {"limit_per_metric": "1"})
            found = _METADATA.validate_python(data)
        except (QueryError, ValidationError):
            return {}  # remote storages have none; names say it by convention
        return {name: entries[0].get("type", "") for name, entries in found.items() if entries}

    def firing_rules(self) -> list[Rule]:
        """Alerting rules that fire now; none where the server evaluates no rules."""
        try:
            found = _Groups.model_validate(self._plain("/api/v1/rules", {"type": "alert"}))
        except QueryError as error:
            if error.status is ObservationStatus.NOT_FOUND:
                return []
            raise
        except ValidationError as error:
            raise _unexpected(error) from error
        rules = {(rule.name, rule.query): rule for group in found.groups for rule in group.rules}
        return [rule for _, rule in sorted(rules.items()) if rule.state == "firing"]

    def version(self) -> str:
        """What the server calls itself."""
        found = self._plain("/api/v1/status/buildinfo", {})
        return str(found.get("version", "unknown")) if isinstance(found, dict) else "unknown"

    def _matrix(self, data: _Data) -> list[Series]:
        try:
            found = _MATRICES.validate_python(data.result)
        except ValidationError as error:
            raise _unexpected(error) from error
        return [
            Series(
                labels=item.metric,
                at=np.array([moment for moment, _ in item.values], dtype=np.float64),
                values=np.array([_number(value) for _, value in item.values], dtype=np.float64),
            )
            for item in found
        ]

    def _query(self, path: str, parameters: Mapping[str, str], wanted: str) -> _Data:
        document = self._checked(self.client.post(path, parameters))
        try:
            data = _Data.model_validate(document)
        except ValidationError as error:
            raise _unexpected(error) from error
        if data.resultType != wanted:
            raise QueryError(ObservationStatus.ERROR, f"answered a {data.resultType} where a {wanted} was expected")
        return data

    def _plain(self, path: str, parameters: Mapping[str, str]) -> JsonValue:
        return self._checked(self.client.get(path, parameters))

    def _checked(self, document: JsonValue) -> JsonValue:
        try:
            answer = _Answer.model_validate(document)
        except ValidationError as error:
            raise _unexpected(error) from error
        if answer.status == "error":
            raise QueryError(ObservationStatus.ERROR, f"the query was rejected: {answer.error[:300]}")
        return answer.data


def _joined(pieces: list[Series]) -> Series:
    if len(pieces) == 1:
        return pieces[0]
    return Series(
        labels=pieces[0].labels,
        at=np.concatenate([piece.at for piece in pieces]),
        values=np.concatenate([piece.values for piece in pieces]),
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC).timestamp():.3f}"


def _unexpected(error: ValidationError) -> QueryError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return QueryError(ObservationStatus.ERROR, f"is no answer of Prometheus' API ({where}: {first['msg']})")
