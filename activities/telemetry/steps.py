"""The activities that query one configured backend: `scope` and `collect`."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime

import polars as pl
from temporalio import activity

from activities.answers import decode
from activities.memory.ledger import Ledger, observation_statuses
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.store import Store
from activities.progress import progressed
from activities.step import Outcome, StepInterruptedError, run_step
from activities.telemetry.backend import Answer, BackendUnavailableError, TelemetryBackend
from activities.telemetry.observe import commit, observe
from activities.telemetry.plan import plan_probes, topology_probe
from activities.telemetry.recorded.bundle import BundleError
from activities.turns import Turns
from workflows.contracts.identifiers import EntityId
from workflows.contracts.investigation import (
    CollectResult,
    InvestigationRequest,
    ScopeResult,
    StepInput,
)
from workflows.contracts.observation import Observation, ObservationStatus
from workflows.contracts.probe import Probe
from workflows.steps import COLLECT, COLLECT_BEFORE_0_5, SCOPE, TELEMETRY_TRIES

BackendFor = Callable[[InvestigationRequest], TelemetryBackend]
LOOK_EVERY_S = 0.2
AWAY_AFTER = 12
"""Queries in a row that cannot reach the backend, after which it is taken for away until the next attempt."""

AT_ONCE = 4
"""Queries put to one backend at the same time."""


class TelemetryActivities:
    """Scope and collect against one backend, which is opened for each attempt and closed after it."""

    def __init__(self, store: Store, backend_for: BackendFor, turns: Turns | None = None) -> None:
        self._store = store
        self._turns = turns
        self._backend_for = backend_for

    @activity.defn(name=SCOPE.name, no_thread_cancel_exception=True)
    def scope(self, given: StepInput) -> ScopeResult:
        """Query what exists, and plan what to query about it."""
        return run_step(self._store, SCOPE, given, self._scope, turns=self._turns)

    @activity.defn(name=COLLECT.name, no_thread_cancel_exception=True)
    def collect(self, given: StepInput) -> CollectResult:
        """Run every planned query of the round that has no answer yet; each answer is committed as it comes."""
        return run_step(self._store, COLLECT, given, self._collect, turns=self._turns)

    @activity.defn(name=COLLECT_BEFORE_0_5.name, no_thread_cancel_exception=True)
    def collect_before_0_5(self, given: StepInput) -> CollectResult:
        """The same for investigations that began under an earlier version."""
        return run_step(self._store, COLLECT_BEFORE_0_5, given, self._collect, turns=self._turns)

    def _scope(self, ledger: Ledger, given: StepInput) -> Outcome:
        request = given.request
        first = topology_probe(request.backend, request.as_of)
        answer = ledger.observations().get(first.key)
        if answer is None:
            answer = self._query_first(ledger, request, first)
        rows = pl.DataFrame() if answer.artifact is None else decode(ledger.artifact(answer.artifact))
        kinds: dict[EntityId, str] = {}
        edges: list[tuple[EntityId, EntityId]] = []
        for row in rows.iter_rows(named=True):
            if row["target"]:
                edges.append((EntityId(row["source"]), EntityId(row["target"])))
            else:
                kinds[EntityId(row["source"])] = row["kind"]
        alerting = [item.alert.entity for item in ledger.alerts() if item.alert.entity is not None]
        for name in alerting:
            kinds.setdefault(name, name.partition(":")[0])
        full = plan_probes(backend=request.backend, as_of=request.as_of, kinds=kinds, edges=edges, alerting=alerting)
        room = max(0, request.budget.probes - 1)
        return Outcome(
            ScopeResult(
                entities=len(kinds),
                probes_planned=1 + min(len(full), room),
                over_budget=max(0, len(full) - room),
            ),
            LedgerBatch().probes([first, *full]),
        )

    def _query_first(self, ledger: Ledger, request: InvestigationRequest, first: Probe) -> Observation:
        """What exists. On the last attempt an unreachable backend is an answer too: the alert's entity is left."""
        try:
            with self._backend(request) as backend:
                return observe(ledger, backend, first)
        except (BackendUnavailableError, BundleError) as error:
            return commit(ledger, first, _unanswered(ledger, SCOPE.name, error))

    def _collect(self, ledger: Ledger, given: StepInput) -> Outcome:
        request = given.request
        started = time.monotonic()
        spent = sum(len(ledger.answered_keys(number)) for number in range(given.round))
        planned = ledger.probes(given.round)
        plan = planned[: max(0, request.budget.probes - spent)]
        known = ledger.answered_keys(given.round)
        missing = [probe for probe in plan if probe.key not in known]
        if missing and given.stopped_by is None:
            self._query_all(ledger, given, missing, deadline=started + request.budget.seconds)
        answered = len(ledger.answered_keys(given.round) & {probe.key for probe in plan})
        return Outcome(
            CollectResult(
                answered=answered,
                missing=len(planned) - answered,
                seconds=time.monotonic() - started,
                statuses=observation_statuses(ledger.observations().values()),
            )
        )

    def _query_all(self, ledger: Ledger, given: StepInput, missing: list[Probe], *, deadline: float) -> None:
        try:
            with self._backend(given.request) as backend:
                _in_parallel(
                    lambda probe: observe(ledger, backend, probe, in_round=given.round),
                    missing,
                    deadline,
                    backend.interrupt,
                )
        except (BackendUnavailableError, BundleError) as error:
            answer = _unanswered(ledger, COLLECT.name, error)
            known = ledger.answered_keys(given.round)
            for probe in missing:
                if probe.key not in known:
                    commit(ledger, probe, answer, in_round=given.round)

    @contextmanager
    def _backend(self, request: InvestigationRequest) -> Iterator[TelemetryBackend]:
        backend = self._backend_for(request)
        try:
            yield backend
        finally:
            backend.close()


def _attempt_is_over() -> bool:
    """Whether this attempt was ended for another reason than that somebody cancelled the collection."""
    details = activity.cancellation_details()
    return activity.is_cancelled() and not (details is not None and details.cancel_requested)


def _unanswered(ledger: Ledger, step: str, error: BackendUnavailableError | BundleError) -> Answer:
    """The answer that stands for an error.

    Only a backend that could not be reached counts as a try; a worker or a database that was away does not.

    Raises:
        BackendUnavailableError: it is one, and there are tries left.
    """
    if isinstance(error, BundleError):
        return Answer(status=ObservationStatus.ERROR, detail=error.brief)
    if ledger.record_failure(f"unreachable:{step}", sentence=str(error), at=datetime.now(UTC)) < TELEMETRY_TRIES:
        raise error
    return Answer(status=ObservationStatus.UNAVAILABLE, detail=str(error))


def _in_parallel(
    work: Callable[[Probe], object], probes: list[Probe], deadline: float, give_up: Callable[[], None]
) -> None:
    """Work on probes in order, a few at once, until all are done, time is up or the activity is cancelled.

    When it ends early, `give_up` is called until those still under way have come back. A query that cannot reach
    the backend does not stop the others, until several in a row say that it is really away.

    Raises:
        BackendUnavailableError: at the end, when any query met it.
    """
    unreachable: BackendUnavailableError | None = None
    in_a_row = 0
    waiting = deque(probes)
    running: set[Future[object]] = set()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        while waiting or running:
            if _attempt_is_over():
                waiting.clear()
            elif time.monotonic() >= deadline or activity.is_cancelled() or in_a_row >= AWAY_AFTER:
                waiting.clear()
                give_up()
            while waiting and len(running) < AT_ONCE:
                running.add(pool.submit(work, waiting.popleft()))
            done, running = wait(running, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            for item in done:
                progressed()
                try:
                    item.result()
                    in_a_row = 0
                except BackendUnavailableError as error:
                    unreachable, in_a_row = error, in_a_row + 1
    if _attempt_is_over():
        raise StepInterruptedError("this worker is going away; what is missing is queried by the next attempt")
    if unreachable is not None:
        raise unreachable
