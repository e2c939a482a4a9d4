"""The one door for alerts: redact, record, open or join the investigation, start its workflow."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.memory.incidents import Incidents, OpenedInvestigation, redacted_alert
from activities.memory.store import signed
from activities.safety.keys import Keys
from workflows.contracts.alert import Alert
from workflows.contracts.identifiers import IncidentId, InvestigationId, Tenant, workflow_id_of
from workflows.contracts.investigation import Budget, InvestigationRequest, Purpose
from workflows.contracts.version import ENGINE_VERSION
from workflows.investigation import Investigation
from workflows.steps import INVESTIGATIONS

LIVE_SCOPE = "live"
LONGEST_ATTRIBUTE = 200


@dataclass(frozen=True, kw_only=True)
class InvestigationOptions:
    """What is requested, beside the alert."""

    backend: str
    source: str = ""
    """The bundle's folder for the `recorded` backend."""

    as_of: datetime | None = None
    """None: now."""

    purpose: Purpose = Purpose.LIVE
    memory_scope: str = LIVE_SCOPE
    budget: Budget = field(default_factory=Budget)
    retry_interval: timedelta = timedelta(seconds=1)
    heartbeat_timeout: timedelta = timedelta(seconds=10)


class AlertIngestion:
    """Takes alerts in for one tenant."""

    def __init__(
        self,
        client: Client,
        incidents: Incidents,
        *,
        tenant: Tenant,
        keys: Keys,
        quiet_time: timedelta,
        task_timeout: timedelta = timedelta(seconds=5),
    ) -> None:
        self._client = client
        self._incidents = incidents
        self._tenant = tenant
        self._keys = keys
        self._quiet_time = quiet_time
        self._task_timeout = task_timeout

    async def receive(self, alert: Alert, options: InvestigationOptions) -> OpenedInvestigation:
        """Take one delivery of an alert; delivering again only counts.

        The incident and its investigation are committed before the workflow starts, and starting twice is
        starting once, so that a crash in between is mended by the next delivery or by `resume`.
        """
        clean = redacted_alert(alert, self._incidents.redactor)
        opened = await self._record(clean, options)
        if opened.open and not await self._start(opened.request, clean):
            await self._mark_lost(opened.request)
            opened = await self._record(clean, options)
            await self._start(opened.request, clean)
        if opened.open and opened.joined == "new_alert":
            handle = self._client.get_workflow_handle_for(
                Investigation.run, workflow_id_of(opened.request.investigation_id)
            )
            try:
                await handle.signal(Investigation.alert_joined, opened.alert_number)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise  # a workflow that closed just now needs no further alert
        return opened

    async def resume(self) -> int:
        """Start the workflows of open investigations that have none; returns how many were open.

        An investigation whose workflow was ended from outside (a terminate) is marked so.
        """
        requests = await asyncio.to_thread(self._incidents.open_investigations)
        for request in requests:
            if not await self._start(request, None):
                await self._mark_lost(request)
        return len(requests)

    async def _record(self, alert: Alert, options: InvestigationOptions) -> OpenedInvestigation:
        received_at = datetime.now(UTC)

        def request_for(incident_id: IncidentId, investigation_id: InvestigationId) -> InvestigationRequest:
            request = InvestigationRequest(
                tenant=self._tenant,
                investigation_id=investigation_id,
                incident_id=incident_id,
                as_of=options.as_of or received_at,
                purpose=options.purpose,
                backend=options.backend,
                source=options.source,
                memory_scope=options.memory_scope,
                service=_label(alert, "service", "job"),
                environment=_label(alert, "environment", "env", "namespace"),
                severity=alert.severity,
                budget=options.budget,
                retry_interval=options.retry_interval,
                heartbeat_timeout=options.heartbeat_timeout,
            )
            return signed(request, self._keys)

        return await asyncio.to_thread(
            self._incidents.receive,
            alert,
            scope=options.memory_scope,
            received_at=received_at,
            quiet_time=self._quiet_time,
            engine_version=ENGINE_VERSION,
            request_for=request_for,
        )

    async def _start(self, request: InvestigationRequest, alert: Alert | None) -> bool:
        """Start the workflow or find it running; False when it ran before and is closed."""
        attributes = {
            "Tenant": request.tenant,
            "IncidentId": request.incident_id,
            "Service": request.service,
            "Environment": request.environment,
            "Severity": request.severity.value,
        }
        try:
            await self._client.start_workflow(
                Investigation.run,
                request,
                id=workflow_id_of(request.investigation_id),
                task_queue=INVESTIGATIONS,
                task_timeout=self._task_timeout,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=alert.title[:LONGEST_ATTRIBUTE] if alert else None,
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
                        for name, value in attributes.items()
                        if value
                    ]
                ),
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def _mark_lost(self, request: InvestigationRequest) -> None:
        """The workflow is closed; unless its report was just published, it was ended from outside."""
        await asyncio.to_thread(
            self._incidents.end, request.investigation_id, how="terminated", ended_at=datetime.now(UTC)
        )


def _label(alert: Alert, *names: str) -> str:
    found = next((alert.labels[name] for name in names if name in alert.labels), "")
    return found[:LONGEST_ATTRIBUTE]
