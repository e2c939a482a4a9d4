"""A rollout whose code throws on most requests."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "payment"


def inject(stage: Stage, name: str) -> Injected:
    """Roll it out with a defect."""
    change = stage.redeploy(
        name,
        revision="r2",
        defect="throws",
        title=f"Roll out {name} r2",
        detail="Read the tax rate from the table of rates instead of a constant.",
    )
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.ERROR, change_id=change.id)
