"""Severe incidents first; of equally severe ones, those that have begun."""

import pytest

from activities.memory.uuid7 import uuid7
from workflows.contracts.alert import Severity
from workflows.contracts.investigation import InvestigationRequest
from workflows.steps import COLLECT, FINDINGS, PUBLISH, SCOPE


def request(severity: Severity, service: str = "checkout") -> InvestigationRequest:
    return InvestigationRequest.model_validate(
        {
            "investigation_id": str(uuid7()),
            "incident_id": str(uuid7()),
            "as_of": "2026-01-01T12:00:00Z",
            "backend": "recorded",
            "source": "/bundle",
            "memory_scope": "live",
            "severity": severity,
            "service": service,
        }
    )


def test_what_has_begun_is_finished_before_others_begin() -> None:
    for severity in (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN):
        for begins, later in ((SCOPE, COLLECT), (SCOPE, FINDINGS), (SCOPE, PUBLISH)):
            first = begins.priority(request(severity)).priority_key
            then = later.priority(request(severity)).priority_key
            assert first is not None
            assert then is not None
            assert then < first


def test_the_first_step_of_a_critical_one_comes_before_the_last_of_any_other() -> None:
    critical = SCOPE.priority(request(Severity.CRITICAL)).priority_key
    for severity in (Severity.WARNING, Severity.INFO, Severity.UNKNOWN):
        other = PUBLISH.priority(request(severity)).priority_key
        assert critical is not None
        assert other is not None
        assert critical < other <= 5


@pytest.mark.parametrize("service", ["", "checkout", "ü" * 200])
def test_services_take_turns_and_a_key_is_never_too_long(service: str) -> None:
    key = COLLECT.priority(request(Severity.WARNING, service)).fairness_key
    assert key is not None
    assert key.startswith("default/")
    assert len(key.encode()) <= 64
