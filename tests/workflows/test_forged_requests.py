"""Whoever reaches Temporal without the installation's key and database starts nothing."""

from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError

from activities.memory.store import ForgedRequestError, signed
from activities.memory.uuid7 import uuid7
from activities.safety.keys import Keys
from tests.conftest import recorded
from tests.running import finish, start
from workers.installation import Installation
from workflows.contracts.identifiers import IncidentId, InvestigationId, Tenant, workflow_id_of
from workflows.contracts.investigation import InvestigationRequest
from workflows.investigation import Investigation
from workflows.steps import INVESTIGATIONS


async def refused(client: Client, request: InvestigationRequest) -> str:
    """The message with which the workflow of a forged request fails."""
    with pytest.raises(WorkflowFailureError) as failure:
        await client.execute_workflow(
            Investigation.run, request, id=workflow_id_of(request.investigation_id), task_queue=INVESTIGATIONS
        )
    cause: BaseException | None = failure.value.cause
    while isinstance(cause, ActivityError):
        cause = cause.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == ForgedRequestError.__name__
    assert cause.non_retryable
    return cause.message


async def test_a_request_that_no_alert_opened_is_refused(installation: Installation, tmp_path: Path) -> None:
    client = await installation.client()
    async with installation.workers(client):
        investigation_id = await start(installation, client, recorded("bad_deploy"))
        await finish(installation, client, investigation_id)
        genuine = installation.incidents().request(investigation_id)
        assert genuine is not None
        assert genuine.code
        opened_by_nobody = genuine.model_copy(
            update={"investigation_id": InvestigationId(str(uuid7())), "incident_id": IncidentId(str(uuid7()))}
        )
        assert "no alert has opened" in await refused(client, opened_by_nobody)
        another_path = genuine.model_copy(update={"source": str(tmp_path)})
        assert "with another request" in await refused(client, another_path)
        another_tenant = genuine.model_copy(update={"tenant": Tenant("somebody")})
        assert "no alert has opened" in await refused(client, another_tenant)
    for forged in (opened_by_nobody, another_tenant):
        ledger = installation.store.ledger(forged.tenant, forged.investigation_id)
        assert (ledger.steps(), ledger.probes(), ledger.report()) == ([], [], None)


def test_a_code_of_another_key_does_not_verify(installation: Installation) -> None:
    mine, other = installation.store.keys, Keys({"a": b"a" * 32}, "a")
    request = InvestigationRequest.model_validate(
        {
            "tenant": "default",
            "investigation_id": str(uuid7()),
            "incident_id": str(uuid7()),
            "as_of": "2026-01-01T12:00:00Z",
            "backend": "recorded",
            "source": "/bundle",
            "memory_scope": "live",
        }
    )
    content = b"anything"
    assert mine.verifies("requests", content, mine.sign("requests", content))
    assert not mine.verifies("requests", content, other.sign("requests", content))
    assert not mine.verifies("pseudonyms", content, mine.sign("requests", content))
    assert not mine.verifies("requests", content, "")
    assert signed(request, mine).code != signed(request, other).code
    rotated = Keys({**mine.secrets, "z": b"z" * 32}, "z")
    assert rotated.verifies("requests", content, mine.sign("requests", content))
