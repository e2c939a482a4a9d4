"""Calls per operation that kept a constant ratio and no longer do; the caller answers for its path."""

from dataclasses import dataclass

import polars as pl

from activities.analysis.change_points import ChangePoint
from activities.analysis.invariants import counted, invariant_violations
from activities.analysis.traces.mechanism import TraceMechanism
from activities.analysis.traces.spans import Spans, TraceSums
from activities.analysis.wording import name_of, number
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import AllOf, RowCount


@dataclass(frozen=True, kw_only=True)
class CallRatio:
    """How often one operation called another, and how often it usually does in as many requests."""

    operation: str
    callee: EntityId
    caller_operation: str
    seen: float
    expected: float
    requests: float
    callee_probe: ProbeKey
    owner_probe: ProbeKey


class Calls(TraceMechanism[CallRatio]):
    """Calls that are missing or additional."""

    def compare(self, change_point: ChangePoint, sums: TraceSums) -> None:
        """Add the violated ratios of each caller; calls without an answer have not vanished."""
        violated = invariant_violations(
            self.spans.calls.select("signal", "reference"),
            counted(sums.by_side, self.spans.call, self.spans.calls.height),
            counted(sums.by_side, self.spans.operation, self.spans.operations),
            self.parameters,
        ).join(self.spans.calls.drop("reference"), on="signal")
        missing = pl.col("expected") - pl.col("seen")
        lost = (pl.col("lost").fill_null(0) / missing).clip(0, 1)
        path = ["owner", "caller_operation", "callee"]
        found = (
            violated.join(_unanswered(self.spans, sums), on=path, how="left")
            .with_columns(strength=pl.col("strength") * pl.when(missing > 0).then(1 - lost).otherwise(1.0))
            .sort("owner", "strength", "signal", descending=[False, True, False])
            .with_columns(total=pl.col("strength").sum().over("owner"))
            .unique("owner", keep="first", maintain_order=True)
        )
        for row in found.iter_rows(named=True):
            detail = CallRatio(
                operation=row["operation"],
                callee=EntityId(row["callee"]),
                caller_operation=row["caller_operation"],
                seen=row["seen"],
                expected=row["expected"],
                requests=row["references"],
                callee_probe=ProbeKey(row["callee_probe"]),
                owner_probe=ProbeKey(row["owner_probe"]),
            )
            self.averages.add(EntityId(row["owner"]), row["total"], change_point, detail)

    def finding(
        self, entity: EntityId, strength: float, change_point: ChangePoint, detail: CallRatio
    ) -> Finding | None:
        """How many calls in how many requests."""
        more = detail.seen > detail.expected
        calls = RowCount(
            probe_key=detail.callee_probe,
            select={
                "operation": detail.operation,
                "caller": entity,
                "caller_operation": detail.caller_operation,
            },
            column="count",
            window=change_point.post,
            at_least=detail.seen,
            at_most=detail.seen,
        )
        requests = RowCount(
            probe_key=detail.owner_probe,
            select={"operation": detail.caller_operation},
            column="count",
            window=change_point.post,
            at_least=detail.requests,
            at_most=detail.requests,
        )
        return self.factory.stated(
            family=FindingFamily.TRACE,
            mechanism=Mechanism.EXTRA_CALL if more else Mechanism.MISSING_CALL,
            entity=entity,
            signal=f"{detail.caller_operation} to {detail.operation}",
            summary=(
                f"{detail.caller_operation} at {name_of(entity)} makes {number(detail.seen)} calls of "
                f"{detail.operation} at {name_of(detail.callee)} in {number(detail.requests)} requests"
            ),
            direction=Direction.UP if more else Direction.VANISHED if detail.seen == 0 else Direction.DOWN,
            strength=strength,
            fault_kinds=dict(self.parameters.kinds_calls),
            predicate=AllOf(parts=(calls, requests)),
            note=f"usually about {number(round(detail.expected))}",
        )


def _unanswered(spans: Spans, sums: TraceSums) -> pl.DataFrame:
    """Calls (owner, caller_operation, callee, lost) that were made and got no answer: their path did not change."""
    now = spans.edges.with_columns(count=pl.Series(sums.post("count")))
    return (
        now.filter(pl.col("unanswered"), pl.col("peer") != "", pl.col("count") > 0)
        .group_by(owner="entity", caller_operation="operation", callee="peer")
        .agg(lost=pl.col("count").sum())
    )
