"""Alerts become incidents, and incidents have one open investigation."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from activities.memory.tables import ALERT, REJECTED
from tests.conftest import recorded
from tests.running import an_alert, finish, options_for, quick_ingestion
from workers.installation import Installation
from workflows.contracts.investigation import Budget


async def test_fifty_deliveries_at_once_make_one_investigation(installation: Installation) -> None:
    client = await installation.client()
    ingestion, options = quick_ingestion(installation, client), options_for(recorded("bad_deploy"))
    opened = await asyncio.gather(*(ingestion.receive(an_alert(), options) for _ in range(50)))
    assert len({item.request.investigation_id for item in opened}) == 1
    assert [item.joined for item in opened].count("opened") == 1
    assert [item.joined for item in opened].count("repeat") == 49
    investigation_id = opened[0].request.investigation_id
    async with installation.workers(client):
        report = await finish(installation, client, investigation_id)
    assert report.run.alert_count == 50
    history = await client.get_workflow_handle(f"inv-{investigation_id}").fetch_history()
    assert len(history.events) <= 120, "repeats add no events"


async def test_a_second_alert_of_the_incident_joins(installation: Installation) -> None:
    client = await installation.client()
    ingestion, options = quick_ingestion(installation, client), options_for(recorded("bad_deploy"))
    first = await ingestion.receive(an_alert("a", group_key="g"), options)
    second = await ingestion.receive(an_alert("b", group_key="g"), options)
    other = await ingestion.receive(an_alert("c", group_key="another"), options)
    assert second.request.investigation_id == first.request.investigation_id
    assert second.joined == "new_alert"
    assert second.alert_number == 2
    assert other.request.investigation_id != first.request.investigation_id
    async with installation.workers(client):
        report = await finish(installation, client, first.request.investigation_id)
        await finish(installation, client, other.request.investigation_id)
    assert report.run.alert_count == 2
    assert [item.alert.fingerprint for item in installation.ledger(first.request.investigation_id).alerts()] == [
        "a",
        "b",
    ]


async def test_a_refire_after_the_close_opens_a_linked_investigation(installation: Installation) -> None:
    client = await installation.client()
    options = options_for(recorded("bad_deploy"))
    impatient = quick_ingestion(installation, client, quiet_time=timedelta(0))
    async with installation.workers(client):
        first = await impatient.receive(an_alert(), options)
        await finish(installation, client, first.request.investigation_id)
        quiet = await quick_ingestion(installation, client).receive(an_alert(), options)
        assert quiet.request.investigation_id == first.request.investigation_id
        assert not quiet.open
        again = await impatient.receive(an_alert(), options)
        assert again.request.investigation_id != first.request.investigation_id
        assert again.request.incident_id == first.request.incident_id
        report = await finish(installation, client, again.request.investigation_id)
    assert report.run.previous_investigation_id == first.request.investigation_id


async def test_a_terminated_investigation_does_not_block_its_incident(installation: Installation) -> None:
    client = await installation.client()
    ingestion = quick_ingestion(installation, client)
    options = options_for(recorded("bad_deploy"))
    first = await ingestion.receive(an_alert(), options)
    await client.get_workflow_handle(f"inv-{first.request.investigation_id}").terminate()
    again = await ingestion.receive(an_alert(), options)
    assert again.joined == "opened"
    assert again.request.investigation_id != first.request.investigation_id
    async with installation.workers(client):
        await finish(installation, client, again.request.investigation_id)


async def test_a_crash_between_commit_and_start_is_mended_by_resume(installation: Installation) -> None:
    client = await installation.client()
    ingestion, options = quick_ingestion(installation, client), options_for(recorded("bad_deploy"))
    opened = await ingestion.record(an_alert(), options)
    assert await ingestion.resume() >= 1
    async with installation.workers(client):
        await finish(installation, client, opened.request.investigation_id)


async def test_secrets_are_gone_before_the_first_write(installation: Installation) -> None:
    client = await installation.client()
    alert = an_alert(
        title="mail ann@example.com", labels={"db_password": "swordfish"}, annotations={"url": "http://u:pa55word@h/"}
    )
    opened = await quick_ingestion(installation, client).receive(alert, options_for(recorded("bad_deploy")))
    with installation.engine.connect() as connection:
        query = select(ALERT.c.body).where(ALERT.c.investigation_id == opened.request.investigation_id)
        body = str(connection.scalar(query))
    history = (await client.get_workflow_handle(f"inv-{opened.request.investigation_id}").fetch_history()).to_json()
    for secret in ("ann@example.com", "swordfish", "pa55word"):
        assert secret not in body
        assert secret not in history
    await client.get_workflow_handle(f"inv-{opened.request.investigation_id}").terminate()


async def test_texts_at_their_limits_survive_redaction_and_recall(installation: Installation) -> None:
    client = await installation.client()
    mail = "ann@example.com"
    alert = an_alert(
        title=f"{mail} " + "t" * (1024 - len(mail) - 1),
        labels={"service": f"cart of {mail}"},
        annotations={"text": f"{mail} " + "x" * (4096 - len(mail) - 1)},
        group_key=f'{{}}:{{owner="{mail}"}}',
        entity=f"service:{mail}",
    )
    ingestion, options = (
        quick_ingestion(installation, client, quiet_time=timedelta(0)),
        options_for(recorded("bad_deploy")),
    )
    options = replace(options, budget=Budget(probes=1))
    async with installation.workers(client):
        first = await ingestion.receive(alert, options)
        await finish(installation, client, first.request.investigation_id)
        second = await ingestion.receive(alert, options)
        report = await finish(installation, client, second.request.investigation_id)
    assert second.request.incident_id == first.request.incident_id
    assert len(report.findings.recalled) == 1
    stored = installation.ledger(first.request.investigation_id).alerts()[0].alert
    assert mail not in stored.model_dump_json()
    assert mail not in report.model_dump_json()


def test_bad_input_is_kept_and_counted(installation: Installation) -> None:
    incidents = installation.incidents()
    before = incidents.rejected_count()
    incidents.reject(
        source="alertmanager",
        reason="not JSON",
        content=b"\x00{password=swordfish" + b"x" * 9_000,
        received_at=datetime.now(UTC),
    )
    assert incidents.rejected_count() == before + 1
    with installation.engine.connect() as connection:
        row = connection.execute(select(REJECTED).order_by(REJECTED.c.received_at.desc()).limit(1)).one()
    assert row.size == 9_020
    assert "swordfish" not in row.excerpt
    assert len(row.excerpt) <= 4_100
