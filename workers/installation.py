"""Everything a process needs, opened from the settings and closed in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.service import RPCError

from activities.inference.models_file import Models, ModelsFileError
from activities.memory.incidents import Incidents
from activities.memory.knowledge.endpoint import EndpointEmbedder
from activities.memory.ledger import Ledger
from activities.memory.session import close_engine, ledger_engine, of_tenant
from activities.memory.store import Store
from activities.safety.keys import Keys
from activities.safety.personal import AddressPolicy
from activities.telemetry.announced import AnnouncedBackend
from activities.telemetry.backend import Answer, TelemetryBackend
from activities.telemetry.entities import Resolver
from activities.telemetry.environment import (
    Environment,
    EnvironmentFileError,
    EnvironmentMissingError,
    SourceConfig,
    read_environments,
)
from activities.telemetry.recorded import Bundle, BundleError, CapturedBackend, RecordedBackend, open_bundle
from activities.telemetry.registry import Opening, backend_kinds, modalities
from activities.telemetry.steps import BackendFor
from infra.database import prepare_database
from infra.keys import read_keys
from infra.settings import Settings
from infra.stack import Stack, StackError, hold_stack
from workers.alert_ingestion import AlertIngestion, InvestigationOptions
from workers.connect import TemporalUnreachableError, connect, require_setup, set_retention
from workers.known_models import known_models
from workers.processes import worker_processes
from workers.sweeper import Sweeper
from workers.upkeep import keep_schedule, running_upkeep
from workers.worker import Work, running_workers
from workflows.contracts.environment import EntityMapping, SourceRef
from workflows.contracts.identifiers import InvestigationId, Tenant
from workflows.contracts.investigation import Budget, InvestigationRequest
from workflows.contracts.probe import Probe
from workflows.steps import LIVE

LOG = structlog.stdlib.get_logger(__name__)
RECORDED, ANNOUNCED = "recorded", "announced"
SCRATCH = "scratch"
KEYS = "keys"
Result = TypeVar("Result")
LEAST_MEMORY_MB = 128
EMBEDDED_TRIES, EMBEDDED_PAUSE_S = 20, 0.5


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Held servers and the memory store."""

    settings: Settings
    stack: Stack
    store: Store

    @property
    def engine(self) -> Engine:
        """Connected as the ledger's role; its transactions see this tenant's rows."""
        return of_tenant(self.store.engine, self.tenant)

    @property
    def tenant(self) -> Tenant:
        """Whose data this process works on."""
        return Tenant(self.settings.tenant)

    def ledger(self, investigation_id: InvestigationId) -> Ledger:
        """The record of one investigation."""
        return self.store.ledger(self.tenant, investigation_id)

    def incidents(self) -> Incidents:
        """The tenant's incidents."""
        return self.store.incidents(self.tenant)

    async def client(self) -> Client:
        """A Temporal client.

        Raises:
            TemporalUnreachableError: Temporal does not answer.
            TemporalSetupError: a cluster of the user's lacks the namespace or search attributes.
        """
        tries = 1 if self.settings.temporal_address is not None else EMBEDDED_TRIES
        for _ in range(tries - 1):  # our own server may just be brought back by its supervisor
            with suppress(TemporalUnreachableError):
                return await self._connected()
            await asyncio.sleep(EMBEDDED_PAUSE_S)
        return await self._connected()

    async def _connected(self) -> Client:
        client = await connect(self.stack.temporal_address, self.settings, self.store.keys)
        if self.settings.temporal_address is not None:
            await require_setup(client, self.settings.temporal_address)
        else:
            try:
                await set_retention(client, self.settings.retention)
            except RPCError as error:
                raise TemporalUnreachableError(f"the embedded Temporal does not answer ({error})") from error
        return client

    async def guarded(self, work: Coroutine[None, None, Result]) -> Result:
        """Do `work` as long as there are servers.

        Raises:
            StackError: the embedded servers are gone and do not come back.
        """
        task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
        losses: list[StackError] = []

        def end(error: StackError) -> None:
            losses.append(error)
            with suppress(RuntimeError):  # the loop has just been closed: the work is over
                loop.call_soon_threadsafe(task.cancel)

        if self.stack.lease is not None:
            self.stack.lease.on_loss(end)
        try:
            return await task
        except asyncio.CancelledError:
            if losses:
                raise losses[0] from None
            raise

    def alert_ingestion(self, client: Client, *, quiet_time: timedelta | None = None) -> AlertIngestion:
        """The door for alerts, with the settings' quiet time unless another is given."""
        quiet = self.settings.quiet_time if quiet_time is None else quiet_time
        return AlertIngestion(
            client,
            self.incidents(),
            self.store.inbox(self.tenant),
            self.store.recordings(self.tenant),
            tenant=self.tenant,
            keys=self.store.keys,
            quiet_time=quiet,
            models=self.models,
        )

    def recording_of(self, request: InvestigationRequest) -> Bundle:
        """The recording that a request names, open.

        Raises:
            BundleError: it cannot be used any more, or is not the one that was registered.
        """
        registered_as = self.store.recordings(request.tenant).folder_of(request.source)
        if registered_as is None:
            raise BundleError(Path(request.source), "is not registered here", "Investigate its folder anew.")
        folder, registered = registered_as
        found = open_bundle(folder)
        if registered is not None and found.manifest_sha256 != registered:
            raise BundleError(
                folder, "is another recording than when the investigation was opened", "Investigate it anew."
            )
        return found

    def recorded_backend(
        self, request: InvestigationRequest, _who: object = None, *, share: int = 1, processes: int = 1
    ) -> RecordedBackend | CapturedBackend:
        """The backend over the bundle a request names; for the limits see `backend_over`."""
        return backend_over(self.recording_of(request), self.settings, share=share, processes=processes)

    def environments(self) -> dict[str, Environment]:
        """Every environment that can be used by its name, read anew; one that cannot is logged, and costs no other."""
        found, problems = read_environments(self.settings.environments_dir)
        for name, reason in problems.items():
            LOG.warning("environment.unusable", environment=name, reason=reason)
        return found

    def live_options(self, environment: str, *, as_of: datetime | None = None) -> InvestigationOptions:
        """What an investigation in an environment is started with.

        Raises:
            EnvironmentMissingError: there is no such environment.
            EnvironmentFileError: its file cannot be used.
        """
        known, problems = read_environments(self.settings.environments_dir)
        if environment in problems:
            raise EnvironmentFileError(problems[environment])
        if environment not in known:
            there = f"there are {', '.join(known)}" if known else f"{self.settings.environments_dir} holds none"
            raise EnvironmentMissingError(f"there is no environment {environment!r}: {there}")
        return InvestigationOptions(
            backend=LIVE,
            environment=environment,
            sources=(*known[environment].refs(modalities()), SourceRef(name=ANNOUNCED, modalities=("changes",))),
            as_of=as_of,
            budget=budget_of(self.settings),
        )

    def models(self) -> Models:
        """Which language models there are now; none while the file cannot be used: an investigation needs none."""
        try:
            return known_models(self.settings)
        except ModelsFileError as error:
            LOG.warning("models.not_usable", reason=str(error))
            return Models()

    def mappings_for(self, request: InvestigationRequest) -> tuple[EntityMapping, ...]:
        """What people said about who is who in the request's environment."""
        if request.backend == RECORDED:
            return self.recording_of(request).manifest.mappings if request.sources else ()
        found = self.environments().get(request.environment)
        return () if found is None else found.mappings

    def captured_for(self, request: InvestigationRequest) -> list[tuple[Probe, Answer]] | None:
        """What the captured investigation recalled that a request replays; None where it replays none.

        Its collection says so where the recording is away; then nothing is recalled.
        """
        if request.backend != RECORDED:
            return None
        try:
            bundle = self.recording_of(request)
            return None if bundle.manifest.answers is None else CapturedBackend(bundle).recalled()
        except BundleError as error:
            LOG.warning("recall.without_recording", reason=str(error))
            return []

    def source_names(self) -> list[str]:
        """Every source that has a task queue: recordings together, and those of the environments."""
        return [RECORDED, *self._source_backends()]

    def _source_backends(self) -> dict[str, BackendFor]:
        """How each source of every environment is opened."""
        found: dict[str, BackendFor] = {ANNOUNCED: self._announced_backend}
        for environment in self.environments().values():
            for source in environment.sources:
                found[source.name] = partial(_open_source, source)
        return found

    def _announced_backend(self, request: InvestigationRequest, resolver: Callable[[], Resolver]) -> TelemetryBackend:
        changes = self.store.announced_changes(request.tenant)
        return AnnouncedBackend(changes, request.environment, cache(resolver))

    def sweeper(self, client: Client) -> Sweeper:
        """Looks after open and closed investigations."""
        ingestion = self.alert_ingestion(client)
        return Sweeper(
            client,
            self.store,
            self.tenant,
            ingestion,
            backends=self.source_names(),
            retention=self.settings.retention,
        )

    @asynccontextmanager
    async def workers(self, client: Client, *, work: Work = Work.ALL, processes: int = 1) -> AsyncIterator[None]:
        """Workers for every queue, and a sweeper, in this process.

        Args:
            client: connected to Temporal.
            work: the part of the work that this process does.
            processes: how many processes share the heavy part with this one, itself included.
        """
        share = self.settings.investigations_at_once * processes
        recorded_backend = partial(self.recorded_backend, share=share, processes=processes)
        async with (
            running_workers(
                client,
                self.store,
                backends={RECORDED: recorded_backend, **self._source_backends()},
                mappings_for=self.mappings_for,
                captured_for=self.captured_for,
                models=self.models,
                threads=self.settings.worker_threads,
                at_once=self.settings.investigations_at_once,
                build=self.settings.worker_build,
                work=work,
            ),
            AsyncExitStack() as beside,
        ):
            if work is not Work.HEAVY:
                await beside.enter_async_context(self.sweeper(client).running())
            yield

    @asynccontextmanager
    async def upkeep(self, client: Client) -> AsyncIterator[None]:
        """The library's upkeep: its schedule, and the worker that does it."""
        async with running_upkeep(client, self.store):
            await keep_schedule(client, self.tenant, self.settings.knowledge_refresh)
            yield

    @asynccontextmanager
    async def all_workers(self, client: Client) -> AsyncIterator[None]:
        """Workers for every queue, the heavy part in as many processes as the settings say."""
        if self.settings.worker_processes == 1:
            async with self.workers(client):
                yield
        else:
            async with self.workers(client, work=Work.LIGHT), worker_processes(self.settings):
                yield


def _open_source(
    config: SourceConfig, _request: InvestigationRequest, resolver: Callable[[], Resolver]
) -> TelemetryBackend:
    return backend_kinds()[config.backend].open(Opening(config=config, resolver=cache(resolver)))


def backend_over(
    bundle: Bundle, settings: Settings, *, share: int = 1, processes: int = 1
) -> RecordedBackend | CapturedBackend:
    """The backend that answers from a bundle: from its telemetry, or from captured answers.

    Args:
        bundle: open.
        settings: with the limits.
        share: how many backends may be open at once in all processes: they share the memory.
        processes: which share the cores.
    """
    if bundle.manifest.answers is not None:
        return CapturedBackend(bundle)
    return RecordedBackend(
        bundle,
        scratch=settings.data_dir / SCRATCH,
        threads=max(1, settings.analysis_threads // processes),
        memory_mb=max(LEAST_MEMORY_MB, settings.memory_limit_mb // share),
    )


def _endpoint_of(settings: Settings) -> EndpointEmbedder | None:
    if settings.embeddings_url is None:
        return None
    key = settings.embeddings_key
    return EndpointEmbedder(
        settings.embeddings_url,
        model=settings.embeddings_model,
        build=settings.embeddings_build,
        key=None if key is None else key.get_secret_value(),
    )


def budget_of(settings: Settings) -> Budget:
    """What an investigation may spend unless somebody says otherwise."""
    return Budget(
        probes=settings.budget_probes,
        seconds=settings.budget_seconds,
        tokens=settings.budget_tokens,
        rounds=settings.budget_rounds,
    )


@contextmanager
def open_installation(settings: Settings) -> Iterator[Installation]:
    """Hold the stack, bring the schema up to date, connect the ledger.

    Raises:
        StackError: an embedded server did not come up.
        DatabaseError: the database cannot be used.
        KeyFileError: the keys cannot be used.
    """
    with hold_stack(settings) as stack:
        keys = Keys(*read_keys(settings.keys_dir or settings.data_dir / KEYS))
        engine = ledger_engine(prepare_database(stack), pool_size=settings.worker_threads + 4)
        try:
            store = Store(
                engine=engine,
                keys=keys,
                addresses=AddressPolicy(settings.ip_addresses),
                endpoint=_endpoint_of(settings),
            )
            yield Installation(settings=settings, stack=stack, store=store)
        finally:
            close_engine(engine)
