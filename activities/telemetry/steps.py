"""The activities that query one source: `scope` or `inventory` first, then `collect`."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime

import polars as pl
from temporalio import activity

from activities.analysis.information_gain import first_look
from activities.answers import decode
from activities.memory.ledger import Ledger, observation_statuses
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.store import Store
from activities.progress import progressed
from activities.step import Outcome, StepInterruptedError, run_step
from activities.telemetry.backend import Answer, SaysWhatItLacks, TelemetryBackend
from activities.telemetry.entities import Resolver
from activities.telemetry.exceptions import BackendUnavailableError, SourceRefusedError
from activities.telemetry.observe import commit, observe
from activities.telemetry.plan import everything_from, inventory_probe, plan_probes, topology_probe
from activities.telemetry.planning import BEFORE_THE_PLAN, resolver_of
from activities.turns import Turns
from workflows.contracts.identifiers import EntityId
from workflows.contracts.investigation import (
    CollectResult,
    InventoryResult,
    InvestigationRequest,
    ScopeResult,
    StepInput,
)
from workflows.contracts.observation import Observation, ObservationStatus
from workflows.contracts.probe import MEMORY_TOOLS, Modality, Probe
from workflows.steps import COLLECT, COLLECT_BEFORE_0_5, INVENTORY, LIVE_TRIES, SCOPE, TELEMETRY_TRIES

BackendFor = Callable[[InvestigationRequest, Callable[[], Resolver]], TelemetryBackend]
"""Opens the source for one attempt; the resolver, which says who is who, is made when it is wanted."""

LOOK_EVERY_S = 0.2
AWAY_AFTER = 12
"""Queries in a row that cannot reach the backend, after which it is taken for away until the next attempt."""

AT_ONCE = 4
"""Queries put to one backend at the same time."""


class TelemetryActivities:
    """Queries to one source, which is opened for each attempt and closed after it."""

    def __init__(
        self,
        store: Store,
        backend_for: BackendFor,
        turns: Turns | None = None,
    ) -> None:
        self._store = store
        self._turns = turns
        self._backend_for = backend_for

    @activity.defn(name=INVENTORY.name, no_thread_cancel_exception=True)
    def inventory(self, given: StepInput) -> InventoryResult:
        """Query by which names this source knows what exists."""
        return run_step(self._store, INVENTORY, given, self._inventory, turns=self._turns)

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

    def _inventory(self, ledger: Ledger, given: StepInput) -> Outcome:
        probe = inventory_probe(given.source, given.request.as_of)
        found = self._first(ledger, given, probe, INVENTORY.name)
        return Outcome(InventoryResult(names=found.row_count), LedgerBatch().probes([probe]))

    def _scope(self, ledger: Ledger, given: StepInput) -> Outcome:
        request = given.request
        first = topology_probe(request.backend, request.as_of)
        answer = self._first(ledger, given, first, SCOPE.name)
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
        full = plan_probes(
            sources=everything_from(request.backend),
            as_of=request.as_of,
            kinds=kinds,
            edges=edges,
            alerting=alerting,
        )
        left: list[Probe] = []
        if request.budget.rounds:
            full, left = first_look(full, alerting, absent=self._absent(ledger, given))
        room = max(0, request.budget.probes - 1)
        return Outcome(
            ScopeResult(
                entities=len(kinds),
                probes_planned=1 + min(len(full), room),
                left_open=len(left),
                over_budget=max(0, len(full) - room),
            ),
            LedgerBatch().probes([first, *full]).menu(left),
        )

    def _absent(self, ledger: Ledger, given: StepInput) -> frozenset[Modality]:
        """Modalities that the source says to have nothing of; none where it does not say, or is away."""
        try:
            with self._backend(ledger, given) as backend:
                return backend.absent if isinstance(backend, SaysWhatItLacks) else frozenset()
        except (BackendUnavailableError, SourceRefusedError):
            return frozenset()

    def _first(self, ledger: Ledger, given: StepInput, first: Probe, step: str) -> Observation:
        """What exists. On the last attempt an unreachable source is an answer too: the alert's entity is left."""
        answer = ledger.observations().get(first.key)
        if answer is not None:
            return answer
        try:
            with self._backend(ledger, given) as backend:
                observe(ledger, backend, [first])
        except (BackendUnavailableError, SourceRefusedError) as error:
            return commit(ledger, first, _unanswered(ledger, step, given.source, error))
        return ledger.observations()[first.key]

    def _collect(self, ledger: Ledger, given: StepInput) -> Outcome:
        request = given.request
        started = time.monotonic()
        spent = sum(len(ledger.answered_keys(number)) for number in range(given.round))
        planned, plan = self._planned(ledger, given, room=max(0, request.budget.probes - spent))
        known = ledger.answered_keys(given.round)
        missing = [probe for probe in plan if probe.key not in known]
        if missing and given.stopped_by is None:
            left = request.budget.seconds - _seconds_before(ledger, given.round)
            self._query_all(ledger, given, missing, deadline=started + left)
        answered = len(ledger.answered_keys(given.round) & {probe.key for probe in plan})
        return Outcome(
            CollectResult(
                answered=answered,
                missing=len(planned) - answered,
                seconds=time.monotonic() - started,
                statuses=observation_statuses(ledger.observations().values()),
            )
        )

    def _planned(self, ledger: Ledger, given: StepInput, *, room: int) -> tuple[list[Probe], list[Probe]]:
        """The probes of this round that are put to this source, and those of them that the budget has room for."""
        planned: list[Probe] = [probe for probe in ledger.probes(given.round) if probe.tool not in MEMORY_TOOLS]
        if not given.source:
            return planned, planned[:room]
        planned = [probe for probe in planned if probe.tool not in BEFORE_THE_PLAN]
        ours = [probe for probe in planned if probe.backend == given.source]
        return ours, [probe for probe in planned[:room] if probe.backend == given.source]

    def _query_all(self, ledger: Ledger, given: StepInput, missing: list[Probe], *, deadline: float) -> None:
        try:
            with self._backend(ledger, given) as backend:
                _in_parallel(
                    lambda probes: observe(ledger, backend, probes, in_round=given.round),
                    backend.together(missing),
                    deadline,
                    backend.interrupt,
                )
        except (BackendUnavailableError, SourceRefusedError) as error:
            answer = _unanswered(ledger, COLLECT.name, given.source, error)
            known = ledger.answered_keys(given.round)
            for probe in missing:
                if probe.key not in known:
                    commit(ledger, probe, answer, in_round=given.round)

    @contextmanager
    def _backend(self, ledger: Ledger, given: StepInput) -> Iterator[TelemetryBackend]:
        """The source, open; what it was troubled with is recorded however this ends.

        Raises:
            BackendUnavailableError: it cannot be reached.
            SourceRefusedError: it cannot be used as it is configured.
        """
        backend = self._backend_for(given.request, lambda: resolver_of(ledger))
        try:
            yield backend
        finally:
            backend.close()
            spent = backend.spent
            if spent.queries:
                ledger.record_use(
                    given.source, queries=spent.queries, bytes_received=spent.bytes_received, at=datetime.now(UTC)
                )


def _seconds_before(ledger: Ledger, number: int) -> float:
    """What the collections of earlier rounds took, the longest of each where several sources were queried at once."""
    longest: dict[int, float] = {}
    for key, _, seconds in ledger.steps():
        name, _, in_round = key.rpartition(":")
        if name.partition("@")[0] == COLLECT.name and int(in_round) < number:
            longest[int(in_round)] = max(longest.get(int(in_round), 0.0), seconds)
    return sum(longest.values())


def _attempt_is_over() -> bool:
    """Whether this attempt was ended for another reason than that somebody cancelled the collection."""
    details = activity.cancellation_details()
    return activity.is_cancelled() and not (details is not None and details.cancel_requested)


def _unanswered(ledger: Ledger, step: str, source: str, error: BackendUnavailableError | SourceRefusedError) -> Answer:
    """The answer that stands for an error.

    Only a source that could not be reached counts as a try; a worker or a database that was away does not.

    Raises:
        BackendUnavailableError: it is one, and there are tries left.
    """
    if isinstance(error, SourceRefusedError):
        return Answer(status=error.status, detail=error.detail)
    kind = f"unreachable:{step}@{source}" if source else f"unreachable:{step}"
    tries = LIVE_TRIES if source else TELEMETRY_TRIES
    if ledger.record_failure(kind, sentence=str(error), at=datetime.now(UTC)) < tries:
        raise error
    return Answer(status=ObservationStatus.UNAVAILABLE, detail=str(error))


def _in_parallel(
    work: Callable[[list[Probe]], object], groups: list[list[Probe]], deadline: float, give_up: Callable[[], None]
) -> None:
    """Work on groups of probes in order, a few at once, until all are done, time is up or the activity is cancelled.

    When it ends early, `give_up` is called until those still under way have come back. A query that cannot reach
    the backend does not stop the others, until several in a row say that it is really away.

    Raises:
        BackendUnavailableError: at the end, when any query met it.
    """
    unreachable: BackendUnavailableError | None = None
    in_a_row = 0
    waiting = deque(groups)
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
