"""Time that calls lose between two entities: in the network, or waiting before the callee begins."""

from activities.analysis.change_points import ChangePoint
from activities.analysis.finding_factory import Shift
from activities.analysis.traces.mechanism import TraceMechanism
from activities.analysis.traces.spans import TraceSums
from activities.analysis.traces.time_lost import TimeLost, time_lost
from activities.analysis.wording import name_of
from workflows.contracts.finding import Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId


class NetworkTime(TraceMechanism[TimeLost]):
    """The caller's time around a request that its callee did not account for, above its history."""

    def compare(self, change_point: ChangePoint, sums: TraceSums) -> None:
        """Add each entity's share of the time lost on its edges."""
        for item in time_lost(self.spans, sums, self.evidence, self.parameters).between:
            self.averages.add(item.entity, item.strength, change_point, item)

    def finding(self, entity: EntityId, strength: float, change_point: ChangePoint, detail: TimeLost) -> Finding | None:
        """Time per call of the edge that lost most."""
        edge = detail.edge
        caller = EntityId(edge.caller)
        return self.factory.shifted(
            Shift(
                rows=self.spans.of(edge),
                select=edge.selection,
                column="gap_us",
                per="count",
                change_point=change_point,
            ),
            family=FindingFamily.TRACE,
            mechanism=Mechanism.NETWORK_TIME_RISE,
            entity=entity,
            signal=f"{caller} to {edge.entity}",
            what=f"Network or queueing time from {name_of(caller)} to {edge.operation} at {name_of(edge.entity)}",
            strength=strength,
            fault_kinds=_kinds(detail.slowed_inside),
            caller=caller,
        )


def _kinds(slowed_inside: float) -> dict[FaultKind, float]:
    """Time lost before an answer begins: in the network when the work is as quick as ever, else in the process."""
    if slowed_inside > 0.5:
        return {FaultKind.LATENCY: 0.8, FaultKind.CPU: 0.1, FaultKind.SATURATION: 0.1}
    return {FaultKind.NETWORK: 0.8, FaultKind.SATURATION: 0.2}
