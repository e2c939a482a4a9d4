"""A certificate that nobody renewed reaches its end; whoever checks it hangs up."""

import time
from datetime import timedelta

from evals.lab.faults import Injected
from evals.lab.stage import Stage, now
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.topology import EntityKind, entity_id

ROLE = "payment"


AFTER_START = timedelta(seconds=150)
"""When it ends, counted from the shop's start."""


def arrange(stage: Stage, name: str) -> None:
    """Issue a certificate that ends during the recording."""
    stage.certificates_end[name] = now() + AFTER_START


def inject(stage: Stage, name: str) -> Injected:
    """Wait until it ends."""
    time.sleep(max(0.0, (stage.certificates_end[name] - now()).total_seconds()))
    return Injected(entity=entity_id(EntityKind.SERVICE, name), fault_kind=FaultKind.EXPIRY)
