"""Where requests fail with an error that originates there: none of the calls they made has failed."""

import math
from dataclasses import dataclass

import polars as pl

from activities.analysis.change_points import ChangePoint
from activities.analysis.parameters import Kinds, Parameters
from activities.analysis.traces.mechanism import TraceMechanism
from activities.analysis.traces.spans import EDGE, Edge, TraceSums
from activities.analysis.traces.time_lost import shared_between_ends
from activities.analysis.wording import name_of, number
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import AllOf, RowCount


@dataclass(frozen=True, kw_only=True)
class FailingEdge:
    """The edge on which most errors above the usual rate originate."""

    edge: Edge
    failed: int
    count: int


class OriginatingErrors(TraceMechanism[FailingEdge]):
    """Errors above the usual rate."""

    def compare(self, change_point: ChangePoint, sums: TraceSums) -> None:
        """Add each entity's share of the errors above the usual rate."""
        now = self.spans.edges.with_columns(
            count=pl.Series(sums.post("count")).cast(pl.Int64),
            originating_errors=pl.Series(sums.post("originating_errors")).cast(pl.Int64),
            count_before=pl.Series(sums.pre("count")),
            errors_before=pl.Series(sums.pre("originating_errors")),
        ).filter(pl.col("count") > 0)
        failing = self._above_usual(now)
        total = float(failing["excess"].sum())
        if total <= 0:
            return
        served = now.filter(pl.col("caller") != pl.col("entity")).group_by("entity").agg(pl.col("count").sum())
        busiest = max((float(count) for count in served["count"]), default=0.0)
        scale = self.parameters.failure_scale + self.parameters.failure_share * busiest
        for (name,), rows in failing.group_by("owner", maintain_order=True):
            excess = float(rows["excess"].sum())
            strength = (1 - math.exp(-excess / scale)) * math.sqrt(excess / total)
            row = rows.sort("excess", maintain_order=True).row(-1, named=True)
            detail = FailingEdge(edge=Edge.of(row), failed=int(row["originating_errors"]), count=int(row["count"]))
            self.averages.add(EntityId(str(name)), strength, change_point, detail)

    def _above_usual(self, now: pl.DataFrame) -> pl.DataFrame:
        keys = ["owner", *EDGE]
        usual = (pl.col("errors_before") + 0.5) / (pl.col("count_before") + 1)
        expected = pl.when(pl.col("count_before") > 0).then(usual).otherwise(0.0) * pl.col("count")
        rows = now.sort(keys).with_columns(excess=(pl.col("originating_errors") - expected).clip(0))
        rows = shared_between_ends(rows, pl.col("excess").sum() / pl.col("count").sum(), self.parameters)
        failing = rows.filter(pl.col("originating_errors") > 0)
        return _given_up(failing, self.spans.edges["entity"].unique().to_list(), self.parameters).sort(keys)

    def finding(
        self, entity: EntityId, strength: float, change_point: ChangePoint, detail: FailingEdge
    ) -> Finding | None:
        """How many requests of the edge fail."""
        edge, rows = detail.edge, self.spans.of(detail.edge)
        counts = (("originating_errors", detail.failed), ("count", detail.count))
        late = _unreached(entity, edge) and not edge.unanswered
        return self.factory.counted(
            rows,
            family=FindingFamily.TRACE,
            mechanism=Mechanism.LATE_ANSWERS if late else Mechanism.ORIGINATING_ERRORS,
            entity=entity,
            signal=edge.operation,
            summary=_sentence(entity, detail),
            direction=Direction.APPEARED,
            strength=strength,
            fault_kinds=dict(_kinds(entity, edge, self.parameters)),
            predicate=AllOf(
                parts=tuple(
                    RowCount(
                        probe_key=self.spans.probe_of(edge),
                        select=edge.selection,
                        column=column,
                        window=change_point.post,
                        at_least=count,
                        at_most=count,
                    )
                    for column, count in counts
                )
            ),
            column="originating_errors",
            since=change_point.at,
            caller=edge.caller_entity,
        )


def _given_up(failing: pl.DataFrame, own: list[str], parameters: Parameters) -> pl.DataFrame:
    """Calls that failed although the callee answered, too late or elsewhere: shared with the callee."""
    given_up = (pl.col("owner") == pl.col("entity")) & pl.col("peer").is_in(own) & ~pl.col("unanswered")
    calls = failing.filter(given_up)
    if calls.is_empty():
        return failing
    part = parameters.half_confidence
    callers = calls.with_columns(excess=pl.col("excess") * (1 - part))
    callees = calls.with_columns(excess=pl.col("excess") * part, owner=pl.col("peer"))
    return pl.concat([failing.filter(~given_up), callers, callees])


def _unreached(entity: EntityId, edge: Edge) -> bool:
    """Whether the errors are of calls that others make to the entity."""
    return bool(edge.peer) and edge.entity != entity


def _sentence(entity: EntityId, detail: FailingEdge) -> str:
    edge, share = detail.edge, f"{number(detail.failed)} of {number(detail.count)}"
    if not _unreached(entity, edge):
        what = f"{share} requests {edge.operation} at {name_of(entity)}"
        return f"{what} fail with an error originating there"
    how = "without an answer" if edge.unanswered else "although it answers"
    return f"{share} calls of {name_of(edge.entity)} to {name_of(entity)} fail {how}"


def _kinds(entity: EntityId, edge: Edge, parameters: Parameters) -> Kinds:
    if _unreached(entity, edge):
        return parameters.kinds_unanswered if edge.unanswered else parameters.kinds_given_up
    if edge.peer and edge.unanswered:
        return parameters.kinds_unanswered_one_caller
    return ((FaultKind.ERROR, 1.0),)
