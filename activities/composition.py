"""Composes the report's canonical part from what the ledger holds."""

from activities.analysis.conclusion import conclude, describe
from activities.evidence_loading import load_evidence
from activities.memory.ledger import Ledger
from workflows.contracts.investigation import RecallResult, StepInput
from workflows.contracts.report import ReportFindings
from workflows.steps import RECALL


def compose(ledger: Ledger, given: StepInput) -> ReportFindings:
    """The canonical findings: equal for equal evidence."""
    evidence, unseen = load_evidence(ledger, given)
    hints = ledger.hints(given.hints)
    conclusion = conclude(
        ledger.findings(),
        evidence,
        unseen=unseen,
        planned=len(ledger.probes()),
        hints=hints,
        stopped_by=given.stopped_by,
    )
    recall = ledger.step(f"{RECALL.name}:0", RecallResult) or RecallResult()
    return describe(conclusion, evidence, unseen=unseen, hints=hints, recalled=recall.sentences)
