"""The activities of the memory queue: `recall` before the collection, `publish` and `remember` at the end."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.analysis.verification import verified
from activities.evidence_loading import least_context, load_context
from activities.memory.feedback import with_feedback
from activities.memory.incidents import PUBLISHED
from activities.memory.knowledge.recall import answer_of, knowledge_probe
from activities.memory.ledger import Ledger, observation_statuses
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.store import Store
from activities.reporting import without_conclusion
from activities.step import Outcome, run_step
from activities.telemetry.observe import commit
from workflows.contracts.bundle import PastIncident
from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.identifiers import workflow_id_of
from workflows.contracts.investigation import PublishResult, Purpose, RecallResult, RememberResult, StepInput
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Probe
from workflows.contracts.report import DataGap, Report, ReportFindings, ReportRun, StepTiming
from workflows.steps import CONCLUDE, PUBLISH, RECALL, REMEMBER

SENTENCE_LIMIT = 400
AFTER_THE_PLAN = 1_000_000
"""Number of a query that is none of the plan's: the plan's come first in every list."""


class MemoryActivities:
    """Recall, publish and remember, for every tenant of one database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name=RECALL.name, no_thread_cancel_exception=True)
    def recall(self, given: StepInput) -> RecallResult:
        """Which past incidents were known at the alert's time."""
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
        request = given.request
        incidents = self._store.incidents(request.tenant)
        past = incidents.past(scope=request.memory_scope, as_of=request.as_of)
        probe, passages = self._passages(ledger, given)
        return Outcome(
            RecallResult(
                incidents=len(past),
                sentences=self._sentences(past, given),
                passages=passages,
            ),
            LedgerBatch().probes([] if probe is None else [probe], first=AFTER_THE_PLAN),
        )

    def _sentences(self, past: Sequence[PastIncident], given: StepInput) -> tuple[str, ...]:
        """Verdicts of past incidents, each with what a person said of it by then."""
        request = given.request
        known = [item.investigation_id for item in past if item.investigation_id is not None]
        said = self._store.feedback(request.tenant).latest(known, until=request.as_of) if known else {}
        of = {item: said[item.investigation_id] for item in past if item.investigation_id in said}
        return tuple(with_feedback(item.sentence, of.get(item), longest=SENTENCE_LIMIT) for item in past)

    def _passages(self, ledger: Ledger, given: StepInput) -> tuple[Probe | None, int]:
        """What is written down about the alerts, as an observation; nothing where nothing is written down.

        An evaluation has a memory of its own: what somebody wrote down later would be an answer from the future.
        """
        request = given.request
        if request.purpose is Purpose.EVALUATION or self._store.library(request.tenant).is_empty():
            return None, 0
        alerts = [item.alert for item in ledger.alerts() if item.number <= given.alerts]
        probe = knowledge_probe(alerts, request.as_of)
        stored = ledger.observations().get(probe.key)
        if stored is None:
            answer = answer_of(self._store, request.tenant, probe)
            stored = commit(ledger, probe, answer)
        return probe, stored.row_count

    def _publish(self, ledger: Ledger, given: StepInput) -> Outcome:
        body = ledger.conclusion(ledger.concluded_round(given.round))
        if body is None:
            body = _incomplete(ledger, given)
        elif given.failed_steps:  # only publishing itself came after the conclusion: what was concluded stands
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
        observations = ledger.observations()
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
            probes_planned=len(ledger.probes()),
            probes_answered=len(observations),
            probes_by_status=observation_statuses(observations.values()),
            bytes_stored=ledger.bytes_stored(),
            retries=attempts.total(),
            steps=tuple(StepTiming(step=key, duration=timedelta(seconds=seconds)) for key, _, seconds in steps),
            sources=tuple(ledger.source_uses()),
            stopped_by=given.stopped_by,
        )

    def _remember(self, ledger: Ledger, given: StepInput) -> Outcome:
        report = ledger.report()
        if report is None:
            return Outcome(RememberResult(remembered=False))
        verdict = report.findings.verdict
        batch = LedgerBatch().past(
            scope=given.request.memory_scope,
            known_from=given.request.as_of,
            title=report.findings.alert_title,
            entity=verdict.entity,
            fault_kind=verdict.fault_kind.value,
            probability=verdict.probability,
            sentence=verdict.sentence[:SENTENCE_LIMIT],
        )
        return Outcome(RememberResult(remembered=True), batch)


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
