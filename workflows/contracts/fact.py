"""What people know of their systems and nobody wrote down: a typed statement, and when it holds."""

from datetime import timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityName

LONGEST_STATEMENT = 1_000
LONGEST_LASTING = timedelta(days=31)


class FactEffect(OpenEnum):
    """What a fact does to the ranking where it applies."""

    EXPECTED = "expected"
    """A symptom of the subject is expected: it counts less as a sign of a fault."""

    KNOWN_CAUSE = "known_cause"
    """The subject is a known weak point: a little more probable as root cause."""

    NOTE = "note"
    """It is shown and changes nothing."""

    UNKNOWN = "unknown"


class FactState(OpenEnum):
    """What people decided about a fact; the last decision counts."""

    PROPOSED = "proposed"
    """Nobody has accepted it yet: it is not used."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    """It was accepted once and is no longer true."""

    UNKNOWN = "unknown"


class FactCondition(Contract):
    """When a fact holds; every part that is given must be met."""

    recurrence: Annotated[str, Field(max_length=500)] = ""
    """An RRULE (RFC 5545, section 3.3.10) such as `FREQ=WEEKLY;BYDAY=SU`; empty: at all times."""

    begins_at: Instant | None = None
    """The recurrence's first occurrence (DTSTART)."""

    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    """By whose clock it recurs, as `Europe/Paris`: two o'clock stays two o'clock when the clocks change."""

    lasts: timedelta | None = None
    """How long an occurrence lasts."""

    after_change: timedelta | None = None
    """Only within so long after a change of the subject."""

    labels: Annotated[dict[str, str], Field(max_length=20)] = Field(default_factory=dict)
    """Only where an alert of the incident carries these labels: a region, a canary."""

    up_to: Annotated[float | None, Field(gt=0, le=1)] = None
    """Only up to this share of requests that fail."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.recurrence) != (self.lasts is not None) or bool(self.recurrence) != (self.begins_at is not None):
            raise ValueError("a recurrence needs its first occurrence (begins_at) and how long one lasts, and they it")
        for name, span in (("lasts", self.lasts), ("after_change", self.after_change)):
            if span is not None and not timedelta(0) < span <= LONGEST_LASTING:
                raise ValueError(f"{name} must be above zero and at most {LONGEST_LASTING.days} days")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{self.timezone!r} is no time zone of the IANA database, as Europe/Paris is") from error
        return self


class Fact(Contract):
    """What somebody says of a system."""

    fact_id: str
    subject: EntityName
    """The entity that it is about, as `service:checkout`; `*` stands for any characters: `pod:checkout-*`."""

    statement: Annotated[str, Field(min_length=1, max_length=LONGEST_STATEMENT)]
    effect: FactEffect = FactEffect.NOTE
    fault_kinds: tuple[FaultKind, ...] = ()
    """The kinds of symptom that are expected; none: all."""

    condition: FactCondition = FactCondition()
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    confidence: Annotated[float, Field(gt=0, le=1)] = 0.9
    """How sure its owner is: an expected symptom counts by what is missing to one."""

    owner: Annotated[str, Field(max_length=200)] = ""
    """Who answers for it: a person or a team."""

    review_by: Instant | None = None
    """When somebody has to look whether it still holds; from then on it is overdue, and not used."""

    source: Annotated[str, Field(max_length=500)] = ""
    """Where it comes from: an address, a document, an investigation."""

    author: Annotated[str, Field(max_length=200)] = ""
    added_at: Instant

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_from is not None and self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError("valid_until must come after valid_from")
        return self


class FactDecision(Contract):
    """One person's decision about a fact, or its proposal by the product."""

    state: FactState
    author: Annotated[str, Field(max_length=200)] = ""
    note: Annotated[str, Field(max_length=1_000)] = ""
    decided_at: Instant


class KnownFact(Contract):
    """A fact and the last decision about it."""

    fact: Fact
    decision: FactDecision
