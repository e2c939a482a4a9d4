"""A volume without room: something left a file there, and the service cannot write its journal."""

from evals.lab.faults import Injected
from evals.lab.machine import ImpossibleHereError
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "payment"


def inject(stage: Stage, name: str) -> Injected:
    """Fill it.

    Raises:
        ImpossibleHereError: the service's folder is no volume of its own on this machine.
    """
    volume = stage.volumes[name]
    if not volume.is_mount():
        raise ImpossibleHereError("a volume of a few megabytes cannot be mounted here: run as root")
    try:
        with (volume / "core").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
    except OSError:
        pass  # full
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.DISK)
