"""Facts computed from observations. Every family states its evidence in the same shape."""

from typing import Annotated

from pydantic import Field

from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import Digest, EntityId, ProbeKey
from workflows.contracts.predicate import Predicate


class FindingFamily(OpenEnum):
    METRIC = "metric"
    TRACE = "trace"
    LOG = "log"
    CLUSTER = "cluster"
    CHANGE = "change"
    MEMORY = "memory"
    UNKNOWN = "unknown"


class Mechanism(OpenEnum):
    """What kind of sign a finding is."""

    SELF_TIME_RISE = "self_time_rise"
    """An entity takes longer for its own work."""

    NETWORK_TIME_RISE = "network_time_rise"
    """Calls take longer than the callee works for them: network or queueing time."""

    ORIGINATING_ERRORS = "originating_errors"
    """Requests fail with an error originating there, not in anything that is called."""

    SLOW_REQUESTS = "slow_requests"
    """Requests take longer by metrics, beyond what its callees' metrics say: its own time, or the way to a callee."""

    FAILED_REQUESTS = "failed_requests"
    """Requests fail by metrics, beyond what fails in its callees: there, or in calls that no callee counts."""

    LATE_ANSWERS = "late_answers"
    """Calls fail although the callee answers them: too late, or elsewhere."""

    LOGGED_FAILED_CALLS = "logged_failed_calls"
    """Callers log that calls of an entity fail."""

    MISSING_CALL = "missing_call"
    """An operation calls something less often than it did."""

    EXTRA_CALL = "extra_call"
    """An operation calls something more often than it did."""

    LOAD_SURGE = "load_surge"
    """Far more requests enter the system than usual."""

    NEW_TEMPLATE = "new_template"
    MISSING_TEMPLATE = "missing_template"
    TEMPLATE_RATE = "template_rate"
    """A log template occurs more or less often than what it used to go along with."""

    METRIC_DEVIATION = "metric_deviation"
    FIRING_ALERT = "firing_alert"
    """An alert of a monitoring system about the entity fires more or less often than it did."""

    SATURATION = "saturation"
    """The use of a capacity is nearly all of it."""

    TREND = "trend"
    """An amount grew for longer than any candidate onset."""

    EXPIRY = "expiry"
    """A countdown reached zero."""

    CONDITION = "condition"
    """The state of a cluster object."""

    DEAD_HOST = "dead_host"
    """What runs on it is down at once, and hardly anything elsewhere."""

    CHANGE = "change"
    PAST_INCIDENT = "past_incident"
    """An earlier incident showed much the same."""

    CONFIRMED_CAUSE = "confirmed_cause"
    """The same, and a person confirmed its root cause."""

    EXPECTED = "expected"
    """Somebody knows of this symptom, and that it is no fault."""

    KNOWN_CAUSE = "known_cause"
    """Somebody knows of this weak point."""

    UNKNOWN = "unknown"


class Direction(OpenEnum):
    UP = "up"
    DOWN = "down"
    APPEARED = "appeared"
    VANISHED = "vanished"
    UNKNOWN = "unknown"


class EvidenceRef(Contract):
    """Where a fact can be looked up again."""

    probe_key: ProbeKey
    artifact: Digest


class Finding(Contract):
    """A fact about one entity."""

    key: str
    """Content-derived, unique within the investigation."""

    family: FindingFamily
    mechanism: Mechanism = Mechanism.UNKNOWN
    """`unknown` in findings of versions before 0.5."""

    entity: EntityId
    signal: str
    """What moved: a metric's name, a span path, a log template, a condition, a change's id."""

    summary: str
    """One sentence with the numbers in it, written by code; the predicate states the same."""

    note: str = ""
    """Why the engine finds it significant (an expectation, a coincidence in time); judgement, not evidence."""

    direction: Direction
    strength: Annotated[float, Field(ge=0, le=1)]
    """How strongly the answers say so: 0 is nothing, 1 cannot be stronger."""

    onset: Instant | None = None
    """When it began; None when the answer does not say."""

    ended: Instant | None = None
    """Since when what moved has been back near what it was; None where it is not, or where that cannot be seen."""

    fault_kinds: dict[FaultKind, float] = Field(default_factory=dict)
    """Which kinds of fault this speaks for, as weights that sum to at most one."""

    caller: EntityId | None = None
    """For a finding about an edge: the entity at its other end."""

    evidence: tuple[EvidenceRef, ...]
    predicate: Predicate
    """The statement code evaluates again before anything is published."""

    about: tuple[str, ...] = ()
    """For what memory says: keys of the findings that it is about."""

    series: tuple[tuple[float, float], ...] = ()
    """At most 60 (seconds relative to the alert, value) points for a small chart."""

    unit: str = ""
