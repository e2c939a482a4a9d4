"""A rollout that keeps every answer it gave, until the keeper kills it for its memory."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "cart"


def inject(stage: Stage, name: str) -> Injected:
    """Roll it out with a defect."""
    change = stage.redeploy(
        name,
        revision="r2",
        defect="remembers",
        title=f"Roll out {name} r2",
        detail="Keep the last answers at hand, so that a repeated question is answered at once.",
    )
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.MEMORY, change_id=change.id)
