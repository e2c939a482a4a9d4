"""A rollout that does not give its database connections back, until its pool is empty."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "inventory"


def inject(stage: Stage, name: str) -> Injected:
    """Roll it out with a defect."""
    change = stage.redeploy(
        name,
        revision="r2",
        defect="leaks",
        title=f"Roll out {name} r2",
        detail="Keep the connection between statements; saves a round trip.",
    )
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.SATURATION, change_id=change.id)
