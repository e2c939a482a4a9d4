"""A rollout of the consumer that takes its time with every order, so that the queue grows."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "fulfilment"


def inject(stage: Stage, name: str) -> Injected:
    """Roll it out with a defect."""
    change = stage.redeploy(
        name,
        revision="r2",
        defect="dawdles",
        title=f"Roll out {name} r2",
        detail="Ask the carrier for a label before the order is fulfilled.",
    )
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.LATENCY, change_id=change.id)
