"""A process that stops for good: its port is open, and nobody answers."""

import signal

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "catalog"


def inject(stage: Stage, name: str) -> Injected:
    """Stop it."""
    stage.signal(name, signal.SIGSTOP)
    return Injected(
        entity=entity_id(EntityKind.SERVICE, name),
        fault_kind=FaultKind.CRASH,
        undo=lambda: stage.signal(name, signal.SIGCONT),
    )
