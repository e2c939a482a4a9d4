"""Following one investigation: its workflow's state, and its probes and findings as they are committed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.memory.ledger import Ledger
from workflows.contracts.finding import Finding
from workflows.contracts.identifiers import InvestigationId, ProbeKey, workflow_id_of
from workflows.contracts.report import ObservationSummary

EVERY_S = 0.2
_CLOSED_BADLY = frozenset(
    (
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
        WorkflowExecutionStatus.CANCELED,
    )
)
ASK_TEMPORAL_EVERY = 10


class InvestigationEndedError(RuntimeError):
    """The workflow ended without a report; the message says how."""


@dataclass(frozen=True, kw_only=True)
class InvestigationUpdate:
    """What came since the last look."""

    probes: list[ObservationSummary] = field(default_factory=list)
    planned: int = 0
    answered: int = 0
    findings: list[Finding] = field(default_factory=list)
    published: bool = False


async def follow(
    client: Client, ledger: Ledger, investigation_id: InvestigationId
) -> AsyncIterator[InvestigationUpdate]:
    """InvestigationUpdate of an investigation until its report is published.

    Raises:
        InvestigationEndedError: it ended without one.
    """
    seen: set[ProbeKey] = set()
    found: set[str] = set()
    looks = 0
    while True:
        update = await asyncio.to_thread(_look, ledger, seen, found)
        seen.update(item.probe_key for item in update.probes)
        found.update(item.key for item in update.findings)
        yield update
        if update.published:
            return
        looks += 1
        if looks % ASK_TEMPORAL_EVERY == 0:
            await _check_alive(client, ledger, investigation_id)
        await asyncio.sleep(EVERY_S)


def _look(ledger: Ledger, seen: set[ProbeKey], found: set[str]) -> InvestigationUpdate:
    published = ledger.report() is not None
    summaries = ledger.observation_summaries()
    answered = [item for item in summaries if item.status is not None]
    findings = ledger.findings(ledger.last_round()) if published or len(answered) == len(summaries) else []
    return InvestigationUpdate(
        probes=[item for item in answered if item.probe_key not in seen],
        planned=len(summaries),
        answered=len(answered),
        findings=[item for item in findings if item.key not in found],
        published=published,
    )


async def _check_alive(client: Client, ledger: Ledger, investigation_id: InvestigationId) -> None:
    try:
        description = await client.get_workflow_handle(workflow_id_of(investigation_id)).describe()
    except RPCError:
        return  # Temporal is away for a moment; the next look shows
    if description.status in _CLOSED_BADLY and await asyncio.to_thread(ledger.report) is None:
        raise InvestigationEndedError(
            f"investigation {investigation_id} ended without a report: {description.status.name}"
        )
