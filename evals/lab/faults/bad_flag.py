"""A feature flag under which a service asks others once for each of many items."""

from evals.lab.faults import Injected
from evals.lab.service import EACH_ITEM
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "cart"


def inject(stage: Stage, name: str) -> Injected:
    """Turn the flag on."""
    change = stage.flip(name, EACH_ITEM, title=f"Turn {EACH_ITEM} on for {name}")
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.BEHAVIOUR, change_id=change.id)
