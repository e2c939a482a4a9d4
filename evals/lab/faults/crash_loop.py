"""A rollout that ends at once, each time it is started."""

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
        defect="exits",
        title=f"Roll out {name} r2",
        detail="Set the pool's size from the settings.",
    )
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.CRASH, change_id=change.id)
