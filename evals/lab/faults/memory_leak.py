"""A feature flag under which a service keeps what it should forget, until the keeper kills it for its memory."""

from evals.lab.faults import Injected
from evals.lab.service import REMEMBER
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "recommend"


def inject(stage: Stage, name: str) -> Injected:
    """Turn the flag on."""
    change = stage.flip(name, REMEMBER, title=f"Turn {REMEMBER} on for {name}")
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.MEMORY, change_id=change.id)
