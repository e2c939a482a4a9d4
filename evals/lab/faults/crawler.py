"""A service that suddenly asks the others far more than people do."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "recommend"


def inject(stage: Stage, name: str) -> Injected:
    """Start its crawler."""
    stage.misbehave(name, "crawl")
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.TRAFFIC)
