"""When something recurs: on whose clock, for how long, and which rules are not taken."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from activities.analysis.recurrence import RecurrenceError, check_recurrence, occurring
from workflows.contracts.fact import FactCondition

PARIS = ZoneInfo("Europe/Paris")


def recurring(rule: str, **fields: object) -> FactCondition:
    given = {
        "recurrence": rule,
        "begins_at": datetime(2026, 1, 4, 2, tzinfo=PARIS),
        "timezone": "Europe/Paris",
        "lasts": timedelta(hours=2),
        **fields,
    }
    return FactCondition.model_validate(given)


@pytest.mark.parametrize(
    ("moment", "there"),
    [
        (datetime(2026, 1, 4, 2, 0, tzinfo=PARIS), True),
        (datetime(2026, 1, 4, 3, 59, tzinfo=PARIS), True),
        (datetime(2026, 1, 4, 4, 0, tzinfo=PARIS), False),
        (datetime(2026, 1, 4, 1, 59, tzinfo=PARIS), False),
        (datetime(2026, 1, 5, 3, 0, tzinfo=PARIS), False),
        (datetime(2026, 7, 5, 2, 30, tzinfo=PARIS), True),  # the clocks have changed: still two o'clock there
        (datetime(2026, 7, 5, 4, 30, tzinfo=PARIS), False),
        (datetime(2026, 7, 5, 0, 30, tzinfo=UTC), True),
        (datetime(2025, 12, 28, 3, 0, tzinfo=PARIS), False),  # before the first one
    ],
)
def test_it_recurs_on_its_own_clock(moment: datetime, there: bool) -> None:
    assert occurring(recurring("FREQ=WEEKLY;BYDAY=SU"), moment) is there


def test_without_a_rule_it_is_always_so() -> None:
    assert occurring(FactCondition(), datetime(2026, 1, 1, tzinfo=UTC))


def test_a_rule_may_end() -> None:
    for rule in ("FREQ=DAILY;COUNT=2", "FREQ=DAILY;UNTIL=20260105T120000"):
        condition = recurring(rule)
        assert occurring(condition, datetime(2026, 1, 5, 3, tzinfo=PARIS)), rule
        assert not occurring(condition, datetime(2026, 1, 6, 3, tzinfo=PARIS)), rule


def test_occurrences_that_overlap_are_seen() -> None:
    condition = recurring("FREQ=DAILY", lasts=timedelta(days=3))
    assert occurring(condition, datetime(2026, 1, 20, 1, tzinfo=PARIS))


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("every sunday", "no part of a rule"),
        ("FREQ=SECONDLY", "FREQ must be"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=99999999999", "INTERVAL"),
        ("FREQ=DAILY;BYHOUR=1,2,3", "no part of a rule"),
        ("FREQ=WEEKLY;BYDAY=XX", "no RRULE"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31", "never occurs"),
        ("FREQ=DAILY\nDTSTART:20260101T000000", "FREQ must be"),
        ("FREQ=DAILY;UNTIL=nonsense", "no RRULE"),
    ],
)
def test_what_cannot_be_a_rule_is_said(rule: str, problem: str) -> None:
    with pytest.raises(RecurrenceError, match=problem):
        check_recurrence(recurring(rule))


@pytest.mark.parametrize(
    "fields",
    [
        {"recurrence": "FREQ=DAILY"},
        {"lasts": timedelta(hours=1)},
        {"timezone": "Europe/Atlantis"},
        {"timezone": "../../etc/passwd"},
        {"after_change": timedelta(0)},
        {"after_change": timedelta(days=400)},
        {"up_to": 2.0},
    ],
)
def test_half_a_condition_is_none(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        FactCondition.model_validate(fields)
