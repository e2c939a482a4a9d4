"""`inquest fact`: what people know of their systems and nobody wrote down."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.table import Table
from rich.text import Text

from activities.memory.facts import KINDS, AmbiguousFactError, FactError, FactRecord, new_fact
from workers.installation import open_installation
from workers.invocation import ERR, OUT, handle_known_errors, invoked_by, read_settings, zoned
from workers.rendering.listing import span_of
from workers.rendering.plain_text import one_line
from workflows.contracts.fact import Fact, FactDecision, FactEffect, FactState, KnownFact
from workflows.contracts.hypothesis import FaultKind

GROUP = typer.Typer(
    help="What people know of their systems: add, list, show, accept, reject, withdraw.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
LISTED = 200
ID_SHOWN = 18
Id = Annotated[str, typer.Argument(help="Id, or the beginning of one.")]
Note = Annotated[str, typer.Option(help="Why.")]


@GROUP.command()
@handle_known_errors
def add(
    subject: Annotated[str, typer.Argument(help="What it is about, as kind:name; * stands for any characters.")],
    statement: Annotated[str, typer.Argument(help="What you know, in one sentence.")],
    *,
    expects: Annotated[
        list[str] | None, typer.Option(help="A kind of symptom that is expected, or all; repeat it.")
    ] = None,
    known_cause: Annotated[bool, typer.Option("--known-cause", help="It is a known weak point.")] = False,
    up_to: Annotated[str | None, typer.Option(help="Only up to this share of failing requests: 2% or 0.02.")] = None,
    after_change: Annotated[str | None, typer.Option(help="Only so long after a change of it: 15m, 2h.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only where an alert says name=value; repeat it.")] = None,
    every: Annotated[str, typer.Option(help="Only when it recurs, as an RRULE: FREQ=WEEKLY;BYDAY=SU.")] = "",
    begins: Annotated[datetime | None, typer.Option(help="First occurrence, by the clock of --timezone.")] = None,
    timezone: Annotated[str, typer.Option(help="By whose clock it recurs, as Europe/Paris.")] = "UTC",
    lasts: Annotated[str | None, typer.Option(help="How long an occurrence lasts: 30m, 2h.")] = None,
    valid_from: Annotated[datetime | None, typer.Option(help="It does not hold before.")] = None,
    valid_until: Annotated[datetime | None, typer.Option(help="It does not hold from then on.")] = None,
    confidence: Annotated[float, typer.Option(min=0.01, max=1, help="How sure you are.")] = 0.9,
    owner: Annotated[str, typer.Option(help="Who answers for it: a person or a team.")] = "",
    review_by: Annotated[datetime | None, typer.Option(help="When to look again; half a year if left out.")] = None,
    source: Annotated[str, typer.Option(help="Where it is from: an address, a document.")] = "",
) -> None:
    """Say what you know: an expected symptom, a weak point, or a note; from now on investigations use it."""
    now, author = datetime.now(UTC), invoked_by()
    kinds = _kinds(expects or [])
    if expects and known_cause:
        raise typer.BadParameter("a fact either expects a symptom or names a weak point: add two")
    effect = FactEffect.EXPECTED if expects else FactEffect.KNOWN_CAUSE if known_cause else FactEffect.NOTE
    given = {
        "subject": subject,
        "statement": statement,
        "effect": effect,
        "fault_kinds": kinds,
        "condition": {
            "recurrence": every,
            "begins_at": _by_the_clock_of(timezone, begins),
            "timezone": timezone,
            "lasts": None if lasts is None else span_of(lasts),
            "after_change": None if after_change is None else span_of(after_change),
            "labels": dict(_label(text) for text in label or ()),
            "up_to": None if up_to is None else _share(up_to),
        },
        "valid_from": zoned(valid_from),
        "valid_until": zoned(valid_until),
        "confidence": confidence,
        "owner": owner,
        "review_by": zoned(review_by),
        "source": source,
    }
    try:
        fact = new_fact(given, author=author, at=now)
    except FactError as error:
        raise typer.BadParameter(str(error)) from error
    with _record() as record:
        record.add(fact, FactDecision(state=FactState.ACCEPTED, author=author, decided_at=now))
    OUT.print(Text(f"{fact.fact_id}  {_effect(fact)}"))


@GROUP.command(name="list")
@handle_known_errors
def list_(
    *,
    every: Annotated[bool, typer.Option("--all", help="Rejected and withdrawn ones as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """List what is known, and what is proposed and waits for somebody to accept it."""
    with _record() as record:
        found = record.known([] if every else [FactState.PROPOSED, FactState.ACCEPTED])
    if as_json:
        for item in found:
            print(json.dumps(item.model_dump(mode="json")))
        return
    now = datetime.now(UTC)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("id", "state", "subject", "statement"):
        table.add_column(name, overflow="fold")
    for item in found[:LISTED]:
        fact = item.fact
        table.add_row(
            fact.fact_id[:ID_SHOWN], _state(item, now), Text(one_line(fact.subject, 60)), Text(one_line(fact.statement))
        )
    OUT.print(table)
    if len(found) > LISTED:
        OUT.print(Text(f"and {len(found) - LISTED} more", style="dim"))


@GROUP.command()
@handle_known_errors
def show(fact_id: Id) -> None:
    """Show a fact, and who decided what about it."""
    with _record() as record:
        item = _found(record, fact_id)
    fact = item.fact
    OUT.print(Text(f"{one_line(fact.subject)}: {one_line(fact.statement)}", style="bold"))
    OUT.print(Text(f"{_state(item, datetime.now(UTC))}, {_effect(fact)}"))
    for name, value in fact.model_dump(mode="json", exclude_defaults=True).items():
        if name not in ("subject", "statement", "effect"):
            OUT.print(Text(f"{name}: {one_line(str(value), 500)}", style="dim"))
    decision = item.decision
    said = f"{decision.state.value} by {decision.author or 'nobody named'} at {decision.decided_at:%Y-%m-%d %H:%M}"
    OUT.print(Text(f"{said}{f': {one_line(decision.note)}' if decision.note else ''}", style="dim"))


@GROUP.command()
@handle_known_errors
def accept(fact_id: Id, *, note: Note = "") -> None:
    """Accept a proposed fact: from now on investigations use it."""
    _decide(fact_id, FactState.ACCEPTED, note)


@GROUP.command()
@handle_known_errors
def reject(fact_id: Id, *, note: Note = "") -> None:
    """Reject a proposed fact."""
    _decide(fact_id, FactState.REJECTED, note)


@GROUP.command()
@handle_known_errors
def withdraw(fact_id: Id, *, note: Note = "") -> None:
    """Withdraw a fact that no longer holds; reports that used it keep it."""
    _decide(fact_id, FactState.WITHDRAWN, note)


@contextmanager
def _record() -> Iterator[FactRecord]:
    with open_installation(read_settings()) as installation:
        yield installation.store.facts(installation.tenant)


def _found(record: FactRecord, fact_id: str) -> KnownFact:
    try:
        found = record.find(fact_id.lower())
    except AmbiguousFactError as error:
        raise typer.BadParameter(str(error)) from error
    if found is None:
        raise typer.BadParameter("no fact begins so; inquest fact list --all says which there are")
    return found


def _decide(fact_id: str, state: FactState, note: str) -> None:
    with _record() as record:
        found = _found(record, fact_id)
        decision = FactDecision(state=state, author=invoked_by(), note=note[:1_000], decided_at=datetime.now(UTC))
        record.decide(found.fact.fact_id, decision)
    OUT.print(Text(f"{state.value}: {one_line(found.fact.statement)}"))
    if state is FactState.ACCEPTED and found.fact.effect is FactEffect.NOTE:
        ERR.print(Text("a note is shown and changes no ranking; add one that expects something for that", style="dim"))


def _kinds(given: list[str]) -> tuple[FaultKind, ...]:
    unknown = [kind for kind in given if kind not in (*KINDS, "all")]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is no kind of symptom: give all or one of {', '.join(KINDS)}")
    return () if "all" in given else tuple(FaultKind(kind) for kind in given)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{text!r} is no label: write name=value")
    return name, value


def _share(text: str) -> float:
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s*(%?)", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no share: write for instance 2% or 0.02")
    return float(match[1]) / (100 if match[2] else 1)


def _by_the_clock_of(timezone: str, moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    try:
        return moment.replace(tzinfo=ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return moment.replace(tzinfo=UTC)  # the fact itself says what is wrong with the zone


def _effect(fact: Fact) -> str:
    if fact.effect is FactEffect.EXPECTED:
        kinds = ", ".join(kind.value for kind in fact.fault_kinds) or "every symptom"
        return f"expected: {kinds}, which then counts by {1 - fact.confidence:.0%}"
    if fact.effect is FactEffect.KNOWN_CAUSE:
        return "a known weak point: a little more probable as root cause"
    return "a note: it is shown and changes nothing"


def _state(item: KnownFact, now: datetime) -> str:
    fact = item.fact
    if item.decision.state is not FactState.ACCEPTED:
        return item.decision.state.value
    if fact.valid_until is not None and now >= fact.valid_until:
        return "expired"
    return "overdue" if fact.review_by is not None and now >= fact.review_by else "accepted"
