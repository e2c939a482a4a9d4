"""The activities of the memory queue: `recall` before the asking, `publish` and `remember` after it."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from temporalio import activity

from activities.composition import compose
from activities.memory.incidents import PUBLISHED, Incidents
from activities.memory.ledger import Ledger, observation_statuses
from activities.memory.ledger_batch import LedgerBatch
from activities.step import Outcome, run_step
from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.identifiers import workflow_id_of
from workflows.contracts.investigation import PublishResult, RecallResult, RememberResult, StepInput
from workflows.contracts.report import Report, ReportRun, StepTiming
from workflows.steps import PUBLISH, RECALL, REMEMBER

SENTENCE_LIMIT = 400


class MemoryActivities:
    """Recall, publish and remember, for every tenant of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name=RECALL.name, no_thread_cancel_exception=True)
    def recall(self, given: StepInput) -> RecallResult:
        """Which past incidents were known at the alert's time."""
        return run_step(self._engine, RECALL, given, self._recall)

    @activity.defn(name=PUBLISH.name, no_thread_cancel_exception=True)
    def publish(self, given: StepInput) -> PublishResult:
        """Compose the report from the ledger, store it, and close the investigation."""
        return run_step(self._engine, PUBLISH, given, self._publish)

    @activity.defn(name=REMEMBER.name, no_thread_cancel_exception=True)
    def remember(self, given: StepInput) -> RememberResult:
        """Keep the outcome for later incidents of the same memory scope."""
        return run_step(self._engine, REMEMBER, given, self._remember)

    def _recall(self, _ledger: Ledger, given: StepInput) -> Outcome:
        request = given.request
        incidents = Incidents(self._engine, request.tenant)
        past = incidents.past(scope=request.memory_scope, as_of=request.as_of)
        return Outcome(
            RecallResult(incidents=len(past), sentences=tuple(item.sentence[:SENTENCE_LIMIT] for item in past))
        )

    def _publish(self, ledger: Ledger, given: StepInput) -> Outcome:
        findings = compose(ledger, given)
        report = ledger.publish(
            Report(
                findings=findings,
                findings_sha256=digest_of(canonical_json(findings)),
                run=self._run(ledger, given),
            ),
            at=datetime.now(UTC),
        )
        if given.stopped_by is not None:
            ledger.decide(
                f"stopped:{given.stopped_by}",
                kind="stopped",
                sentence=f"The asking ended early: {given.stopped_by}.",
                at=datetime.now(UTC),
            )
        incidents = Incidents(self._engine, given.request.tenant)
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
            probes_asked=len(observations),
            probes_by_status=observation_statuses(observations.values()),
            bytes_stored=ledger.bytes_stored(),
            retries=attempts.total(),
            steps=tuple(StepTiming(step=key, duration=timedelta(seconds=seconds)) for key, _, seconds in steps),
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
