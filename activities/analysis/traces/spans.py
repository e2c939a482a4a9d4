"""Spans by the edge they are of, and their sums on both sides of a change point."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from activities.analysis.change_points import ChangePoint, PrePostSums, median_of, moment_of
from activities.analysis.evidence import Evidence, Matrix, Numbered, Numbers
from activities.analysis.invariants import numbers_in
from workflows.contracts.identifiers import EntityId, ProbeKey

SUMS = ["count", "originating_errors", "duration_us", "self_us", "gap_us"]
EDGE = ["entity", "operation", "caller", "caller_operation", "peer", "unanswered"]


@dataclass(frozen=True, kw_only=True)
class Edge:
    """Spans of one operation, called by one operation of one caller."""

    number: int
    entity: EntityId
    """Whose spans they are."""

    operation: str
    caller: str
    """The entity of the parent span; empty at a root."""

    caller_operation: str
    peer: str
    """The entity that a client span calls; empty for other spans."""

    unanswered: bool
    """Whether the peer left no span of its own."""

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Edge":
        """The edge in a row of a table of edges."""
        return cls(
            number=row["number"],
            entity=EntityId(row["entity"]),
            operation=row["operation"],
            caller=row["caller"],
            caller_operation=row["caller_operation"],
            peer=row["peer"],
            unanswered=bool(row["unanswered"]),
        )

    @property
    def selection(self) -> dict[str, str]:
        """Which rows of the entity's answer are of this edge."""
        return {
            "operation": self.operation,
            "caller": self.caller,
            "caller_operation": self.caller_operation,
            "peer": self.peer,
            "unanswered": "true" if self.unanswered else "false",
        }

    @property
    def caller_entity(self) -> EntityId | None:
        """The caller, when there is one."""
        return EntityId(self.caller) if self.caller else None


@dataclass(frozen=True)
class Spans:
    """Spans by the number of their edge."""

    edges: pl.DataFrame
    """(number, owner, *EDGE, probe, entered), by number."""

    rows: Numbered

    calls: pl.DataFrame
    """(signal, reference, owner, callee, operation, caller_operation, callee_probe, owner_probe): calls that an
    operation of `owner` makes, with the number of that operation."""

    call: Numbers
    """The signal of each edge; -1 for those that no other operation makes."""

    operation: Numbers
    """The reference of each edge: the operation it is of."""

    operations: int

    def of(self, edge: Edge) -> pl.DataFrame:
        """Every row of an edge, by time."""
        return self.rows.rows([edge.number]).with_columns(probe=pl.lit(self.probe_of(edge)))

    def probe_of(self, edge: Edge) -> ProbeKey:
        """The probe whose answer holds the edge."""
        return ProbeKey(self.edges.row(edge.number, named=True)["probe"])


class TraceSums:
    """Sums per edge on both sides of a change point."""

    def __init__(self, spans: Spans, change_point: ChangePoint) -> None:
        """Assign the rows of `spans` to both sides."""
        self.by_side = PrePostSums(spans.rows, change_point)
        self._spans, self._change_point = spans, change_point
        self._every = np.arange(spans.edges.height)

    def pre_by_bucket(self, column: str) -> Matrix:
        """Per edge and bucket of history."""
        return self.by_side.pre_by_bucket(column, self._every, len(self._every))

    def pre(self, column: str) -> Matrix:
        """Per edge, over all of the history."""
        return self.by_side.pre(column, self._every, len(self._every))

    def post(self, column: str) -> Matrix:
        """Per edge, since the change point."""
        return self.by_side.post(column, self._every, len(self._every))

    @cached_property
    def count(self) -> Matrix:
        """Spans per edge and bucket of history."""
        return self.pre_by_bucket("count")

    @cached_property
    def load(self) -> dict[EntityId, "Load"]:
        """Requests of every entity that has spans since the change point."""
        return _load(self._spans, self, self._change_point)


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests of one entity since a change point, and how many there would have been at the usual rate."""

    served: float
    usual_served: float
    entered: float
    """Those that no recorded span called."""

    usual_entered: float


def numbered_spans(evidence: Evidence) -> Numbered:
    """Every answer about spans, by edge."""
    return evidence.numbered("traces", EDGE[1:], SUMS)


def read_spans(found: Numbered) -> Spans:
    """The edges, who answers for each, and the calls that operations make."""
    # An operation that others call is entered by nobody: its callers' spans are only not finished yet.
    called = (pl.col("caller") != "").any().over("entity", "operation")
    edges = _owned(found.names).with_columns(entered=(pl.col("caller") == "") & ~called)
    operations = edges.select("entity", "operation").unique().sort("entity", "operation").with_row_index("reference")
    probes = edges.select("entity", "probe").unique("entity", maintain_order=True)
    keys = ["owner", "callee", "operation", "caller_operation"]
    calls = (
        edges.filter(pl.col("caller") != "")
        .select("operation", "caller_operation", owner="caller", callee="entity")
        .unique()
        .join(operations.rename({"entity": "owner", "operation": "caller_operation"}), on=["owner", "caller_operation"])
        .join(probes.select(callee="entity", callee_probe="probe"), on="callee")
        .join(probes.select(owner="entity", owner_probe="probe"), on="owner")
        .sort(keys)
        .with_row_index("signal")
        .with_columns(pl.col("signal", "reference").cast(pl.Int64))
    )
    return Spans(
        edges=edges,
        rows=found,
        calls=calls,
        call=numbers_in(
            calls,
            "signal",
            edges.with_columns(caller=pl.when(pl.col("caller") != "").then("caller")),
            {"caller": "owner", "entity": "callee", "operation": "operation", "caller_operation": "caller_operation"},
        ),
        operation=numbers_in(operations, "reference", edges, {"entity": "entity", "operation": "operation"}),
        operations=operations.height,
    )


def _owned(spans: pl.DataFrame) -> pl.DataFrame:
    """Who answers for a row: the peer of a call that left no span there, otherwise the span's own entity."""
    own = spans["entity"].unique().to_list()
    uninstrumented = (pl.col("peer") != "") & ~pl.col("peer").is_in(own)
    lost = (pl.col("peer") != "") & pl.col("unanswered")
    return spans.with_columns(owner=pl.when(uninstrumented | lost).then(pl.col("peer")).otherwise(pl.col("entity")))


def _load(spans: Spans, sums: TraceSums, change_point: ChangePoint) -> dict[EntityId, Load]:
    """Requests per entity. The usual rate is that of the buckets of history in which anything was recorded."""
    if not sums.count.any():
        return {}
    buckets = _buckets_recorded(spans, sums, change_point)
    length = (change_point.post.end - change_point.at) / change_point.bucket
    names = spans.edges["entity"].unique().sort()
    entity = numbers_in(names.to_frame().with_row_index(), "index", spans.edges, {"entity": "entity"})
    present = sums.by_side.pre_by_bucket("count", entity, len(names)) > 0

    def requests(counts: Matrix) -> tuple[Matrix, Matrix]:
        thing = np.where(counts, entity, -1)
        before = sums.by_side.pre_by_bucket("count", thing, len(names))
        # The last bucket may lack spans that had not ended: where traffic is steady, the median is the better rate.
        usual = median_of(np.where(present, before, np.nan), present.sum(axis=1))
        rate: Matrix = np.maximum(before.sum(axis=1) / buckets, np.nan_to_num(usual))
        return sums.by_side.post("count", thing, len(names)), rate * length

    served, usual_served = requests((spans.edges["caller"] != spans.edges["entity"]).to_numpy())
    entered, usual_entered = requests(spans.edges["entered"].to_numpy())
    now = sums.by_side.post("count", entity, len(names)) > 0
    return {
        EntityId(name): Load(
            served=float(served[row]),
            usual_served=float(usual_served[row]),
            entered=float(entered[row]),
            usual_entered=float(usual_entered[row]),
        )
        for row, name in enumerate(names)
        if now[row]
    }


def _buckets_recorded(spans: Spans, sums: TraceSums, change_point: ChangePoint) -> float:
    """Buckets of history in which anything was recorded; the first one only as far as the recording reaches into it."""
    recorded = np.nonzero(sums.count.any(axis=0))[0]
    first = moment_of(spans.rows.at.min())
    missing: float = (first - (change_point.at - (int(recorded[-1]) + 1) * change_point.bucket)) / change_point.bucket
    return max(1e-3, len(recorded) - missing)
