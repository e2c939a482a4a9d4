"""Database connections that are not given back any more, until the pool is empty; nobody changed anything."""

from evals.lab.faults import Injected
from evals.lab.service import LEAK
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "cart"


def inject(stage: Stage, name: str) -> Injected:
    """Let it leak."""
    stage.misbehave(name, LEAK)
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.SATURATION)
