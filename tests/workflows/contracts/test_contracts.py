"""Contracts: one spelling, tolerant readers, exact writers; and every earlier version's JSON still decodes."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from workflows.contracts import Alert, Report, Severity
from workflows.contracts.canonical import canonical_json, digest_of, rounded
from workflows.contracts.change import ChangeKind
from workflows.contracts.probe import PROBE, MetricProbe, Window

EARLIER = Path(__file__).parent / "earlier"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_is_idempotent_and_close(value: float) -> None:
    once = rounded(value)
    assert rounded(once) == once
    assert math.isclose(once, value, rel_tol=1e-5) or abs(value) < 1e-300


@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text()))
def test_one_value_has_one_spelling(value: dict[str, JsonValue]) -> None:
    shuffled = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(shuffled)
    assert digest_of(canonical_json(value)) == digest_of(canonical_json(shuffled))


def test_zero_has_one_sign_and_nothing_is_not_a_number() -> None:
    assert canonical_json([-0.0]) == canonical_json([0.0])
    with pytest.raises(ValueError, match="JSON"):
        canonical_json([float("nan")])


def test_unknown_members_and_fields_of_tomorrow_are_read() -> None:
    alert = Alert.model_validate(
        {"source": "s", "fingerprint": "f", "title": "t", "starts_at": NOON, "severity": "apocalyptic", "colour": "red"}
    )
    assert alert.severity is Severity.UNKNOWN
    assert ChangeKind("teleport") is ChangeKind.UNKNOWN


@pytest.mark.parametrize(
    "fields",
    [
        {"starts_at": datetime(2026, 1, 1, 12)},  # noqa: DTZ001 - a naive moment is what is rejected
        {"starts_at": datetime(1, 1, 1, tzinfo=UTC)},
        {"fingerprint": ""},
        {"fingerprint": "x" * 600},
        {"entity": "service:\x1b[31m"},
        {"labels": {str(number): "" for number in range(200)}},
    ],
)
def test_what_is_out_of_bounds_is_rejected(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Alert.model_validate({"source": "s", "fingerprint": "f", "title": "t", "starts_at": NOON, **fields})


def test_equal_questions_have_equal_keys() -> None:
    window = Window(start=NOON, end=NOON)
    one = MetricProbe(backend="b", window=window, entity="service:a")
    two = PROBE.validate_json(one.model_dump_json())
    assert one.key == two.key
    assert one.key == one.model_copy(update={"expected_cost": 9}).key
    assert one.key != one.model_copy(update={"entity": "service:b"}).key


def test_earlier_reports_still_decode() -> None:
    found = sorted(EARLIER.glob("report_v*.json"))
    assert found
    for path in found:
        report = Report.model_validate_json(path.read_text())
        assert report.findings.hypotheses
        assert report.findings_sha256
