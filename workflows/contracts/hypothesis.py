"""What may have caused the incident."""

from typing import Annotated

from pydantic import Field

from workflows.contracts.contract import Contract, OpenEnum
from workflows.contracts.identifiers import EntityId


class FaultKind(OpenEnum):
    """What is wrong with a root cause, or how a fault shows."""

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


class ContributionTerm(OpenEnum):
    """What a part of a hypothesis's score comes from."""

    FINDING = "finding"
    CHANGE = "change"
    """A change shortly before the onset, or its absence."""

    ALERT = "alert"
    """An alert names the entity."""

    HINT = "hint"
    """A person named the entity."""

    FACT = "fact"
    """Somebody knows that a symptom is expected, or that the entity is a weak point."""

    PAST = "past"
    """A person confirmed it as the root cause of a similar incident."""

    OPINION = "opinion"
    """A language model finds it more or less likely; bounded, and no evidence."""

    INSTANCES = "instances"
    """What all instances of a workload show alike speaks for the workload."""

    WORKLOAD = "workload"
    """What all instances of a workload show alike speaks less for one of them."""

    SMALLER = "smaller"
    """The sum of all findings that are too small to be listed."""

    THRESHOLD = "threshold"
    """The score that an entity has to pass to be more likely than no root cause at all."""

    UNKNOWN = "unknown"


class Contribution(Contract):
    """One term of a hypothesis's score."""

    term: ContributionTerm = ContributionTerm.FINDING
    finding_key: str = ""
    """The finding it comes from; empty for terms that come from none."""

    log_odds: float
    """Added to the hypothesis's score; negative when it speaks against."""

    reason: str


class Hypothesis(Contract):
    """(entity, fault kind, mechanism) with its probability."""

    rank: Annotated[int, Field(ge=1)]
    entity: EntityId | None
    """None is "no root cause identified": it lies outside of what was looked at, or there is no fault."""

    fault_kind: FaultKind
    fault_kind_probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How probable this kind is, given that the entity is the root cause; 0 in reports of versions before 0.5."""

    score: float = 0.0
    """Log-odds of the entity's evidence: the sum of all contributions."""

    mechanism: str
    """How the cause brings about the symptoms, in one sentence."""

    probability: Annotated[float, Field(ge=0, le=1)]
    supporting: tuple[Contribution, ...] = ()
    contradicting: tuple[Contribution, ...] = ()
    change_id: str | None = None
    """The change that brought the fault in, when one did."""
