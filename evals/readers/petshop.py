"""PetShop (amazon-science/petshop-root-cause-analysis): five-minute metrics of a shop's nodes, and its call graph.

The clock is the one stated for this corpus: the alert fires at the target's timestamp, ten further minutes are
visible, and a bucket is seen when it is complete. The fault-free period, which was recorded months away, is moved by
whole days to end an hour or more before the issue's own first bucket, as the history that a live system would have.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from evals.bundles import Recording, Truth, opaque_id
from evals.readers.corpus import CorpusError
from workflows.contracts.alert import Alert, Severity
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind, Topology, entity_id

BUCKET = timedelta(minutes=5)
VISIBLE_FOR = timedelta(minutes=10)
DAY = timedelta(days=1)
APART = timedelta(hours=1)
"""The usual days end at least so long before an issue: they were not recorded next to it, and must not look so."""
Model = TypeVar("Model", bound=BaseModel)
HEADERS = ("microservice", "metric", "statistic")


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Target(_Loose):
    node: str
    metric: str
    agg: str
    timestamp: int


class _Alerting(_Loose):
    target: _Target


class _Cause(_Loose):
    node: str


class _Labelled(_Loose):
    root_cause: _Cause


class PetShop:
    """Reads folders with `target.json` and `metrics.csv`, below one with `graph.csv` and `noissue`."""

    def __init__(self, root: Path, *, visible_for: timedelta | None = None) -> None:
        self._root = root
        self._visible_for = VISIBLE_FOR if visible_for is None else visible_for
        if not self.names():
            raise CorpusError(root, "holds no folder with a target.json")

    def names(self) -> list[str]:
        """Case folders relative to the root, sorted."""
        return sorted(str(path.parent.relative_to(self._root)) for path in self._root.rglob("target.json"))

    def system(self, name: str) -> str:  # noqa: ARG002 - one shop, whatever its load
        """Always the shop."""
        return "petshop"

    def recording(self, name: str) -> Recording:
        """One issue, after the fault-free period."""
        folder = self._root / name
        target = _parsed(_Alerting, folder / "target.json").target
        alert_at = datetime.fromtimestamp(target.timestamp, UTC)
        until = alert_at + self._visible_for
        own = _table(folder / "metrics.csv")
        usual = _moved_before(_usual(_above(folder, Path("noissue/metrics.csv"), self._root)), own)
        metrics = pl.concat([usual, own]).filter(pl.col("ts") + BUCKET <= until)
        # A bucket is known when it is complete, so it counts from its end.
        metrics = metrics.with_columns(ts=pl.col("ts") + BUCKET - timedelta(seconds=1))
        start = metrics["ts"].min()
        if not isinstance(start, datetime):
            raise CorpusError(folder / "metrics.csv", "holds no complete bucket before the queries are run")
        bundle_id = opaque_id("petshop", name)
        return Recording(
            bundle_id=bundle_id,
            alert=Alert(
                source="corpus",
                fingerprint=bundle_id,
                title=f"{target.agg} {target.metric} of {target.node}",
                starts_at=alert_at,
                severity=Severity.UNKNOWN,
                entity=entity_id(EntityKind.SERVICE, target.node),
            ),
            visible=VisibleWindow(start=start, end=until),
            as_of=until,
            topology=_topology(_above(folder, Path("graph.csv"), self._root)),
            metrics=metrics,
        )

    def truth(self, name: str) -> Truth:
        """The injected node."""
        cause = _parsed(_Labelled, self._root / name / "target.json").root_cause
        return Truth(
            bundle_id=opaque_id("petshop", name),
            system=self.system(name),
            entity=entity_id(EntityKind.SERVICE, cause.node),
            changes_recorded=False,
            case=name,
        )


def _parsed(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorpusError(path, f"cannot be read: {error}") from error


def _above(folder: Path, wanted: Path, root: Path) -> Path:
    for parent in (folder, *folder.parents):
        if (parent / wanted).is_file():
            return parent / wanted
        if parent == root.parent:
            break
    raise CorpusError(folder, f"there is no {wanted} in it or above it")


def _moved_before(usual: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """The fault-free rows at the same times of day, all of them an hour or more before the issue's first bucket."""
    first, last = own["ts"].min(), usual["ts"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return usual
    days = (first - last - APART) // DAY
    return usual.with_columns(pl.col("ts") + days * DAY)


@cache
def _usual(path: Path) -> pl.DataFrame:
    """The fault-free period; many cases share it."""
    return _table(path)


def _table(path: Path) -> pl.DataFrame:
    """(ts, entity, metric, value) of a table with three header rows and a column per (node, metric, statistic)."""
    try:
        with path.open(newline="") as handle:
            rows = csv.reader(handle)
            headers = {row[0]: row[1:] for row in islice(rows, len(HEADERS))}
            columns = list(zip(*(headers[name] for name in HEADERS), strict=True))
            values = list(_values(path, rows, columns))
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise CorpusError(path, f"is no metrics table: {error!r}") from error
    schema = pl.Schema(
        {"ts": pl.Datetime("us", "UTC"), "entity": pl.String(), "metric": pl.String(), "value": pl.Float64()}
    )
    return pl.DataFrame(values, schema=schema, orient="row")


def _values(
    path: Path, rows: Iterator[list[str]], columns: list[tuple[str, str, str]]
) -> Iterator[tuple[datetime, str, str, float]]:
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        raise CorpusError(path, f"names a column twice: {', '.join(repeated[0])}")
    for row in rows:
        if row[0] == "unix_timestamp":
            continue
        if len(row) != len(columns) + 1:
            raise CorpusError(path, f"has a row of {len(row)} fields where {len(columns) + 1} belong (truncated?)")
        at = datetime.fromtimestamp(float(row[0]), UTC)
        for (node, metric, statistic), text in zip(columns, row[1:], strict=True):
            if text:
                yield at, entity_id(EntityKind.SERVICE, node), f"{metric}_{statistic}", float(text)


def _topology(path: Path) -> Topology:
    """A matrix whose row calls the column."""
    try:
        with path.open(newline="") as handle:
            rows = csv.reader(handle)
            called = next(rows)[1:]
            matrix = [(row[0], row[1:]) for row in rows]
            names = sorted({*called, *(caller for caller, _ in matrix)})
            ids: dict[str, EntityId] = {name: entity_id(EntityKind.SERVICE, name) for name in names}
            edges = tuple(
                Edge(source=ids[caller], target=ids[callee], kind=EdgeKind.CALLS)
                for caller, flags in matrix
                for callee, flag in zip(called, flags, strict=True)
                if float(flag)
            )
    except (OSError, StopIteration, ValueError, IndexError) as error:
        raise CorpusError(path, f"is no call graph: {error!r}") from error
    return Topology(
        entities=tuple(Entity(id=ids[name], kind=EntityKind.SERVICE, name=name) for name in names), edges=edges
    )
