"""The typed door for other people's code."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.memory.incidents import storable
from activities.memory.proposals import NotJudgedError, keep_feedback
from activities.telemetry.environment import EnvironmentFileError
from activities.telemetry.recorded import Bundle, open_bundle
from infra.database import DatabaseError
from infra.keys import KeyFileError
from infra.settings import Settings
from infra.stack import StackError
from inquest._calls import Calls
from inquest.alertmanager import alerts_from_alertmanager
from inquest.exceptions import (
    InvestigationNotFoundError,
    OutsideRecordingError,
    PayloadError,
    RejectedError,
    TooLateError,
    TooManyHintsError,
    UnavailableError,
)
from workers.alert_ingestion import LIVE_SCOPE, InvestigationOptions
from workers.connect import TemporalSetupError, TemporalUnreachableError
from workers.follow import InvestigationUpdate, ReportListener, follow
from workers.installation import RECORDED, Installation, budget_of, open_installation
from workflows.contracts.alert import Alert
from workflows.contracts.feedback import feedback_of
from workflows.contracts.identifiers import InvestigationId, workflow_id_of
from workflows.contracts.investigation import Budget, HintRef, Phase, Progress, Purpose
from workflows.contracts.report import Report
from workflows.investigation import TOO_MANY
from workflows.investigation import Investigation as InvestigationWorkflow

DEFAULT_TIMEOUT = timedelta(seconds=30)
"""Of every call but those that wait for a report."""

REPORT_TIMEOUT = timedelta(hours=2)
HINT_LIMIT = 2_000
AUTHOR_LIMIT = 200
_UNAVAILABLE = (StackError, DatabaseError, KeyFileError, TemporalUnreachableError, TemporalSetupError)


class Investigation:
    """One investigation: follow it, speak to it, stop it, fetch its report."""

    def __init__(
        self,
        installation: Installation,
        client: Client,
        calls: Calls,
        investigation_id: InvestigationId,
        listener: ReportListener,
    ) -> None:
        self.id = investigation_id
        self._listener = listener
        self._client = client
        self._calls = calls
        self._ledger = installation.ledger(investigation_id)
        self._store, self._tenant = installation.store, installation.tenant
        self._handle = client.get_workflow_handle_for(InvestigationWorkflow.run, workflow_id_of(investigation_id))
        self._speaking = asyncio.Lock()

    async def progress(self, *, timeout: timedelta = DEFAULT_TIMEOUT) -> Progress:
        """Where it is now.

        Raises:
            UnavailableError: nobody answers in time; the workers do, so one has to run.
        """

        async def query() -> Progress:
            try:
                return await self._handle.query(InvestigationWorkflow.progress)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
            return await asyncio.to_thread(self._progress_of_record)

        return await self._calls.make("progress", query, timeout)

    def _progress_of_record(self) -> Progress:
        """Of an investigation that Temporal does not know: not started yet, or closed long ago."""
        report, planned = self._ledger.report(), self._ledger.observation_summaries()
        return Progress(
            phase=Phase.SCOPE if report is None else Phase.DONE,
            probes_planned=len(planned),
            probes_answered=sum(item.status is not None for item in planned),
            stopped_by=None if report is None else report.run.stopped_by,
            outcome="" if report is None else report.findings.verdict.sentence,
        )

    async def follow(self, *, timeout: timedelta | None = REPORT_TIMEOUT) -> AsyncIterator[InvestigationUpdate]:
        """Probes and findings as they come, until the report is published.

        Raises:
            TimeoutError: there is no report after `timeout`; None waits as long as it is open.
            InvestigationEndedError: it ended without a report.
            UnavailableError: the connection is closed, or the servers are gone for good.
        """
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout.total_seconds()
        updates = follow(self._client, self._ledger, self.id)
        while True:
            self._calls.require_open()
            try:
                async with asyncio.timeout_at(deadline):
                    update = await anext(updates, None)
            except TimeoutError as error:
                raise TimeoutError(f"investigation {self.id} has no report after {timeout}") from error
            if update is None:
                return
            yield update

    async def add_hint(self, text: str, *, author: str = "sdk", timeout: timedelta = DEFAULT_TIMEOUT) -> int:
        """Add what you know; it is redacted before it is stored, and stored only if it is accepted.

        Returns:
            How many hints there are.

        Raises:
            RejectedError: the text is empty or longer than 2,000 characters.
            TooLateError: the conclusion is already being drawn.
            TooManyHintsError: it has 100 hints.
            UnavailableError: nobody answers in time; the hint is then not stored.
        """
        _require(text, str, "a hint is a text")
        _require(author, str, "the author of a hint is a text")
        if not 0 < len(text.strip()) <= HINT_LIMIT or len(author) > AUTHOR_LIMIT:
            raise RejectedError(
                f"a hint has 1 to {HINT_LIMIT:,} characters and its author at most {AUTHOR_LIMIT}, "
                f"this one has {len(text):,} and {len(author):,}"
            )

        async def offer() -> int:
            async with self._speaking, self._offered(storable(text), storable(author)) as number:
                with self._handle_rejection():
                    return await self._handle.execute_update(InvestigationWorkflow.add_hint, HintRef(number=number))

        return await self._calls.make("add_hint", offer, timeout)

    @asynccontextmanager
    async def _offered(self, text: str, author: str) -> AsyncIterator[int]:
        """The ledger's offer, its waiting done in threads."""
        offer = self._ledger.offered_hint(text, author=author, at=datetime.now(UTC))
        number = await asyncio.shield(asyncio.to_thread(offer.__enter__))
        try:
            yield number
        except BaseException as error:
            with suppress(type(error)):
                await asyncio.to_thread(offer.__exit__, type(error), error, None)
            raise
        await asyncio.to_thread(offer.__exit__, None, None, None)

    async def stop(self, *, timeout: timedelta = DEFAULT_TIMEOUT) -> None:
        """End the collection; the report says what was not looked at.

        Raises:
            TooLateError: the report is already being published.
            UnavailableError: nobody answers in time.
        """

        async def update() -> None:
            with self._handle_rejection():
                await self._handle.execute_update(InvestigationWorkflow.stop)

        await self._calls.make("stop", update, timeout)

    async def give_feedback(
        self,
        judgement: str,
        *,
        cause: str | None = None,
        kind: str = "unknown",
        change: str = "",
        note: str = "",
        author: str = "sdk",
        timeout: timedelta = DEFAULT_TIMEOUT,
    ) -> None:
        """Say whether the verdict was right; it is redacted, and later investigations that recall it say so.

        Args:
            judgement: `right`, `wrong` or `partly`.
            cause: the root cause, as `kind:name`.
            kind: what was wrong with it.
            change: id of the change that brought it in.
            note: how this is known; it is proposed as a fact.
            author: who says so.
            timeout: how long an outage is ridden out.

        Raises:
            RejectedError: a word cannot be used, or there is no report yet.
            UnavailableError: nobody answers in time.
        """
        words = [judgement, kind, change, note, author, *([] if cause is None else [cause])]
        for word in words:
            _require(word, str, "what is said of a verdict is text")
        clean = [storable(word) for word in words]
        try:
            given = feedback_of(
                clean[0],
                kind=clean[1],
                change=clean[2],
                note=clean[3],
                author=clean[4],
                cause=None if cause is None else clean[5],
                given_at=datetime.now(UTC),
            )
        except ValueError as error:
            raise RejectedError(str(error)) from error

        async def keep() -> None:
            try:
                await asyncio.to_thread(keep_feedback, self._store, self._tenant, self.id, given)
            except NotJudgedError as error:
                raise RejectedError(str(error)) from error

        await self._calls.make("give_feedback", keep, timeout)

    @contextmanager
    def _handle_rejection(self) -> Iterator[None]:
        try:
            yield
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == TOO_MANY:
                raise TooManyHintsError(str(error.cause)) from error
            raise TooLateError(str(error.cause)) from error
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise TooLateError(f"investigation {self.id} is closed, or has not started yet") from error

    async def report(self, *, timeout: timedelta | None = REPORT_TIMEOUT) -> Report:
        """Wait for the report.

        Raises:
            TimeoutError: there is none after `timeout`; None waits as long as it is open.
            InvestigationEndedError: it ended without one.
            UnavailableError: the connection is closed, or the servers are gone for good.
        """
        self._calls.require_open()
        try:
            async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
                await self._listener.wait(self.id)
        except TimeoutError as error:
            raise TimeoutError(f"investigation {self.id} has no report after {timeout}") from error

        async def read() -> Report:
            found = await asyncio.to_thread(self._ledger.report)
            assert found is not None
            return found

        return await self._calls.make("report", read, DEFAULT_TIMEOUT)


def _require(value: object, kind: type | tuple[type, ...], sentence: str) -> None:
    if not isinstance(value, kind):
        raise RejectedError(f"{sentence}, not {type(value).__name__}")


@lru_cache(maxsize=64)
def _verified_bundle(folder: Path, _state: tuple[tuple[str, int, int], ...]) -> Bundle:
    found = open_bundle(folder)
    found.verify()
    return found


def _good_bundle(folder: Path) -> Bundle:
    """The bundle; its digests are computed again when a file of it was written since."""
    open_bundle(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    state = tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _verified_bundle(folder.absolute(), state)


def _recorded(folder: Path, as_of: datetime | None) -> InvestigationOptions:
    recording = _good_bundle(folder)
    return InvestigationOptions(backend=RECORDED, recording=recording, as_of=_moment(recording, as_of))


def _moment(recording: Bundle, as_of: datetime | None) -> datetime:
    visible = recording.manifest.visible
    if as_of is None:
        return recording.manifest.as_of
    if as_of.tzinfo is None:
        raise OutsideRecordingError(f"as_of {as_of.isoformat()} names no time zone")
    if not visible.start < as_of <= visible.end:
        span = f"{visible.start.isoformat()} to {visible.end.isoformat()}"
        raise OutsideRecordingError(f"as_of {as_of.isoformat()} lies outside of the recording, which shows {span}")
    return as_of


class Inquest:
    """A connection to one installation. Make it with `connect`."""

    def __init__(self, installation: Installation, client: Client, calls: Calls) -> None:
        self._installation = installation
        self._client = client
        self._calls = calls
        self._ingestion = installation.alert_ingestion(client)
        self._listener = ReportListener(client, installation.incidents(), calls.require_open)

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings | None = None, *, workers: bool = False) -> "AsyncIterator[Inquest]":
        """Connect to the installation that the settings describe; without any, to the embedded one.

        Args:
            settings: explicit settings instead of the environment's and the file's.
            workers: run the workers in this process too; otherwise `inquest up` or `inquest worker` runs them.

        Raises:
            UnavailableError: a server does not answer, or cannot be used as it is; the message says what to do.
            RejectedError: a setting cannot be used.
        """
        async with AsyncExitStack() as stack:
            try:
                opened = open_installation(settings or Settings())
                installation = await asyncio.to_thread(opened.__enter__)
                stack.push_async_callback(asyncio.to_thread, opened.__exit__, None, None, None)
                client = await installation.client()
                if workers:
                    await stack.enter_async_context(installation.workers(client))
            except _UNAVAILABLE as error:
                raise UnavailableError(str(error)) from error
            except SQLAlchemyError as error:
                raise UnavailableError(f"the database cannot be used: {type(error).__name__}") from error
            except ValidationError as error:
                raise RejectedError(f"settings: {error}") from error
            calls = Calls(installation.stack)
            stack.callback(calls.close)
            yield cls(installation, client, calls)

    async def alerts(self, payload: bytes | str, *, timeout: timedelta = DEFAULT_TIMEOUT) -> list[Alert]:
        """The alerts in the body of one Alertmanager webhook call; a body that cannot be used is kept and counted.

        Raises:
            PayloadError: it cannot be used; the message says what to send instead.
        """
        try:
            return alerts_from_alertmanager(payload)
        except PayloadError as error:
            content = payload if isinstance(payload, bytes) else str(payload).encode(errors="replace")
            reason, received_at = str(error), datetime.now(UTC)

            async def keep() -> None:
                await asyncio.to_thread(
                    self._installation.incidents().reject,
                    source="alertmanager",
                    reason=reason,
                    content=content,
                    received_at=received_at,
                )

            await self._calls.make("alerts", keep, timeout)
            raise

    async def start(
        self,
        alert: Alert,
        *,
        bundle: str | Path | None = None,
        environment: str | None = None,
        as_of: datetime | None = None,
        purpose: Purpose = Purpose.LIVE,
        memory_scope: str = LIVE_SCOPE,
        budget: Budget | None = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
    ) -> Investigation:
        """Deliver an alert: it opens an investigation, joins the incident's open one, or only counts.

        Once the alert is recorded this returns: a Temporal that does not take the workflow gets it later.

        Args:
            alert: what fired. The same fingerprint again is a repeat; the same group key is the same incident.
            bundle: the recorded incident that answers the queries; or
            environment: the running system whose sources do.
            as_of: the moment every window ends at; None is the moment that the recording names, or now.
            purpose: `live`, `evaluation` or `replay`.
            memory_scope: which past incidents may be recalled, and where this one will be remembered.
            budget: what it may spend; None is the settings' own.
            timeout: how long an outage is ridden out.

        Raises:
            UnavailableError: the database does not answer in time. Deliver it again: that only counts.
            RejectedError: something that was given cannot be used.
            BundleError: the folder holds no usable recording, or one that was changed.
            OutsideRecordingError: `as_of` is not in the recording.
        """
        _require(alert, Alert, "alert is an inquest.Alert")
        _require(memory_scope, str, "memory_scope is a text")
        if (bundle is None) == (environment is None):
            raise RejectedError("name either the bundle or the environment that answers the queries")
        if environment is not None:
            options = await asyncio.to_thread(self._live, environment, as_of)
        else:
            _require(bundle, (str, Path), "bundle is the folder of a recorded incident")
            assert bundle is not None
            options = await asyncio.to_thread(_recorded, Path(bundle), as_of)
        settings = self._installation.settings
        options = replace(
            options,
            purpose=purpose,
            memory_scope=storable(memory_scope),
            budget=budget or budget_of(settings),
        )
        recorded = await self._calls.make("start", lambda: self._ingestion.record(alert, options), timeout)
        opened = await self._ingestion.begin(recorded, alert, options)
        return self._investigation(opened.request.investigation_id)

    def _live(self, environment: str, as_of: datetime | None) -> InvestigationOptions:
        _require(environment, str, "environment is a name")
        if as_of is not None and as_of.tzinfo is None:
            raise RejectedError(f"as_of {as_of.isoformat()} names no time zone")
        try:
            return self._installation.live_options(environment, as_of=as_of)
        except EnvironmentFileError as error:
            raise RejectedError(str(error)) from error

    async def investigation(self, investigation_id: str, *, timeout: timedelta = DEFAULT_TIMEOUT) -> Investigation:
        """An earlier investigation.

        Raises:
            InvestigationNotFoundError: there is none of that id.
            UnavailableError: the database does not answer in time.
        """
        try:
            found = self._investigation(InvestigationId(str(UUID(investigation_id))))
        except (ValueError, AttributeError, TypeError):
            raise InvestigationNotFoundError(f"{investigation_id!r:.80} is no id of an investigation") from None

        async def opened_at() -> datetime | None:
            return await asyncio.to_thread(self._installation.ledger(found.id).opened_at)

        if await self._calls.make("investigation", opened_at, timeout) is None:
            raise InvestigationNotFoundError(f"there is no investigation {found.id}")
        return found

    def _investigation(self, investigation_id: InvestigationId) -> Investigation:
        return Investigation(self._installation, self._client, self._calls, investigation_id, self._listener)


__all__ = ["Inquest", "Investigation"]
