"""A process that stops for good: its port is open, and nobody answers."""

import signal

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id


def inject(stage: Stage) -> Injected:
    """Stop the catalogue."""
    name = stage.shop.service_for("catalog")
    stage.signal(name, signal.SIGSTOP)
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.CRASH)
