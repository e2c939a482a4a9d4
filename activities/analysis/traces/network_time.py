"""Time that calls lose between two entities: in the network, or waiting before the callee begins."""

from activities.analysis.change_points import ChangePoint
from activities.analysis.finding_factory import Shift
from activities.analysis.parameters import Kinds
from activities.analysis.traces.mechanism import TraceMechanism
from activities.analysis.traces.spans import TraceSums
from activities.analysis.traces.time_lost import TimeLost, time_lost
from activities.analysis.wording import name_of
from workflows.contracts.finding import Finding, FindingFamily, Mechanism
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
            fault_kinds=dict(self._kinds(detail.slowed_inside)),
            caller=caller,
        )

    def _kinds(self, slowed_inside: float) -> Kinds:
        """Time lost before an answer begins: in the network when the work is as quick as ever, else in the process."""
        queueing = slowed_inside > self.parameters.queueing_from
        return self.parameters.kinds_queueing_time if queueing else self.parameters.kinds_network_time
