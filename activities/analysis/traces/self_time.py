"""Where requests spend more time in an entity's own work, or waiting for something that leaves no spans."""

from activities.analysis.change_points import ChangePoint
from activities.analysis.finding_factory import Shift
from activities.analysis.parameters import Kinds
from activities.analysis.traces.mechanism import TraceMechanism
from activities.analysis.traces.spans import Edge, TraceSums
from activities.analysis.traces.time_lost import TimeLost, time_lost
from activities.analysis.wording import name_of
from workflows.contracts.finding import Finding, FindingFamily, Mechanism
from workflows.contracts.identifiers import EntityId


class SelfTime(TraceMechanism[TimeLost]):
    """Self time above its history."""

    def compare(self, change_point: ChangePoint, sums: TraceSums) -> None:
        """Add what each entity loses by itself."""
        for item in time_lost(self.spans, sums, self.evidence, self.parameters).inside:
            self.averages.add(item.entity, item.strength, change_point, item)

    def finding(self, entity: EntityId, strength: float, change_point: ChangePoint, detail: TimeLost) -> Finding | None:
        """Self time per request of the edge that lost most."""
        edge = detail.edge
        return self.factory.shifted(
            Shift(
                rows=self.spans.of(edge),
                select=edge.selection,
                column="self_us",
                per="count",
                change_point=change_point,
            ),
            family=FindingFamily.TRACE,
            mechanism=Mechanism.SELF_TIME_RISE,
            entity=entity,
            signal=edge.operation,
            what=_what(edge),
            strength=strength,
            fault_kinds=dict(self._kinds(edge, entity)),
            caller=edge.caller_entity,
        )

    def _kinds(self, edge: Edge, entity: EntityId) -> Kinds:
        if edge.peer and edge.entity != entity:
            return self.parameters.kinds_wait_of_callers
        return self.parameters.kinds_wait_of_one_caller if edge.peer else self.parameters.kinds_self_time


def _what(edge: Edge) -> str:
    owner = name_of(edge.entity)
    if edge.peer:
        return f"Waiting for {name_of(EntityId(edge.peer))} in {edge.operation} at {owner}"
    return f"Self time of {edge.operation} at {owner}"
