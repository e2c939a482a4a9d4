"""The activities of the analysis queue: thin steps that load answers, calculate, and store what came out."""

from collections import Counter

from sqlalchemy import Engine
from temporalio import activity

from activities.analysis.conclusion import conclude
from activities.analysis.findings import find
from activities.analysis.ranking import rank
from activities.evidence_loading import load_evidence
from activities.memory.ledger import Ledger
from activities.memory.ledger_batch import LedgerBatch
from activities.step import Outcome, run_step
from workflows.contracts.investigation import ConcludeResult, FindingsResult, RankResult, StepInput
from workflows.contracts.version import ENGINE_VERSION
from workflows.steps import CONCLUDE, FINDINGS, RANK


class DiagnosisActivities:
    """Findings, ranking and conclusion."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name=FINDINGS.name, no_thread_cancel_exception=True)
    def findings(self, given: StepInput) -> FindingsResult:
        """What the answers say."""
        return run_step(self._engine, FINDINGS, given, self._findings)

    @activity.defn(name=RANK.name, no_thread_cancel_exception=True)
    def rank(self, given: StepInput) -> RankResult:
        """Which cause explains the findings."""
        return run_step(self._engine, RANK, given, self._rank)

    @activity.defn(name=CONCLUDE.name, no_thread_cancel_exception=True)
    def conclude(self, given: StepInput) -> ConcludeResult:
        """Evaluate every claim again, from the stored answers."""
        return run_step(self._engine, CONCLUDE, given, self._conclude)

    def _findings(self, ledger: Ledger, given: StepInput) -> Outcome:
        evidence, _ = load_evidence(ledger, given)
        found = find(evidence)
        families = Counter(item.family.value for item in found)
        return Outcome(
            FindingsResult(findings=len(found), families=dict(sorted(families.items()))),
            LedgerBatch().findings(found, engine_version=ENGINE_VERSION),
        )

    def _rank(self, ledger: Ledger, given: StepInput) -> Outcome:
        evidence, data_gaps = load_evidence(ledger, given)
        hypotheses = rank(
            ledger.findings(),
            evidence,
            data_gaps=data_gaps,
            planned=len(ledger.probes()),
            hints=ledger.hints(given.hints),
        )
        top = hypotheses[0]
        return Outcome(
            RankResult(
                hypotheses=len(hypotheses),
                entity=top.entity,
                fault_kind=top.fault_kind.value,
                probability=top.probability,
            ),
            LedgerBatch().hypotheses(hypotheses, engine_version=ENGINE_VERSION),
        )

    def _conclude(self, ledger: Ledger, given: StepInput) -> Outcome:
        evidence, data_gaps = load_evidence(ledger, given)
        conclusion = conclude(
            ledger.findings(),
            evidence,
            data_gaps=data_gaps,
            planned=len(ledger.probes()),
            hints=ledger.hints(given.hints),
            stopped_by=given.stopped_by,
        )
        verdict = conclusion.verdict
        return Outcome(
            ConcludeResult(
                verified=sum(claim.state == "verified" for claim in conclusion.claims),
                refused=sum(claim.state != "verified" for claim in conclusion.claims),
                outcome=verdict.outcome.value,
                sentence=verdict.sentence,
                root_cause=verdict.entity or "",
            ),
            LedgerBatch().claims(conclusion.claims),
        )
