"""A rollout that keeps what it should forget, until the keeper kills it for its memory."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id


def inject(stage: Stage) -> Injected:
    """Roll the recommendations out with a leak."""
    name = stage.shop.service_for("recommend")
    change = stage.redeploy(
        name,
        revision="r2",
        defect="leaks",
        title=f"Roll out {name} r2",
        detail="Remember every suggestion, so that it need not be computed again.",
    )
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.MEMORY, change_id=change.id)
