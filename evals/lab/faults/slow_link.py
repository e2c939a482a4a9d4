"""A link that lets little through, so that packets wait."""

from evals.lab.faults import Injected
from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "shipping"


def arrange(stage: Stage, name: str) -> None:
    """Give the service a network of its own."""
    stage.isolated.append(name)


def inject(stage: Stage, name: str) -> Injected:
    """Throttle what goes to it.

    Raises:
        ImpossibleHereError: this machine has no namespaces, or no traffic control.
    """
    stage.networks[name].throttle(rate="8kbit", queue="60kb")
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.NETWORK)
