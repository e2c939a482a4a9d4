"""What may have caused the incident."""

from typing import Annotated

from pydantic import Field

from workflows.contracts.contract import Contract, OpenEnum
from workflows.contracts.identifiers import EntityId


class FaultKind(OpenEnum):
    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    NETWORK = "network"
    LATENCY = "latency"
    ERROR = "error"
    CRASH = "crash"
    LOCK = "lock"
    SATURATION = "saturation"
    BEHAVIOUR = "behaviour"
    """Requests succeed but take another path or return something else."""

    TRAFFIC = "traffic"
    EXPIRY = "expiry"
    """Something with a deadline (a certificate, a lease, a quota's period) reached it."""

    CONFIGURATION = "configuration"
    """It was set up in a way that cannot work: an image, a name, a limit or a probe that does not fit."""

    UNKNOWN = "unknown"


class Contribution(Contract):
    """How much one finding moved one hypothesis."""

    finding_key: str
    log_odds: float
    """Added to the hypothesis's log-odds; negative when it speaks against."""

    reason: str


class Hypothesis(Contract):
    """(entity, fault kind, mechanism) with its probability."""

    rank: Annotated[int, Field(ge=1)]
    entity: EntityId | None
    """None is "none of these": the cause lies outside what was looked at, or there is no fault."""

    fault_kind: FaultKind
    mechanism: str
    """How the cause brings about the symptoms, in one sentence."""

    probability: Annotated[float, Field(ge=0, le=1)]
    supporting: tuple[Contribution, ...] = ()
    contradicting: tuple[Contribution, ...] = ()
    change_id: str | None = None
    """The change that brought the fault in, when one did."""
