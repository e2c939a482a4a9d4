"""Recordings are named in requests; where they lie is known to the installation alone."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.telemetry.recorded import BundleError, open_bundle
from tests.running import an_alert, options_for, quick_ingestion
from workers.installation import Installation
from workflows.contracts.identifiers import workflow_id_of
from workflows.contracts.investigation import InvestigationRequest


async def requested(installation: Installation, client: Client, folder: Path) -> InvestigationRequest:
    alert = an_alert(f"recordings:{folder}")
    return (await quick_ingestion(installation, client).receive(alert, options_for(folder))).request


async def test_a_request_carries_no_path(installation: Installation, bundle: Path) -> None:
    client = await installation.client()
    request = await requested(installation, client, bundle)
    again = await requested(installation, client, bundle)
    assert request.source == again.source
    assert str(bundle) not in request.model_dump_json()
    history = await client.get_workflow_handle(workflow_id_of(request.investigation_id)).fetch_history()
    assert str(bundle) not in history.to_json()
    assert installation.recording_of(request).folder == bundle.resolve()


async def test_another_recording_in_the_same_folder_is_not_taken_for_the_first(
    installation: Installation, bundle: Path
) -> None:
    request = await requested(installation, await installation.client(), bundle)
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(BundleError, match="another recording than when the investigation was opened"):
        installation.recording_of(request)
    newer = await requested(installation, await installation.client(), bundle)
    assert newer.source != request.source
    assert installation.recording_of(newer).manifest_sha256 == open_bundle(bundle).manifest_sha256


async def test_names_of_nobody_and_folders_of_before(installation: Installation, bundle: Path) -> None:
    request = await requested(installation, await installation.client(), bundle)
    before = request.model_copy(update={"source": str(bundle)})
    assert installation.recording_of(before).folder == bundle.resolve()
    with pytest.raises(BundleError, match="is not registered here"):
        installation.recording_of(request.model_copy(update={"source": "recording-" + "0" * 32}))
    recordings = installation.store.recordings(installation.tenant)
    known = open_bundle(bundle)
    assert recordings.register(known.folder, known.manifest_sha256, at=datetime.now(UTC)) == request.source
