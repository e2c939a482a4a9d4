"""Composes the report's canonical part from what the ledger holds."""

from activities.analysis.conclusion import conclude, describe
from activities.evidence_loading import load_evidence
from activities.memory.ledger import Ledger
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.investigation import ConcludeResult, RecallResult, StepInput
from workflows.contracts.probe import Window
from workflows.contracts.report import DataGap, Outcome, ReportFindings, Verdict
from workflows.contracts.version import ENGINE_VERSION
from workflows.steps import CONCLUDE, RECALL


def compose(ledger: Ledger, given: StepInput) -> ReportFindings:
    """The canonical findings: equal for equal evidence. Where the analysis failed, a report that says so."""
    if ledger.step(f"{CONCLUDE.name}:0", ConcludeResult) is None:
        return _without_analysis(ledger, given)
    evidence, data_gaps = load_evidence(ledger, given)
    hints = ledger.hints(given.hints)
    conclusion = conclude(
        ledger.findings(),
        evidence,
        data_gaps=data_gaps,
        planned=len(ledger.probes()),
        hints=hints,
        stopped_by=given.stopped_by,
    )
    recall = ledger.step(f"{RECALL.name}:0", RecallResult) or RecallResult()
    return describe(conclusion, evidence, data_gaps=data_gaps, hints=hints, recalled=recall.sentences)


def _without_analysis(ledger: Ledger, given: StepInput) -> ReportFindings:
    alert = ledger.alerts()[0].alert
    return ReportFindings(
        verdict=Verdict(outcome=Outcome.INCONCLUSIVE, sentence=f"The analysis failed for: {alert.title}", partial=True),
        hypotheses=(
            Hypothesis(
                rank=1,
                entity=None,
                fault_kind=FaultKind.UNKNOWN,
                mechanism="Nothing was concluded: the analysis met an error of its own.",
                probability=1.0,
            ),
        ),
        claims=(),
        findings=(),
        data_gaps=(DataGap(tool="analysis", reason="the analysis failed; the ledger's decisions say where"),),
        hints=tuple(ledger.hints(given.hints)),
        window=Window(start=min(alert.starts_at, given.request.as_of), end=given.request.as_of),
        alert_title=alert.title,
        alert_at=alert.starts_at,
        severity=alert.severity,
        engine_version=ENGINE_VERSION,
    )
