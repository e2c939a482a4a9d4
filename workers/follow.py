"""Following one investigation: its workflow's state, and its probes and findings as they are committed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from inquest.exceptions import InvestigationEndedError
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.memory.incidents import Incidents
from activities.memory.ledger import Ledger
from activities.memory.session import is_outage
from workflows.contracts.finding import Finding
from workflows.contracts.identifiers import InvestigationId, ProbeKey, workflow_id_of
from workflows.contracts.report import ObservationSummary

EVERY_S = 0.2
AWAY_S = 1.0
_CLOSED_BADLY = frozenset(
    (
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
        WorkflowExecutionStatus.CANCELED,
    )
)
ASK_TEMPORAL_EVERY = 10


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
        try:
            update = await asyncio.to_thread(_look, ledger, seen, found)
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            await asyncio.sleep(AWAY_S)  # the database is away for a moment; the next look shows
            continue
        seen.update(item.probe_key for item in update.probes)
        found.update(item.key for item in update.findings)
        yield update
        if update.published:
            return
        looks += 1
        if looks % ASK_TEMPORAL_EVERY == 0:
            await _check_alive(client, ledger, investigation_id)
        await asyncio.sleep(EVERY_S)


class ReportListener:
    """Waits for the reports of any number of investigations of one tenant, with one query at a time for all of them."""

    def __init__(self, client: Client, incidents: Incidents, require_open: Callable[[], None]) -> None:
        """Ask `incidents` for reports, and `client` for workflows that ended without one.

        Args:
            client: connected to Temporal.
            incidents: of the tenant.
            require_open: raises when there will be no answer any more; who waits gets that error.
        """
        self._require_open = require_open
        self._client = client
        self._incidents = incidents
        self._waiting: dict[InvestigationId, list[asyncio.Future[None]]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def wait(self, investigation_id: InvestigationId) -> None:
        """Return once the report is published.

        Raises:
            InvestigationEndedError: it ended without one.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(investigation_id, []).append(future)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        try:
            await future
        finally:
            waiting = self._waiting.get(investigation_id, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._waiting.pop(investigation_id, None)

    async def _listen(self) -> None:
        looks = 0
        try:
            while self._waiting:
                self._require_open()
                for investigation_id in await self._published():
                    self._resolve(investigation_id, None)
                looks += 1
                if looks % ASK_TEMPORAL_EVERY == 0:
                    await self._resolve_ended()
                await asyncio.sleep(EVERY_S)
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            for investigation_id in list(self._waiting):
                self._resolve(investigation_id, error)

    async def _published(self) -> set[InvestigationId]:
        try:
            return await asyncio.to_thread(self._incidents.published_among, list(self._waiting))
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            return set()  # the database is away for a moment; the next look shows

    async def _resolve_ended(self) -> None:
        for investigation_id in list(self._waiting):
            status = await _status(self._client, investigation_id)
            if status in _CLOSED_BADLY and investigation_id not in await self._published():
                self._resolve(investigation_id, _ended(investigation_id, status))

    def _resolve(self, investigation_id: InvestigationId, error: Exception | None) -> None:
        for future in self._waiting.pop(investigation_id, []):
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


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
    status = await _status(client, investigation_id)
    if status in _CLOSED_BADLY and await asyncio.to_thread(ledger.report) is None:
        raise _ended(investigation_id, status)


async def _status(client: Client, investigation_id: InvestigationId) -> WorkflowExecutionStatus | None:
    try:
        return (await client.get_workflow_handle(workflow_id_of(investigation_id)).describe()).status
    except RPCError:
        return None  # Temporal is away for a moment; the next look shows


def _ended(investigation_id: InvestigationId, status: WorkflowExecutionStatus | None) -> InvestigationEndedError:
    how = "" if status is None else f": {status.name}"
    return InvestigationEndedError(f"investigation {investigation_id} ended without a report{how}")
