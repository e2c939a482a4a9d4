"""Starting a recorded incident over: every alert, through the one door."""

from datetime import timedelta

from temporalio.client import Client

from activities.memory.incidents import OpenedInvestigation
from activities.telemetry.recorded import Bundle
from workers.alert_ingestion import InvestigationOptions
from workers.installation import RECORDED, Installation
from workflows.contracts.investigation import Budget, Purpose

FOREVER = timedelta(days=36_500)
"""A replay that is wanted again is the same one, however long ago it ended."""


async def replay(
    installation: Installation,
    client: Client,
    bundle: Bundle,
    *,
    scope: str,
    purpose: Purpose,
    budget: Budget,
    model: str | None = None,
) -> OpenedInvestigation:
    """Open the investigation of a recorded incident in a memory scope of its own; doing it again finds it.

    A captured investigation is replayed in as many looks as it might take: what it did not ask has no answer.

    Raises:
        ModelNotAllowedError: the endpoint of the models file that is named in `model` may not see it.
    """
    if bundle.manifest.answers is not None:
        budget = budget.model_copy(update={"rounds": bundle.manifest.rounds})
    options = InvestigationOptions(
        backend=RECORDED,
        recording=bundle,
        environment=bundle.manifest.environment or "",
        sources=bundle.manifest.sources,
        as_of=bundle.manifest.as_of,
        purpose=purpose,
        memory_scope=scope,
        budget=budget,
        model=model,
    )
    ingestion = installation.alert_ingestion(client, quiet_time=FOREVER)
    opened = await ingestion.receive(bundle.alert, options)
    for alert in bundle.further_alerts():
        await ingestion.receive(alert, options)
    return opened
