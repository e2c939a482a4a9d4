"""When something recurs, by the rules of RFC 5545 (RRULE), on somebody's clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

from workflows.contracts.fact import FactCondition

FAR_ENOUGH = timedelta(days=5 * 366)
"""From its first occurrence; a rule that does not occur until then hardly recurs."""

COARSE = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")
"""Frequencies; finer ones would be walked through second by second."""

PARTS = frozenset(
    (
        "FREQ",
        "INTERVAL",
        "COUNT",
        "UNTIL",
        "BYDAY",
        "BYMONTHDAY",
        "BYYEARDAY",
        "BYWEEKNO",
        "BYMONTH",
        "BYSETPOS",
        "WKST",
    )
)
"""Parts of a rule; the time of the day is that of the first occurrence."""

LARGEST_INTERVAL = 1_000


class RecurrenceError(ValueError):
    """A recurrence that cannot be used; the message says why."""


def check_recurrence(condition: FactCondition) -> None:
    """That a condition's recurrence can be evaluated.

    Raises:
        RecurrenceError: it is no RRULE, is finer than daily, or never occurs.
    """
    if not condition.recurrence or condition.begins_at is None:
        return
    end = _local(condition, condition.begins_at + FAR_ENOUGH)
    if _rule(condition).before(end, inc=True) is None:
        raise RecurrenceError(f"{condition.recurrence!r} never occurs")


def occurring(condition: FactCondition, at: datetime) -> bool:
    """Whether an occurrence that lasts at `at` has begun; without a recurrence always."""
    if not condition.recurrence or condition.begins_at is None or condition.lasts is None:
        return True
    local = _local(condition, at)
    latest = _rule(condition).before(local, inc=True)
    return latest is not None and at < _instant(condition, latest) + condition.lasts


def _rule(condition: FactCondition) -> rrule:
    """The rule on its own clock, without zone: dateutil counts on, and the zone is applied afterwards."""
    assert condition.begins_at is not None
    text = condition.recurrence.strip().removeprefix("RRULE:").upper()
    _check_parts(text)
    try:
        rule = rrulestr(text, dtstart=_local(condition, condition.begins_at), ignoretz=True)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecurrenceError(f"{text!r} is no RRULE, as FREQ=WEEKLY;BYDAY=SU is: {error}") from error
    assert isinstance(rule, rrule)
    return rule


def _check_parts(text: str) -> None:
    parts = dict(part.partition("=")[::2] for part in text.split(";"))
    unknown = sorted(parts.keys() - PARTS)
    if unknown:
        raise RecurrenceError(f"{unknown[0][:40]!r} is no part of a rule: give {', '.join(sorted(PARTS))}")
    if parts.get("FREQ") not in COARSE:
        raise RecurrenceError(f"FREQ must be one of {', '.join(COARSE)}")
    interval = parts.get("INTERVAL", "1")
    if not (interval.isascii() and interval.isdigit() and 1 <= int(interval) <= LARGEST_INTERVAL):
        raise RecurrenceError(f"INTERVAL must be a number from 1 to {LARGEST_INTERVAL}")


def _local(condition: FactCondition, at: datetime) -> datetime:
    return at.astimezone(ZoneInfo(condition.timezone)).replace(tzinfo=None)


def _instant(condition: FactCondition, local: datetime) -> datetime:
    return local.replace(tzinfo=ZoneInfo(condition.timezone)).astimezone(UTC)
