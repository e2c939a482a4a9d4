"""The typed door for other people's code."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from activities.telemetry.recorded import Bundle, open_bundle
from infra.settings import Settings
from inquest.alertmanager import PayloadError, alerts_from_alertmanager
from workers.alert_ingestion import LIVE_SCOPE, InvestigationOptions
from workers.follow import InvestigationEndedError, InvestigationUpdate, ReportListener, follow
from workers.installation import RECORDED, Installation, open_installation
from workflows.contracts.alert import Alert
from workflows.contracts.identifiers import InvestigationId, workflow_id_of
from workflows.contracts.investigation import Budget, HintRef, Progress, Purpose
from workflows.contracts.report import Report
from workflows.investigation import Investigation as InvestigationWorkflow

HINT_LIMIT = 2_000


class InvestigationNotFoundError(LookupError):
    """There is no investigation of that id for this tenant."""


class TooLateError(RuntimeError):
    """The investigation is concluding or closed: it takes no hint and needs no stop."""


class Investigation:
    """One investigation: follow it, speak to it, stop it, fetch its report."""

    def __init__(
        self, installation: Installation, client: Client, investigation_id: InvestigationId, listener: ReportListener
    ) -> None:
        self.id = investigation_id
        self._listener = listener
        self._client = client
        self._ledger = installation.ledger(investigation_id)
        self._handle = client.get_workflow_handle_for(InvestigationWorkflow.run, workflow_id_of(investigation_id))

    async def progress(self) -> Progress:
        """Where it is now."""
        return await self._handle.query(InvestigationWorkflow.progress)

    def follow(self) -> AsyncIterator[InvestigationUpdate]:
        """Probes and findings as they come, until the report is published.

        Raises:
            InvestigationEndedError: it ended without a report.
        """
        return follow(self._client, self._ledger, self.id)

    async def add_hint(self, text: str, *, author: str = "sdk") -> int:
        """Add what you know; it is redacted before it is stored. Returns how many hints there are.

        Raises:
            ValueError: the text is empty or longer than 2,000 characters.
            TooLateError: the conclusion is already being drawn.
        """
        if not 0 < len(text.strip()) <= HINT_LIMIT:
            raise ValueError(f"a hint has 1 to {HINT_LIMIT:,} characters, this one has {len(text):,}")
        number = await asyncio.to_thread(self._ledger.add_hint, text, author=author, at=datetime.now(UTC))
        with self._handle_too_late():
            return await self._handle.execute_update(InvestigationWorkflow.add_hint, HintRef(number=number))

    async def stop(self) -> None:
        """End the collection; the report says what was not looked at.

        Raises:
            TooLateError: the report is already being published.
        """
        with self._handle_too_late():
            await self._handle.execute_update(InvestigationWorkflow.stop)

    @contextmanager
    def _handle_too_late(self) -> Iterator[None]:
        try:
            yield
        except WorkflowUpdateFailedError as error:
            raise TooLateError(str(error.cause)) from error
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise TooLateError(f"investigation {self.id} is closed") from error

    async def report(self, *, timeout: timedelta | None = None) -> Report:
        """Wait for the report.

        Raises:
            TimeoutError: there is none after `timeout`.
            InvestigationEndedError: it ended without one.
        """

        async def wait() -> Report:
            await self._listener.wait(self.id)
            found = await asyncio.to_thread(self._ledger.report)
            assert found is not None
            return found

        return await asyncio.wait_for(wait(), timeout.total_seconds() if timeout else None)


def _good_bundle(folder: Path) -> Bundle:
    found = open_bundle(folder)
    found.verify()
    return found


def _moment(recording: Bundle, as_of: datetime | None) -> datetime:
    visible = recording.manifest.visible
    if as_of is None:
        return recording.manifest.as_of
    if not visible.start < as_of <= visible.end:
        span = f"{visible.start.isoformat()} to {visible.end.isoformat()}"
        raise OutsideRecordingError(f"as_of {as_of.isoformat()} lies outside of the recording, which shows {span}")
    return as_of


class OutsideRecordingError(ValueError):
    """The moment is not in the recording; the message says what is."""


class Inquest:
    """A connection to one installation. Make it with `connect`."""

    def __init__(self, installation: Installation, client: Client) -> None:
        self._installation = installation
        self._client = client
        self._ingestion = installation.alert_ingestion(client)
        self._listener = ReportListener(client, installation.incidents())

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings | None = None, *, workers: bool = False) -> "AsyncIterator[Inquest]":
        """Connect to the installation that the settings describe; without any, to the embedded one.

        Args:
            settings: explicit settings instead of the environment's and the file's.
            workers: run the workers in this process too; otherwise `inquest up` or `inquest worker` runs them.
        """
        async with AsyncExitStack() as stack:
            opened = open_installation(settings or Settings())
            installation = await asyncio.to_thread(opened.__enter__)
            stack.push_async_callback(asyncio.to_thread, opened.__exit__, None, None, None)
            client = await installation.client()
            if workers:
                await stack.enter_async_context(installation.workers(client))
            yield cls(installation, client)

    async def alerts(self, payload: bytes | str) -> list[Alert]:
        """The alerts in the body of one Alertmanager webhook call; a body that cannot be used is kept and counted.

        Raises:
            PayloadError: it cannot be used; the message says what to send instead.
        """
        try:
            return alerts_from_alertmanager(payload)
        except PayloadError as error:
            content = payload if isinstance(payload, bytes) else payload.encode(errors="replace")
            await asyncio.to_thread(
                self._installation.incidents().reject,
                source="alertmanager",
                reason=str(error),
                content=content,
                received_at=datetime.now(UTC),
            )
            raise

    async def start(
        self,
        alert: Alert,
        *,
        bundle: str | Path,
        as_of: datetime | None = None,
        purpose: Purpose = Purpose.LIVE,
        memory_scope: str = LIVE_SCOPE,
        budget: Budget | None = None,
    ) -> Investigation:
        """Deliver an alert: it opens an investigation, joins the incident's open one, or only counts.

        Args:
            alert: what fired. The same fingerprint again is a repeat; the same group key is the same incident.
            bundle: the recorded incident that answers the queries.
            as_of: the moment every window ends at; None is the moment that the recording names.
            purpose: `live`, `evaluation` or `replay`.
            memory_scope: which past incidents may be recalled, and where this one will be remembered.
            budget: what it may spend; None is the settings' own.

        Raises:
            BundleError: the folder holds no usable recording, or one that was changed.
            OutsideRecordingError: `as_of` is not in the recording.
        """
        settings = self._installation.settings
        recording = await asyncio.to_thread(_good_bundle, Path(bundle))
        opened = await self._ingestion.receive(
            alert,
            InvestigationOptions(
                backend=RECORDED,
                source=str(recording.folder),
                as_of=_moment(recording, as_of),
                purpose=purpose,
                memory_scope=memory_scope,
                budget=budget or Budget(probes=settings.budget_probes, seconds=settings.budget_seconds),
            ),
        )
        return Investigation(self._installation, self._client, opened.request.investigation_id, self._listener)

    async def investigation(self, investigation_id: str) -> Investigation:
        """An earlier investigation.

        Raises:
            InvestigationNotFoundError: there is none of that id.
        """
        found = Investigation(self._installation, self._client, InvestigationId(investigation_id), self._listener)
        if await asyncio.to_thread(self._installation.ledger(found.id).opened_at) is None:
            raise InvestigationNotFoundError(f"there is no investigation {investigation_id}")
        return found


__all__ = [
    "Inquest",
    "Investigation",
    "InvestigationEndedError",
    "InvestigationNotFoundError",
    "OutsideRecordingError",
    "TooLateError",
]
