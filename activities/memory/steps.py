"""The activities of the memory queue: `recall` before the collection, `publish` and `remember` at the end."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from sqlalchemy.exc import ProgrammingError
from temporalio import activity

from activities.analysis.signs import signs_of
from activities.analysis.verification import verified
from activities.answers import decode
from activities.evidence_loading import least_context, load_context, resolved_alerts
from activities.memory.incidents import PUBLISHED
from activities.memory.ledger import Ledger, observation_statuses
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.proposals import from_hints, propose
from activities.memory.recall import CapturedFor, Recall, not_captured
from activities.memory.store import Store
from activities.reporting import without_conclusion
from activities.step import Outcome, run_step
from activities.telemetry.backend import Answer
from activities.telemetry.observe import commit
from activities.topology.observed import topology_of
from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.deliberation import Turn
from workflows.contracts.identifiers import workflow_id_of
from workflows.contracts.investigation import (
    InvestigationRequest,
    PublishResult,
    Purpose,
    RecallResult,
    RememberResult,
    StepInput,
)
from workflows.contracts.model import ModelCall, ModelIdentity
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.report import DataGap, ModelUse, Report, ReportFindings, ReportRun, StepTiming
from workflows.steps import CONCLUDE, PUBLISH, RECALL, REMEMBER

LOG = structlog.stdlib.get_logger(__name__)
SENTENCE_LIMIT = 400
AFTER_THE_PLAN = 1_000_000
"""Number of a query that is none of the plan's: the plan's come first in every list."""


class MemoryActivities:
    """Recall, publish and remember, for every tenant of one database."""

    def __init__(self, store: Store, captured_for: CapturedFor = not_captured) -> None:
        self._store = store
        self._captured_for = captured_for

    @activity.defn(name=RECALL.name, no_thread_cancel_exception=True)
    def recall(self, given: StepInput) -> RecallResult:
        """What the organisation knows that may bear on the alert."""
        return run_step(self._store, RECALL, given, self._recall)

    @activity.defn(name=PUBLISH.name, no_thread_cancel_exception=True)
    def publish(self, given: StepInput) -> PublishResult:
        """Write out what the conclusion stored, and close the investigation."""
        return run_step(self._store, PUBLISH, given, self._publish)

    @activity.defn(name=REMEMBER.name, no_thread_cancel_exception=True)
    def remember(self, given: StepInput) -> RememberResult:
        """Keep the outcome for later incidents of the same memory scope."""
        return run_step(self._store, REMEMBER, given, self._remember)

    def _recall(self, ledger: Ledger, given: StepInput) -> Outcome:
        """Every memory's answer is an observation; what was asked before is not asked again."""
        recall = Recall(self._store, given.request, resolved_alerts(ledger, given))
        captured = self._captured_for(given.request)
        answers = (
            ((probe, partial(recall.answer, probe)) for probe in recall.probes())
            if captured is None
            else ((probe, partial(_given, answer)) for probe, answer in captured)
        )
        stored, probes, rows = ledger.observations(), [], Counter[str]()
        for probe, answer in answers:
            known = stored.get(probe.key) or commit(ledger, probe, answer())
            probes.append(probe)
            rows[probe.tool] += known.row_count
        return Outcome(
            RecallResult(incidents=rows["past_incidents"], facts=rows["facts"], passages=rows["knowledge"]),
            LedgerBatch().probes(probes, first=AFTER_THE_PLAN),
        )

    def _publish(self, ledger: Ledger, given: StepInput) -> Outcome:
        body = ledger.conclusion(ledger.concluded_round(given.round))
        if body is None:
            body = _incomplete(ledger, given)
        elif given.failed_steps:  # publishing itself, or choosing a look: what was concluded stands
            gaps = (*_failures(ledger, given.failed_steps), *body.data_gaps)
            body = body.model_copy(update={"data_gaps": gaps})
        run = self._run(ledger, given) if PUBLISH.name not in given.failed_steps else _least_run(ledger, given)
        report = ledger.publish(
            Report(findings=body, findings_sha256=digest_of(canonical_json(body)), run=run), at=datetime.now(UTC)
        )
        if given.stopped_by is not None:
            ledger.decide(
                f"stopped:{given.stopped_by}",
                kind="stopped",
                sentence=f"The collection ended early: {given.stopped_by}.",
                at=datetime.now(UTC),
            )
        incidents = self._store.incidents(given.request.tenant)
        incidents.end(given.request.investigation_id, how=PUBLISHED, ended_at=datetime.now(UTC))
        return Outcome(PublishResult(findings_sha256=report.findings_sha256, partial=report.findings.verdict.partial))

    def _run(self, ledger: Ledger, given: StepInput) -> ReportRun:
        request = given.request
        steps = ledger.steps()
        planned, observations, turns = ledger.probes(), ledger.observations(), ledger.turns()
        attempts = Counter({key: attempt - 1 for key, attempt, _ in steps})
        return ReportRun(
            tenant=request.tenant,
            investigation_id=request.investigation_id,
            incident_id=request.incident_id,
            previous_investigation_id=ledger.previous_id(),
            workflow_id=workflow_id_of(request.investigation_id),
            started_at=ledger.opened_at() or datetime.now(UTC),
            finished_at=datetime.now(UTC),
            alert_count=sum(item.deliveries for item in ledger.alerts()),
            probes_planned=len(planned),
            probes_left_open=len({probe.key for probe in ledger.menu()} - {probe.key for probe in planned}),
            rounds=1 + sum(bool(turn.chosen) for turn in turns),
            probes_answered=len(observations),
            probes_by_status=observation_statuses(observations.values()),
            bytes_stored=ledger.bytes_stored(),
            retries=attempts.total(),
            steps=tuple(StepTiming(step=key, duration=timedelta(seconds=seconds)) for key, _, seconds in steps),
            sources=tuple(ledger.source_uses()),
            tokens=ledger.tokens(),
            models=_models_used(turns),
            model_problem=next((turn.problem.value for turn in reversed(turns) if turn.problem is not None), ""),
            stopped_by=given.stopped_by,
        )

    def _remember(self, ledger: Ledger, given: StepInput) -> Outcome:
        report = ledger.report()
        if report is None:
            return Outcome(RememberResult(remembered=False))
        verdict = report.findings.verdict
        context = load_context(ledger, given)
        computed = ledger.concluded_round(given.round)
        holding = verified(ledger.findings(computed), ledger.claims(computed))
        batch = LedgerBatch().past(
            scope=given.request.memory_scope,
            known_from=given.request.as_of,
            title=report.findings.alert_title,
            entity=verdict.entity,
            fault_kind=verdict.fault_kind.value,
            probability=verdict.probability,
            sentence=verdict.sentence[:SENTENCE_LIMIT],
            alerting=context.alerting,
            signs=signs_of(holding, context.graph),
        )
        subject = verdict.entity or min(context.alerting, default=None)
        if given.request.purpose is not Purpose.EVALUATION:
            hints = from_hints(
                [text for text in context.hints if text.strip()],
                investigation_id=given.request.investigation_id,
                subject=subject,
                at=datetime.now(UTC),
            )
            propose(self._store.facts(given.request.tenant), hints, at=datetime.now(UTC))
        if given.request.purpose is Purpose.LIVE and given.request.sources:
            self._learn_topology(ledger, given.request)
        return Outcome(RememberResult(remembered=True), batch)

    def _learn_topology(self, ledger: Ledger, request: InvestigationRequest) -> None:
        """Keep what the environment said of itself, for when it says less.

        On a Postgres of somebody's own the login may lack the role for it: that costs the topology and nothing else.
        """
        try:
            self._observe_topology(ledger, request)
        except ProgrammingError as error:
            LOG.warning("topology.not_learned", reason=str(error.orig).splitlines()[0])

    def _observe_topology(self, ledger: Ledger, request: InvestigationRequest) -> None:
        observations = ledger.observations()
        for probe in ledger.probes():
            observation = observations.get(probe.key)
            if probe.tool == "topology" and observation is not None and observation.artifact is not None:
                entities, edges = topology_of(decode(ledger.artifact(observation.artifact)))
                record = self._store.topology(request.tenant)
                record.observe(request.environment, entities, edges, at=request.as_of)


def _given(answer: Answer) -> Answer:
    return answer


def _incomplete(ledger: Ledger, given: StepInput) -> ReportFindings:
    """The body of a report whose steps failed: it names them, and keeps what was found and verified before."""
    failed = given.failed_steps or (CONCLUDE.name,)
    failures = _failures(ledger, failed)
    if PUBLISH.name in failed:
        return without_conclusion(failures, least_context(ledger, given))
    computed = ledger.concluded_round(given.round)
    claims = ledger.claims(computed)
    return without_conclusion(
        failures,
        load_context(ledger, given.model_copy(update={"round": computed})),
        findings=verified(ledger.findings(computed), claims),
        claims=claims,
        hypotheses=ledger.hypotheses(computed),
    )


def _failures(ledger: Ledger, steps: Sequence[str]) -> list[DataGap]:
    return [DataGap(tool=step, status=ObservationStatus.ERROR, reason=_why(ledger, step)) for step in steps]


def _why(ledger: Ledger, step: str) -> str:
    recorded = ledger.failures(f"defect:{step}")
    return f"a defect of Inquest: {recorded[0]}" if recorded else "it ended without a result"


def _models_used(turns: Sequence[Turn]) -> tuple[ModelUse, ...]:
    calls: dict[ModelIdentity, list[ModelCall]] = {}
    for turn in turns:
        for call in turn.calls:
            calls.setdefault(call.identity, []).append(call)
    return tuple(
        ModelUse(
            endpoint=who.endpoint,
            model=who.model,
            fingerprint=who.fingerprint,
            calls=len(listed),
            tokens=sum(item.prompt_tokens + item.completion_tokens for item in listed),
            seconds=sum(item.seconds for item in listed),
            problems=dict(Counter(item.problem.value for item in listed if item.problem is not None)),
        )
        for who, listed in calls.items()
    )


def _least_run(ledger: Ledger, given: StepInput) -> ReportRun:
    """What is known of a run without computing anything."""
    request, now = given.request, datetime.now(UTC)
    return ReportRun(
        tenant=request.tenant,
        investigation_id=request.investigation_id,
        incident_id=request.incident_id,
        workflow_id=workflow_id_of(request.investigation_id),
        started_at=ledger.opened_at() or now,
        finished_at=now,
        stopped_by=given.stopped_by,
    )
