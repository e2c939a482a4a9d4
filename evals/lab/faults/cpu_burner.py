"""A process that computes without end beside its requests, and takes the time from them."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "payment"


def inject(stage: Stage, name: str) -> Injected:
    """Let it burn."""
    stage.misbehave(name, "burn")
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.CPU)
