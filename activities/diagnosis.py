"""The activities of the analysis queue: thin steps that load answers, calculate, and store what came out.

What another version of the engine computed is computed anew, in a round of its own, and never mixed with ours.
"""

from collections import Counter

from temporalio import activity

from activities.analysis.findings import find
from activities.analysis.ranking import rank
from activities.analysis.verification import claims_of, verified
from activities.evidence_loading import load_context, load_evidence
from activities.memory.ledger import Ledger
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.store import Store
from activities.progress import progressed
from activities.reporting import describe
from activities.step import Outcome, finished, run_step
from activities.turns import Turns
from workflows.contracts.investigation import ConcludeResult, FindingsResult, RankResult, StepInput
from workflows.contracts.version import ENGINE_VERSION
from workflows.steps import CONCLUDE, FINDINGS, RANK


class DiagnosisActivities:
    """Findings, ranking and conclusion."""

    def __init__(self, store: Store, turns: Turns | None = None) -> None:
        self._store = store
        self._turns = turns

    @activity.defn(name=FINDINGS.name, no_thread_cancel_exception=True)
    def findings(self, given: StepInput) -> FindingsResult:
        """What the answers say, every statement evaluated again; the one step that decodes telemetry."""
        return run_step(self._store, FINDINGS, given, self._findings, turns=self._turns)

    @activity.defn(name=RANK.name, no_thread_cancel_exception=True)
    def rank(self, given: StepInput) -> RankResult:
        """Which root cause explains the findings that hold."""
        return run_step(self._store, RANK, given, self._rank)

    @activity.defn(name=CONCLUDE.name, no_thread_cancel_exception=True)
    def conclude(self, given: StepInput) -> ConcludeResult:
        """The verdict and the report's body, written once from the ranking."""
        return run_step(self._store, CONCLUDE, given, self._conclude)

    def _findings(self, ledger: Ledger, given: StepInput) -> Outcome:
        evidence = load_evidence(ledger, given)
        found = find(evidence, progressed=progressed)
        claims = claims_of(found, evidence.frames())
        holding = verified(found, claims)
        return Outcome(
            FindingsResult(
                findings=len(found),
                families=dict(sorted(Counter(item.family.value for item in found).items())),
                verified=len(holding),
                rejected=len(found) - len(holding),
                telemetry_from=evidence.window.start,
            ),
            LedgerBatch(in_round=given.round).findings(found, engine_version=ENGINE_VERSION).claims(claims),
        )

    def _rank(self, ledger: Ledger, given: StepInput) -> Outcome:
        finished(ledger, FINDINGS, given, self._findings)
        holding = verified(ledger.findings(given.round), ledger.claims(given.round))
        hypotheses = rank(holding, load_context(ledger, given))
        top = hypotheses[0]
        return Outcome(
            RankResult(
                hypotheses=len(hypotheses),
                entity=top.entity,
                fault_kind=top.fault_kind.value,
                probability=top.probability,
            ),
            LedgerBatch(in_round=given.round).hypotheses(hypotheses, engine_version=ENGINE_VERSION),
        )

    def _conclude(self, ledger: Ledger, given: StepInput) -> Outcome:
        finished(ledger, RANK, given, self._rank)
        claims = ledger.claims(given.round)
        holding = verified(ledger.findings(given.round), claims)
        body = describe(holding, claims, ledger.hypotheses(given.round), load_context(ledger, given))
        return Outcome(
            ConcludeResult(
                verified=body.claim_counts.verified,
                rejected=body.claim_counts.rejected,
                outcome=body.verdict.outcome.value,
                sentence=body.verdict.sentence,
                root_cause=body.verdict.entity or "",
            ),
            LedgerBatch(in_round=given.round).conclusion(body),
        )
