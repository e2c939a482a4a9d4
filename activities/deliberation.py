"""The activity that decides after a ranking which queries one more look runs, with a model's help or without.

What the calculation chooses is run in any case; a model adds a few queries of the same menu and a bounded opinion. A
model that is away, slow, wrong or not allowed costs its opinion and nothing else.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from temporalio import activity

from activities.analysis.context import IncidentContext
from activities.analysis.information_gain import Worth, worth, worth_running
from activities.analysis.verification import verified
from activities.answers import decode
from activities.credentials.reference import CredentialError
from activities.evidence_loading import load_context
from activities.inference.admission import AdmissionCheck
from activities.inference.change_question import (
    CandidateChange,
    JudgedChanges,
    candidate,
    candidate_findings,
    judge_changes,
)
from activities.inference.client import Model, OpenAIModel
from activities.inference.exceptions import ModelError, ModelUnavailableError
from activities.inference.models_file import Endpoint, Models, ModelsFileError, no_models, workloads_of
from activities.inference.recorded_calls import RecordedModel
from activities.inference.structured import ask, prompt_digest
from activities.inference.turn import NOTHING, Effect, State, effect, question
from activities.memory.ledger import ArtifactLostError, Ledger
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.store import Store
from activities.progress import progressed
from activities.step import Outcome, StepInterruptedError, run_step
from workflows.contracts.deliberation import MOST_CHOSEN, ChosenProbe, Turn
from workflows.contracts.identifiers import EntityId, Name, ProbeKey
from workflows.contracts.investigation import DeliberateResult, StepInput
from workflows.contracts.model import ChangeOpinion, ModelCall, ModelProblem, Opinion
from workflows.contracts.observation import Observation, ObservationStatus
from workflows.contracts.probe import Probe, entity_of
from workflows.contracts.version import ENGINE_VERSION
from workflows.steps import DELIBERATE

LOG = structlog.stdlib.get_logger(__name__)
MODEL_TRIES = 3
"""Times that a model which does not answer is asked in one turn."""


def open_model(endpoint: Endpoint) -> Model:
    """The endpoint's model, with the credential as it is now.

    Raises:
        CredentialError: it cannot be read.
    """
    return OpenAIModel(
        endpoint.url,
        name=endpoint.name,
        model=endpoint.model,
        key=None if endpoint.credential is None else endpoint.credential.read(),
        trusted=endpoint.trusted,
        wait=endpoint.timeout.total_seconds(),
    )


@dataclass(frozen=True, kw_only=True)
class _Usable:
    """A model that may be asked."""

    endpoint: Endpoint
    model: Model
    admitted_only: bool
    """Whether it must be one that somebody admitted."""


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What became of asking a model."""

    effect: Effect = NOTHING
    calls: tuple[ModelCall, ...] = ()
    changes: tuple[ChangeOpinion, ...] = ()
    problem: ModelProblem | None = None


class DeliberationActivities:
    """Chooses what is queried next."""

    def __init__(
        self,
        store: Store,
        models: Callable[[], Models] = no_models,
        model_of: Callable[[Endpoint], Model] = open_model,
    ) -> None:
        self._store, self._models, self._model_of = store, models, model_of
        self._admission = AdmissionCheck()

    @activity.defn(name=DELIBERATE.name, no_thread_cancel_exception=True)
    def deliberate(self, given: StepInput) -> DeliberateResult:
        """Choose the queries of the next round by what the ranking of this one leaves open."""
        return run_step(self._store, DELIBERATE, given, self._deliberate)

    def _deliberate(self, ledger: Ledger, given: StepInput) -> Outcome:
        ranked_in = ledger.concluded_round(given.round)
        asked, observations = ledger.probes(), ledger.observations()
        left = _open(ledger.menu(), asked, observations)
        context = load_context(ledger, given.model_copy(update={"round": ranked_in}))
        hypotheses = ledger.hypotheses(ranked_in)
        findings = verified(ledger.findings(ranked_in), ledger.claims(ranked_in))
        valued = worth(
            left,
            hypotheses,
            findings,
            answered={probe: observations[probe.key].row_count for probe in asked if probe.key in observations},
            alerting=context.alerting,
            graph=context.graph,
        )
        state = State(
            context=context,
            hypotheses=hypotheses,
            findings=findings,
            valued=valued,
            round=given.round,
            rounds=given.request.budget.rounds,
        )
        said = self._asked(ledger, given, state)
        room = min(max(0, given.request.budget.probes - len(observations)), MOST_CHOSEN)
        chosen = choose(state, said.effect, planned=len(asked) + len(left))[:room]
        new = new_opinions(said.effect.opinions, context.opinions)
        moved = [item for item in said.changes if item.weight]
        turn = Turn(
            round=given.round,
            chosen=tuple(chosen),
            left=len(left) - len(chosen),
            calls=said.calls,
            opinions=said.effect.opinions,
            changes=said.changes,
            problem=said.problem,
        )
        by_key = {probe.key: probe for probe in left}
        probes = [by_key[item.probe_key] for item in chosen]
        sources = tuple(dict.fromkeys(Name(probe.backend) for probe in probes)) if given.request.sources else ()
        return Outcome(
            DeliberateResult(chosen=len(probes), opinions=len(new) + len(moved), sources=sources),
            LedgerBatch(in_round=given.round + 1)
            .probes(probes)
            .turn(turn, engine_version=ENGINE_VERSION, at=datetime.now(UTC)),
        )

    def _asked(self, ledger: Ledger, given: StepInput, state: State) -> _Said:
        """The model's answer, or why there is none.

        Raises:
            StepInterruptedError: the model does not answer, and there are tries left.
        """
        if not given.request.model:
            return _Said()
        usable = self._usable_model(ledger, given, state.context)
        if isinstance(usable, ModelProblem):
            return _Said(problem=usable)
        model = usable.model
        asking, ids = question(state)
        recorded = RecordedModel(model, ledger, in_round=given.round)

        def allowed(tokens: int) -> bool:
            return ledger.tokens() + tokens <= given.request.budget.tokens

        try:
            if usable.admitted_only and (reason := self._not_admitted(given, usable)):
                LOG.warning("model.not_admitted", endpoint=usable.endpoint.name, reason=reason)
                return _Said(problem=ModelProblem.NOT_ADMITTED)
            answered = ask(recorded, asking, allowed=allowed)
            judged = JudgedChanges()
            if answered.answer is not None:
                judged = judge_changes(recorded, state, candidates(ledger, state), allowed=allowed)
        except ModelError as error:
            call = ModelCall(
                identity=model.identity,
                prompt_sha256=prompt_digest(asking.prompts[0], asking.schema),
                problem=error.problem,
                detail=str(error)[:500],
            )
            return self._without(ledger, given, call, error)
        finally:
            progressed()
        calls = _redacted(ledger, (*answered.calls, *judged.calls))
        if answered.answer is None:
            problem = answered.calls[-1].problem if answered.calls else ModelProblem.BUDGET
            return _Said(calls=calls, problem=problem)
        found = effect(answered.answer, ids, state.context.graph, ledger.redactor.redact)
        return _Said(effect=found, calls=calls, changes=judged.opinions)

    def _usable_model(self, ledger: Ledger, given: StepInput, context: IncidentContext) -> _Usable | ModelProblem:
        """The model that may be asked now, or why none may."""
        request = given.request
        if given.without_model or any(turn.problem is ModelProblem.UNREACHABLE for turn in ledger.turns()):
            return ModelProblem.UNREACHABLE
        try:
            models, workloads = self._models(), workloads_of(context.alerts, request.environment)
            endpoint = models.cleared(request.model, workloads)
            if endpoint is None:
                return ModelProblem.NOT_ALLOWED
            demanded = models.demands_admission(workloads)
            return _Usable(endpoint=endpoint, model=self._model_of(endpoint), admitted_only=demanded)
        except (ModelsFileError, CredentialError, ValueError, OSError) as error:
            LOG.warning("model.not_usable", endpoint=request.model, reason=str(error))
            return ModelProblem.REFUSED

    def _not_admitted(self, given: StepInput, usable: _Usable) -> str:
        """Why the model may not see what only admitted ones may.

        Raises:
            ModelError: it does not answer.
        """
        admitted = self._store.admissions(given.request.tenant).valid()
        return self._admission.problem(usable.endpoint, usable.model, admitted)

    def _without(self, ledger: Ledger, given: StepInput, call: ModelCall, error: ModelError) -> _Said:
        kind = f"unreachable:model@{call.identity.endpoint}:{given.round}"
        if isinstance(error, ModelUnavailableError):
            tries = ledger.record_failure(kind, sentence=str(error), at=datetime.now(UTC))
            if tries < MODEL_TRIES:
                ledger.record_unanswered(call, at=datetime.now(UTC))
                raise StepInterruptedError(str(error), retry_after=error.retry_after)
        return _Said(calls=_redacted(ledger, (call,)), problem=error.problem)


def choose(state: State, said: Effect, *, planned: int) -> list[ChosenProbe]:
    """The queries of the next look: what the calculation chooses, then what a model adds to it.

    A model can add queries, and cannot take any away: one that wanted to end early would end with the wrong suspect.

    Args:
        state: of this turn.
        said: the effect of a model's answer.
        planned: queries of the whole plan.
    """
    gains = {item.probe.key: item.gain for item in state.valued}
    own = [item.probe.key for item in worth_running(state.valued, planned=planned)]
    rivals = [] if not _contradicts(state, said) else _discriminating(state, said)
    added = [key for key in dict.fromkeys((*said.queries, *rivals)) if key not in own and key in gains]
    return [
        *(ChosenProbe(probe_key=key, gain=gains[key]) for key in own),
        *(ChosenProbe(probe_key=key, gain=gains[key], by="model") for key in added),
    ]


def candidates(ledger: Ledger, state: State) -> list[CandidateChange]:
    """The same with their texts, as the ledger has them; one that a restore lost is not asked about."""
    judged = {item.change_id for turn in ledger.turns() for item in turn.changes}
    found = []
    for item in candidate_findings(state, judged):
        with suppress(ArtifactLostError):
            rows = decode(ledger.artifact(item.evidence[0].artifact))
            found += candidate(item, rows)
    return found


def new_opinions(opinions: Sequence[Opinion], known: Sequence[Opinion]) -> list[Opinion]:
    """Opinions that move something and that the ranking does not know: the same said again ends the deliberation."""
    weights = {item.entity: item.weight for item in known}
    return [item for item in opinions if item.weight != weights.get(item.entity, 0.0)]


def _contradicts(state: State, said: Effect) -> bool:
    """Whether the model speaks for another suspect than the evidence does."""
    first = next((item.entity for item in state.hypotheses if item.entity is not None), None)
    return any(item.weight > 0 and item.entity != first for item in said.opinions)


def _discriminating(state: State, said: Effect) -> list[ProbeKey]:
    """The best open query about each suspect that the model and the evidence disagree on: evidence settles it."""
    first = next((item.entity for item in state.hypotheses if item.entity is not None), None)
    disputed = {first, *(item.entity for item in said.opinions if item.weight > 0)}
    best: dict[EntityId, Worth] = {}
    for item in state.valued:
        entity = entity_of(item.probe)
        if entity is not None and entity in disputed and entity not in best:
            best[entity] = item
    return [item.probe.key for item in best.values()]


def _redacted(ledger: Ledger, calls: Sequence[ModelCall]) -> tuple[ModelCall, ...]:
    return tuple(item.model_copy(update={"detail": ledger.redactor.redact(item.detail)[:500]}) for item in calls)


def _open(menu: Sequence[Probe], asked: Sequence[Probe], observations: Mapping[ProbeKey, Observation]) -> list[Probe]:
    """What was not run yet, without modalities of which a source has said that it has nothing recorded."""
    statuses: dict[tuple[str, str], set[ObservationStatus]] = defaultdict(set)
    for probe in asked:
        if probe.key in observations:
            statuses[probe.backend, probe.tool].add(observations[probe.key].status)
    done = {probe.key for probe in asked}
    absent = {ObservationStatus.NOT_RECORDED}
    return [probe for probe in menu if probe.key not in done and statuses[probe.backend, probe.tool] != absent]
