"""The typed door for other people's code, and the README's example."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import inquest
import pytest
from inquest import (
    Inquest,
    InvestigationNotFoundError,
    PayloadError,
    RejectedError,
    Severity,
    TooLateError,
    alerts_from_alertmanager,
)

from infra.settings import Settings
from tests.conftest import own_data_dir, recorded
from tests.running import an_alert
from workers.installation import Installation

PAYLOAD = {
    "version": "4",
    "groupKey": '{}:{alertname="HighErrorRate"}',
    "status": "firing",
    "receiver": "inquest",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "HighErrorRate", "service": "storefront", "severity": "critical"},
            "annotations": {"summary": "Requests at storefront fail"},
            "startsAt": "2026-11-21T08:00:45Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "6f0b9c1d2e3a4b5c",
        }
    ],
}


def test_alertmanagers_payload_becomes_alerts() -> None:
    (alert,) = alerts_from_alertmanager(json.dumps(PAYLOAD))
    assert alert.entity == "service:storefront"
    assert alert.severity is Severity.CRITICAL
    assert alert.title == "Requests at storefront fail"
    assert alert.incident_key == f"group:{PAYLOAD['groupKey']}"


@pytest.mark.parametrize(
    "payload",
    [
        "{",
        "[]",
        json.dumps({**PAYLOAD, "alerts": []}),
        "x" * 2_000_000,
        "[" * 100_000,
        json.dumps({**PAYLOAD, "alerts": [{}]}),
    ],
)
def test_a_bad_payload_says_what_to_send(payload: str) -> None:
    with pytest.raises(PayloadError, match=r"Alertmanager"):
        alerts_from_alertmanager(payload)


async def test_an_environment_answers_in_place_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "prod.yaml").write_text("sources: [{name: away, backend: loki, url: 'http://127.0.0.1:9'}]")
    with own_data_dir() as folder:
        settings = Settings(data_dir=folder, environments_dir=tmp_path)
        async with Inquest.connect(settings, workers=True) as inquest:
            for wrong in ({}, {"bundle": tmp_path, "environment": "prod"}, {"environment": "none"}, {"environment": 1}):
                with pytest.raises(RejectedError):
                    await inquest.start(an_alert(), **wrong)
            naive = datetime(2026, 1, 1)  # noqa: DTZ001 - that is what is wrong with it
            with pytest.raises(RejectedError, match="time zone"):
                await inquest.start(an_alert(), environment="prod", as_of=naive)
            investigation = await inquest.start(an_alert(), environment="prod")
            report = await investigation.report(timeout=timedelta(seconds=90))
    assert [gap for gap in report.findings.data_gaps if "away cannot be reached" in gap.reason]


async def test_from_a_payload_to_a_report(installation: Installation) -> None:
    (alert,) = alerts_from_alertmanager(PAYLOAD)
    async with Inquest.connect(installation.settings, workers=True) as inquest:
        investigation = await inquest.start(alert, bundle=recorded("bad_deploy"), as_of=None, memory_scope="sdk-test")
        again = await inquest.start(alert, bundle=recorded("bad_deploy"), memory_scope="sdk-test")
        assert again.id == investigation.id
        seen = [update async for update in investigation.follow()]
        report = await investigation.report(timeout=timedelta(seconds=60))
        assert seen[-1].published
        assert report.run.alert_count == 2
        assert report.run.investigation_id == investigation.id
        found = await inquest.investigation(investigation.id)
        assert (await found.report()).findings_sha256 == report.findings_sha256
        with pytest.raises(TooLateError):
            await investigation.add_hint("too late")
        with pytest.raises(ValueError, match="a hint has"):
            await investigation.add_hint("")
        with pytest.raises(InvestigationNotFoundError):
            await inquest.investigation("01a1fd3b-4ac0-7956-966f-de0c92a72f00")


async def test_a_payload_that_cannot_be_used_is_kept_and_counted(installation: Installation) -> None:
    before = installation.incidents().rejected_count()
    async with Inquest.connect(installation.settings) as inquest_:
        with pytest.raises(PayloadError):
            await inquest_.alerts("{")
        assert len(await inquest_.alerts(json.dumps(PAYLOAD))) == 1
    assert installation.incidents().rejected_count() == before + 1


def test_the_sdks_surface_is_documented() -> None:
    for name in inquest.__all__:
        assert getattr(inquest, name).__doc__, name
    assert (Path(str(inquest.__file__)).parent / "py.typed").exists()
