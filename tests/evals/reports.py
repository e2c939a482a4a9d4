"""What must hold of the body of any report."""

from workflows.contracts.report import Outcome, ReportFindings


def check_report(report: ReportFindings) -> None:
    """Its terms add up, its words follow its probabilities, and whatever it says has its findings."""
    check_terms(report)
    check_words(report)
    check_chain_and_timeline(report)


def check_terms(report: ReportFindings) -> None:
    """The terms of every hypothesis add up to its score."""
    for item in report.hypotheses:
        terms = [part.log_odds for part in (*item.supporting, *item.contradicting)]
        assert abs(sum(terms) - item.score) < 1e-6, item


def check_words(report: ReportFindings) -> None:
    """A root cause needs a margin, and ruled out means ruled out."""
    verdict, hypotheses = report.verdict, report.hypotheses
    others = [item.probability for item in hypotheses if item.entity not in (None, verdict.entity)]
    if verdict.outcome is Outcome.CAUSE_FOUND:
        assert verdict.probability >= 0.5
        assert verdict.probability - max(others) >= 0.2
        assert "is the root cause" in verdict.sentence
    else:
        assert "is the root cause" not in verdict.sentence
    probable = {item.entity for item in hypotheses if item.probability >= 0.02}
    assert probable.isdisjoint(item.entity for item in report.ruled_out)


def check_chain_and_timeline(report: ReportFindings) -> None:
    """Every step has its findings, every fact stands there once and in order, the alert among them."""
    keys = {item.key for item in report.findings}
    for before, step in zip((None, *report.causal_chain), report.causal_chain, strict=False):
        assert step.findings
        assert keys.issuperset(step.findings)
        assert step.source == (before.target if before else report.verdict.entity)
    sentences = [item.sentence for item in report.timeline]
    assert len(set(sentences)) == len(sentences)
    assert [item.at for item in report.timeline] == sorted(item.at for item in report.timeline)
    assert any(sentence.startswith("alert: ") for sentence in sentences)
    referred = {part.finding_key for item in report.hypotheses for part in (*item.supporting, *item.contradicting)}
    assert keys.issuperset(referred - {""})
