"""Facts that people know, and their decisions about them: rows that are added, never changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from activities.analysis.recurrence import RecurrenceError, check_recurrence
from activities.memory.tables import FACT, FACT_DECISION
from activities.memory.uuid7 import uuid7
from activities.safety.redaction import REDACTION_VERSION, Redactor
from workflows.contracts.fact import Fact, FactDecision, FactEffect, FactState, KnownFact
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import Tenant

MOST = 10_000
KINDS = tuple(item.value for item in FaultKind if item is not FaultKind.UNKNOWN)


REVIEW_AFTER = timedelta(days=180)
"""When somebody has to look again at what nobody dated."""


class FactError(ValueError):
    """What was said of a fact cannot be used; the message says which part, and why."""


def new_fact(given: Mapping[str, object], *, author: str, at: datetime) -> Fact:
    """A fact that somebody adds.

    Args:
        given: its fields, without those that are set here; the statement's surroundings are cut off.
        author: who says so.
        at: when.

    Raises:
        FactError: a part of it cannot be used.
    """
    fields = {"review_by": None, **given, "fact_id": str(uuid7()), "author": author, "added_at": at}
    if isinstance(fields.get("statement"), str):
        fields["statement"] = str(fields["statement"]).strip()
    fields["review_by"] = fields["review_by"] or at + REVIEW_AFTER
    try:
        fact = Fact.model_validate(fields)
        check_recurrence(fact.condition)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise FactError("; ".join(problems)) from error
    except RecurrenceError as error:
        raise FactError(str(error)) from error
    if ":" not in fact.subject:
        raise FactError("write the subject as kind:name, for instance service:checkout")
    unknown = FactEffect.UNKNOWN is fact.effect or FaultKind.UNKNOWN in fact.fault_kinds
    if unknown:
        raise FactError(f"effect is one of expected, known_cause, note; kinds are {', '.join(KINDS)}")
    return fact


class AmbiguousFactError(LookupError):
    """Several facts begin with the given id."""


class FactRecord:
    """The facts of one tenant's people."""

    def __init__(self, engine: Engine, tenant: Tenant, redactor: Redactor) -> None:
        self._engine = engine
        self._tenant = tenant
        self._redactor = redactor

    def add(self, fact: Fact, decision: FactDecision) -> bool:
        """Keep a fact with the first decision about it, both redacted; one that is there already stays as it is.

        Returns:
            Whether it is new.
        """
        clean = self._clean(fact)
        row = {
            "tenant": self._tenant,
            "fact_id": clean.fact_id,
            "subject": clean.subject,
            "body": clean.model_dump(mode="json"),
            "redaction_version": REDACTION_VERSION,
            "added_at": clean.added_at,
        }
        with self._engine.begin() as connection:
            added = connection.execute(insert(FACT).values(row).on_conflict_do_nothing().returning(FACT.c.fact_id))
            new = added.first() is not None
            if new:
                self._decide(connection, clean.fact_id, decision)
        return new

    def decide(self, fact_id: str, decision: FactDecision) -> None:
        """Keep what somebody decided; the last decision counts."""
        with self._engine.begin() as connection:
            self._decide(connection, fact_id, decision)

    def known(self, states: Sequence[FactState] = (), *, limit: int = MOST) -> list[KnownFact]:
        """Facts with the last decision about each, the latest decided first.

        Args:
            states: only those that were decided so; none: all.
            limit: at most so many.
        """
        latest = (FACT_DECISION.c.decided_at.desc(), FACT_DECISION.c.decision_id.desc())
        last = (
            select(
                FACT_DECISION, func.row_number().over(partition_by=FACT_DECISION.c.fact_id, order_by=latest).label("n")
            )
            .where(FACT_DECISION.c.tenant == self._tenant)
            .subquery()
        )
        query = (
            select(FACT.c.body, last.c.body.label("decision"))
            .join(last, last.c.fact_id == FACT.c.fact_id)
            .where(FACT.c.tenant == self._tenant, last.c.n == 1)
            .order_by(last.c.decided_at.desc(), FACT.c.fact_id)
            .limit(limit)
        )
        if states:
            query = query.where(last.c.state.in_([item.value for item in states]))
        with self._engine.connect() as connection:
            return [
                KnownFact(fact=Fact.model_validate(row.body), decision=FactDecision.model_validate(row.decision))
                for row in connection.execute(query)
            ]

    def find(self, beginning: str) -> KnownFact | None:
        """The fact whose id begins so; None without any.

        Raises:
            AmbiguousFactError: there are several.
        """
        found = [item for item in self.known() if item.fact.fact_id.startswith(beginning)]
        if len(found) > 1:
            raise AmbiguousFactError(f"{len(found)} facts begin with {beginning}: give more of the id")
        return found[0] if found else None

    def _decide(self, connection: Connection, fact_id: str, decision: FactDecision) -> None:
        author, note = self._redactor.redact_all([decision.author, decision.note])
        clean = decision.model_copy(update={"author": author, "note": note})
        connection.execute(
            insert(FACT_DECISION).values(
                tenant=self._tenant,
                fact_id=fact_id,
                decision_id=str(uuid7()),
                state=clean.state.value,
                body=clean.model_dump(mode="json"),
                decided_at=clean.decided_at,
            )
        )

    def _clean(self, fact: Fact) -> Fact:
        names = ("subject", "statement", "owner", "source", "author")
        texts = self._redactor.redact_all([str(getattr(fact, name)) for name in names])
        labels = self._redactor.redact_mapping(fact.condition.labels)
        condition = fact.condition.model_copy(update={"labels": labels})
        return Fact.model_validate(
            {**fact.model_dump(), **dict(zip(names, texts, strict=True)), "condition": condition.model_dump()}
        )
