"""Many more people than on other days."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "storefront"


TIMES = 9


def inject(stage: Stage, name: str) -> Injected:
    """Let them come."""
    stage.requests_per_second *= TIMES
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.TRAFFIC)
