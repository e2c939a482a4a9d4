"""Running investigations in tests, through the product's own doors."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import Client

from activities.memory.uuid7 import uuid7
from activities.telemetry.recorded import RecordedBackend, open_bundle
from workers.alert_ingestion import AlertIngestion, InvestigationOptions
from workers.installation import RECORDED, Installation
from workflows.contracts.alert import Alert, Severity
from workflows.contracts.identifiers import InvestigationId
from workflows.contracts.investigation import Budget, Purpose
from workflows.contracts.report import Report

FAST = timedelta(milliseconds=50)


def an_alert(fingerprint: str = "f1", **fields: object) -> Alert:
    """An alert with everything that a test does not care about filled in."""
    values: dict[str, object] = {
        "source": "test",
        "fingerprint": fingerprint,
        "title": "requests fail",
        "starts_at": datetime(2026, 1, 1, 12, tzinfo=UTC),
        "severity": Severity.CRITICAL,
        **fields,
    }
    return Alert.model_validate(values)


def options_for(
    folder: Path, *, budget: Budget | None = None, heartbeat: timedelta = timedelta(seconds=10)
) -> InvestigationOptions:
    """What `inquest investigate` requests, with fast retries."""
    opened = open_bundle(folder)
    return InvestigationOptions(
        backend=RECORDED,
        recording=opened,
        as_of=opened.manifest.as_of,
        purpose=Purpose.REPLAY,
        memory_scope=f"replay:{uuid7()}",
        budget=budget or Budget(),
        retry_interval=FAST,
        heartbeat_timeout=heartbeat,
    )


def quick_ingestion(
    installation: Installation, client: Client, quiet_time: timedelta = timedelta(minutes=10)
) -> AlertIngestion:
    """The door for alerts, with a short workflow-task time-out."""
    return AlertIngestion(
        client,
        installation.incidents(),
        installation.store.inbox(installation.tenant),
        installation.store.recordings(installation.tenant),
        tenant=installation.tenant,
        keys=installation.store.keys,
        quiet_time=quiet_time,
        models=installation.models,
        task_timeout=timedelta(seconds=2),
    )


async def start(installation: Installation, client: Client, folder: Path, **kwargs: object) -> InvestigationId:
    """Start an investigation of a bundle."""
    options = options_for(folder, **kwargs)  # type: ignore[arg-type]
    opened = await quick_ingestion(installation, client).receive(open_bundle(folder).alert, options)
    return opened.request.investigation_id


async def finish(installation: Installation, client: Client, investigation_id: InvestigationId) -> Report:
    """Wait for the workflow's end and return the published report."""
    await client.get_workflow_handle(f"inv-{investigation_id}").result()
    report = installation.ledger(investigation_id).report()
    assert report is not None
    return report


def check(folder: Path) -> None:
    """What the command line looks at before it starts anything."""
    backend = RecordedBackend(open_bundle(folder))
    try:
        backend.check()
    finally:
        backend.close()
