"""Where far more requests enter the system than usual; who only passes them on is no suspect."""

import math

import polars as pl

from activities.analysis.change_points import ChangePoint
from activities.analysis.traces.mechanism import TraceMechanism
from activities.analysis.traces.spans import Load, TraceSums
from activities.analysis.wording import name_of, number
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import RowCount


class LoadSurge(TraceMechanism[Load]):
    """Requests that no recorded span made, above the usual rate."""

    def compare(self, change_point: ChangePoint, sums: TraceSums) -> None:
        """Add each entity's surge."""
        for name, load in sorted(sums.load.items()):
            more = load.entered - load.usual_entered
            if more <= 0:
                continue
            floor = self.parameters.noise_floor * load.usual_entered
            squared = more**2 / (load.usual_entered + 1 + floor**2)
            grown = math.log((load.entered + 1) / (load.usual_entered + 1)) / math.log(self.parameters.surge_full)
            weight = squared / (squared + self.parameters.half_saturation**2)
            self.averages.add(name, weight * min(1.0, max(0.0, grown)), change_point, load)

    def finding(self, entity: EntityId, strength: float, change_point: ChangePoint, detail: Load) -> Finding | None:
        """How many requests of the busiest operation enter."""
        edges = self.spans.edges.filter(pl.col("entity") == entity, pl.col("caller") == "")
        own = self.spans.rows.rows(edges["number"]).join(edges, on="number")
        busiest = (
            own.filter(pl.col("ts") >= change_point.at)
            .group_by("operation", "peer", "unanswered", "probe")
            .agg(pl.col("count").sum())
        )
        if busiest.is_empty():
            return None
        row = busiest.sort("count", "operation", descending=[True, False]).row(0, named=True)
        return self.factory.counted(
            own.filter(pl.col("operation") == row["operation"]).sort("ts"),
            family=FindingFamily.TRACE,
            mechanism=Mechanism.LOAD_SURGE,
            entity=entity,
            signal=str(row["operation"]),
            summary=(
                f"{number(row['count'])} requests {row['operation']} enter at {name_of(entity)} "
                f"since {change_point.at:%H:%M:%S}"
            ),
            note=f"usually about {number(round(detail.usual_entered))} of all kinds",
            direction=Direction.UP,
            strength=strength,
            fault_kinds={FaultKind.TRAFFIC: 1.0},
            predicate=RowCount(
                probe_key=ProbeKey(row["probe"]),
                select={
                    "operation": row["operation"],
                    "caller": "",
                    "peer": row["peer"],
                    "unanswered": "true" if row["unanswered"] else "false",
                },
                column="count",
                window=change_point.post,
                at_least=float(row["count"]),
                at_most=float(row["count"]),
            ),
            column="count",
            since=change_point.at,
        )
