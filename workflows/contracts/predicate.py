"""Statements that code can evaluate against an artifact, and nothing else.

A claim is published only if its predicate holds when it is evaluated again, from the stored answer, by code that
did not make the finding.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from workflows.contracts.contract import Contract, Instant
from workflows.contracts.identifiers import ProbeKey
from workflows.contracts.probe import Window

Statistic = Literal["median", "mean", "max", "min", "sum", "last"]


class SeriesShift(Contract):
    """A column's statistic reaches `threshold` in `after`, while the one in `before` does not pass `reference`."""

    kind: Literal["series_shift"] = "series_shift"
    probe_key: ProbeKey
    select: dict[str, str]
    """Which rows: column name to exact value."""

    column: str
    per: str | None = None
    """When set, the statistic is sum(column) / sum(per) over the window."""

    statistic: Statistic = "median"
    """Of the values in `after`."""

    before_statistic: Statistic = "median"
    """Of the values in `before`; without effect when `per` is set."""

    before: Window
    after: Window
    direction: Literal["up", "down"]
    threshold: float
    """The value `after` must reach (up: at least, down: at most)."""

    reference: float
    """The value `before` must not pass (up: at most, down: at least)."""


class SeriesLevel(Contract):
    """The median of a column lies at `at_least` or above in the window."""

    kind: Literal["series_level"] = "series_level"
    probe_key: ProbeKey
    select: dict[str, str]
    column: str
    window: Window
    at_least: float


class RowCount(Contract):
    """The number of rows (or the sum of `column`) that match lies within the bounds in the window."""

    kind: Literal["row_count"] = "row_count"
    probe_key: ProbeKey
    select: dict[str, str]
    column: str | None = None
    window: Window
    at_least: float = 0.0
    at_most: float | None = None


class Occurred(Contract):
    """A row with these values exists, at this moment."""

    kind: Literal["occurred"] = "occurred"
    probe_key: ProbeKey
    select: dict[str, str]
    at: Instant


class AllOf(Contract):
    """Every part holds."""

    kind: Literal["all_of"] = "all_of"
    parts: tuple["SeriesShift | SeriesLevel | RowCount | Occurred", ...]


Predicate = Annotated[SeriesShift | SeriesLevel | RowCount | Occurred | AllOf, Field(discriminator="kind")]
PREDICATE: TypeAdapter[Predicate] = TypeAdapter(Predicate)


def probes_of(predicate: Predicate) -> frozenset[ProbeKey]:
    """Every probe whose answer the predicate reads."""
    if isinstance(predicate, AllOf):
        return frozenset(part.probe_key for part in predicate.parts)
    return frozenset((predicate.probe_key,))
