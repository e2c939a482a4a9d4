"""A process that gets little time: stopped and continued in turns, so that every request through it takes long."""

import signal
import threading

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "shipping"


def inject(stage: Stage, name: str) -> Injected:
    """Freeze it for most of every second."""

    def stall(ending: threading.Event) -> None:
        while not ending.is_set():
            stage.signal(name, signal.SIGSTOP)
            ending.wait(0.9)
            stage.signal(name, signal.SIGCONT)
            ending.wait(0.1)

    stage.in_background(stall)
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.LATENCY)
