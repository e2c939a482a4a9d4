"""The one door for alerts: redact, record, open or join the investigation, start its workflow."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
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

from activities.inference.models_file import ModelNotAllowedError, Models, no_models, workloads_of
from activities.memory.inbox import Inbox, InboxItem
from activities.memory.incidents import Delivery, Incidents, OpenedInvestigation, redacted_alert
from activities.memory.recordings import Recordings
from activities.memory.store import signed
from activities.safety.keys import Keys
from activities.telemetry.recorded import Bundle
from workflows.contracts.alert import Alert, AlertStatus
from workflows.contracts.environment import SourceRef
from workflows.contracts.identifiers import IncidentId, InvestigationId, Tenant, investigation_id_of, workflow_id_of
from workflows.contracts.investigation import Budget, InvestigationRequest, Purpose
from workflows.contracts.version import ENGINE_VERSION
from workflows.investigation import Investigation
from workflows.steps import INVESTIGATIONS, LONGEST_INVESTIGATION

LOG = structlog.stdlib.get_logger(__name__)
LIVE_SCOPE = "live"
TERMINATED = "terminated"
RPC_LIMIT = timedelta(seconds=10)
LONGEST_ATTRIBUTE = 200


@dataclass(frozen=True, kw_only=True)
class InvestigationOptions:
    """What is requested, beside the alert."""

    backend: str
    recording: Bundle | None = None
    """For the `recorded` backend: what answers."""

    environment: str = ""
    """The environment's name; of a recording it is empty, and the alert's labels say it."""

    sources: tuple[SourceRef, ...] = ()
    """The environment's sources; none where one backend answers everything."""

    as_of: datetime | None = None
    """None: now."""

    purpose: Purpose = Purpose.LIVE
    memory_scope: str = LIVE_SCOPE
    model: str | None = None
    """The endpoint of the language model; empty: none; None: the first that may see the workload."""

    budget: Budget = field(default_factory=Budget)
    retry_interval: timedelta = timedelta(seconds=1)
    heartbeat_timeout: timedelta = timedelta(seconds=10)

    @property
    def incident_scope(self) -> str:
        """Alerts of different environments belong to different incidents, whatever they are called."""
        live = self.purpose is Purpose.LIVE and self.sources
        return f"{self.memory_scope}@{self.environment}" if live else self.memory_scope


class AlertIngestion:
    """Takes alerts in for one tenant."""

    def __init__(
        self,
        client: Client,
        incidents: Incidents,
        inbox: Inbox,
        recordings: Recordings,
        *,
        tenant: Tenant,
        keys: Keys,
        quiet_time: timedelta,
        models: Callable[[], Models] = no_models,
        task_timeout: timedelta = timedelta(seconds=5),
    ) -> None:
        self._client = client
        self._incidents = incidents
        self._inbox = inbox
        self._recordings = recordings
        self._tenant = tenant
        self._keys = keys
        self._quiet_time = quiet_time
        self._models = models
        self._task_timeout = task_timeout
        self._unsignalled: dict[InvestigationId, int] = {}

    async def receive(self, alert: Alert, options: InvestigationOptions) -> OpenedInvestigation:
        """Take one delivery of an alert; delivering again only counts.

        The incident and its investigation are committed before the workflow starts, and starting twice is
        starting once, so that a crash in between is mended by the next delivery or by `resume`.
        """
        return await self.begin(await self.record(alert, options), alert, options)

    async def begin(
        self, opened: OpenedInvestigation, alert: Alert, options: InvestigationOptions
    ) -> OpenedInvestigation:
        """Start the workflow of a recorded alert, or tell the running one; what Temporal does not take comes later."""
        try:
            if opened.open and not await self._start(opened.request, opened.title):
                await self._mark_ended(opened.request, await self._how_it_closed(opened.request.investigation_id))
                opened = await self.record(alert, options)
                await self._start(opened.request, opened.title)
            if opened.open and opened.joined == "new_alert":
                await self._signal(opened.request.investigation_id, opened.alert_number)
        except (RPCError, SQLAlchemyError) as error:
            LOG.warning("alert.not_started", investigation_id=opened.request.investigation_id, reason=str(error))
            return replace(opened, not_started=str(error))
        return opened

    async def resume(self) -> int:
        """Start the workflows of open investigations that have none; returns how many were open.

        One whose workflow is closed was ended from outside, and is marked so.
        """
        for investigation_id, number in list(self._unsignalled.items()):
            await self._signal(investigation_id, number)
        requests = await asyncio.to_thread(self._incidents.open_investigations)
        running = await self._running() if requests else frozenset()
        for request in requests:
            if request.investigation_id not in running and not await self._start(request, ""):
                await self._mark_ended(request, await self._how_it_closed(request.investigation_id))
        return len(requests)

    async def _signal(self, investigation_id: InvestigationId, number: int) -> None:
        """Tell the workflow of a further alert; what Temporal does not take now is told by the next sweep."""
        self._unsignalled[investigation_id] = max(number, self._unsignalled.get(investigation_id, 0))
        handle = self._client.get_workflow_handle_for(Investigation.run, workflow_id_of(investigation_id))
        try:
            await handle.signal(Investigation.alert_joined, self._unsignalled[investigation_id], rpc_timeout=RPC_LIMIT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise  # a workflow that closed just now needs no further alert
        self._unsignalled.pop(investigation_id, None)

    async def _running(self) -> frozenset[InvestigationId]:
        """Investigations whose workflow runs, as far as visibility knows: it may be a second behind."""
        query = f"WorkflowType = 'investigation' AND ExecutionStatus = 'Running' AND Tenant = '{self._tenant}'"
        return frozenset([investigation_id_of(item.id) async for item in self._client.list_workflows(query)])

    async def _how_it_closed(self, investigation_id: InvestigationId) -> str:
        status = (await self._client.get_workflow_handle(workflow_id_of(investigation_id)).describe()).status
        return status.name.lower() if status is not None else TERMINATED

    async def record(self, alert: Alert, options: InvestigationOptions) -> OpenedInvestigation:
        """Redact and commit one delivery, and nothing else."""
        delivery = await asyncio.to_thread(self._delivery, alert, options)
        return await asyncio.to_thread(self._incidents.receive, delivery)

    async def dispatch(self, item: InboxItem, options: InvestigationOptions) -> OpenedInvestigation | None:
        """Process one delivery that waits in the inbox; None when somebody else has it.

        It is recorded and taken out of the inbox in one transaction, and the workflow is started after that: what is
        lost in between is started by the sweeper.
        """
        alert = item.alert
        if alert.status is AlertStatus.RESOLVED:
            await self._note_resolved(item, options)
            return None
        delivery = await asyncio.to_thread(self._delivery, alert, options)
        opened = await asyncio.to_thread(self._incidents.dispatch, delivery, item.inbox_id)
        return None if opened is None else await self.begin(opened, alert, options)

    async def _note_resolved(self, item: InboxItem, options: InvestigationOptions) -> None:
        """A resolved alert opens nothing: it is noted, and the running investigation is told."""
        scope = options.incident_scope
        investigation_id = await asyncio.to_thread(self._incidents.open_of, item.alert, scope=scope)
        if investigation_id is not None:
            handle = self._client.get_workflow_handle_for(Investigation.run, workflow_id_of(investigation_id))
            try:
                await handle.signal(Investigation.alert_resolved, rpc_timeout=RPC_LIMIT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
        how = "resolved" if investigation_id is not None else "resolved, nothing is open"
        await asyncio.to_thread(self._inbox.processed, item, how=how, at=datetime.now(UTC))

    def _delivery(self, alert: Alert, options: InvestigationOptions) -> Delivery:
        alert, received_at = redacted_alert(alert, self._incidents.redactor), datetime.now(UTC)
        recording = options.recording
        registered = (
            self._recordings.register(recording.folder, recording.manifest_sha256, at=received_at) if recording else ""
        )

        def request_for(incident_id: IncidentId, investigation_id: InvestigationId) -> InvestigationRequest:
            request = InvestigationRequest(
                tenant=self._tenant,
                investigation_id=investigation_id,
                incident_id=incident_id,
                as_of=options.as_of or received_at,
                purpose=options.purpose,
                backend=options.backend,
                source=registered,
                sources=options.sources,
                memory_scope=options.memory_scope,
                service=_label(alert, "service", "job"),
                environment=options.environment or _label(alert, "environment", "env", "namespace"),
                severity=alert.severity,
                model=self._model_for(alert, options),
                budget=options.budget,
                retry_interval=options.retry_interval,
                heartbeat_timeout=options.heartbeat_timeout,
            )
            return signed(request, self._keys)

        return Delivery(
            alert=alert,
            scope=options.incident_scope,
            received_at=received_at,
            quiet_time=self._quiet_time,
            engine_version=ENGINE_VERSION,
            request_for=request_for,
        )

    def _model_for(self, alert: Alert, options: InvestigationOptions) -> str:
        """Which endpoint may see what the alert is about; the step that asks it looks again, at all alerts.

        Raises:
            ModelNotAllowedError: the one that was asked for may not.
        """
        if options.model == "" or not (options.budget.rounds and options.budget.tokens):
            return ""
        models = self._models()
        environment = options.environment or _label(alert, "environment", "env", "namespace")
        workloads = workloads_of([alert], environment)
        if options.model is None:
            found = models.allowed(workloads)
            return "" if found is None else found.name
        if models.cleared(options.model, workloads) is None:
            raise ModelNotAllowedError(
                options.model, models.tier(workloads).name, known=[e.name for e in models.endpoints]
            )
        return options.model

    async def _start(self, request: InvestigationRequest, title: str) -> bool:
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
                execution_timeout=LONGEST_INVESTIGATION,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=title[:LONGEST_ATTRIBUTE] or None,
                rpc_timeout=RPC_LIMIT,
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

    async def _mark_ended(self, request: InvestigationRequest, how: str) -> None:
        """The workflow is closed; unless its report was just published, it was ended from outside."""
        await asyncio.to_thread(self._incidents.end, request.investigation_id, how=how, ended_at=datetime.now(UTC))


def _label(alert: Alert, *names: str) -> str:
    found = next((alert.labels[name] for name in names if name in alert.labels), "")
    return found[:LONGEST_ATTRIBUTE]
