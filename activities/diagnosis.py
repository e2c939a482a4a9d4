"""The activities of the analysis queue: thin steps that load answers, calculate, and store what came out.

What another version of the engine computed is computed anew, in a round of its own, and never mixed with ours.
"""

from collections import Counter
from dataclasses import replace

from temporalio import activity

from activities.analysis.findings import find
from activities.analysis.ranking import rank
from activities.analysis.verification import claims_of, verified
from activities.evidence_loading import load_context, load_evidence, passages_in
from activities.memory.knowledge.recall import remedies_answer, remedies_probe
from activities.memory.ledger import Ledger
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.recall import CapturedFor, not_captured
from activities.memory.steps import AFTER_THE_PLAN
from activities.memory.store import Store
from activities.progress import progressed
from activities.reporting import conclude, describe, what_was_found
from activities.reporting.conclusion import Conclusion
from activities.step import Outcome, finished, run_step
from activities.telemetry.observe import commit
from activities.turns import Turns
from workflows.contracts.identifiers import EntityId
from workflows.contracts.investigation import ConcludeResult, FindingsResult, Purpose, RankResult, StepInput
from workflows.contracts.probe import RemediesProbe
from workflows.contracts.report import RecalledPassage
from workflows.contracts.version import ENGINE_VERSION
from workflows.steps import CONCLUDE, FINDINGS, RANK

LAST_OF_MEMORY = 1_000
"""Number, behind those of the memory's first queries, of the one that follows the verdict."""


class DiagnosisActivities:
    """Findings, ranking and conclusion."""

    def __init__(self, store: Store, turns: Turns | None = None, captured_for: CapturedFor = not_captured) -> None:
        self._store = store
        self._captured_for = captured_for
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
        conclusion = conclude(holding, ledger.hypotheses(given.round), load_context(ledger, given))
        batch = LedgerBatch(in_round=given.round)
        probe = self._remedies_probe(conclusion, given)
        if probe is not None:
            remedies = self._remedies(ledger, probe, given)
            conclusion = replace(conclusion, context=replace(conclusion.context, remedies=remedies))
            batch = batch.probes([probe], first=AFTER_THE_PLAN + LAST_OF_MEMORY)
        body = describe(conclusion, claims)
        return Outcome(
            ConcludeResult(
                verified=body.claim_counts.verified,
                rejected=body.claim_counts.rejected,
                outcome=body.verdict.outcome.value,
                sentence=body.verdict.sentence,
                root_cause=body.verdict.entity or "",
            ),
            batch.conclusion(body),
        )

    def _remedies_probe(self, conclusion: Conclusion, given: StepInput) -> RemediesProbe | None:
        """What to look for in the organisation's documents; nothing in an evaluation, or where there are none."""
        request, found = given.request, what_was_found(conclusion)
        if request.purpose is Purpose.EVALUATION or not found:
            return None
        if self._captured_for(request) is None and self._store.library(request.tenant).is_empty():
            return None
        suspect = conclusion.suspect or EntityId("")
        service = conclusion.context.graph.workload_of(suspect).partition(":")[2]
        return remedies_probe(found, service or None, request.as_of)

    def _remedies(self, ledger: Ledger, probe: RemediesProbe, given: StepInput) -> tuple[RecalledPassage, ...]:
        """What the documents say about it; a captured investigation has the answer that it got then, or none."""
        known = ledger.observations().get(probe.key)
        if known is None and self._captured_for(given.request) is None:
            known = commit(
                ledger, probe, remedies_answer(self._store, given.request.tenant, probe), in_round=given.round
            )
        return () if known is None else passages_in(ledger, known)
