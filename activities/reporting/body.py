"""The canonical part of the report, written once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from activities.analysis.context import IncidentContext
from activities.analysis.parameters import LIMITS
from activities.reporting.causal_chain import causal_chain
from activities.reporting.conclusion import Conclusion
from activities.reporting.impact import blast_radius, owners, ruled_out
from activities.reporting.memory import facts, past_incidents
from activities.reporting.next_steps import next_steps, written_down
from activities.reporting.timeline import timeline
from activities.reporting.verdict import verdict_of
from workflows.contracts.alert import Severity
from workflows.contracts.claim import Claim, ClaimState
from workflows.contracts.finding import Finding
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.report import (
    CausalStep,
    ClaimCounts,
    DataGap,
    Outcome,
    Owner,
    ReportedFact,
    ReportFindings,
    RuledOut,
    TimelineEntry,
    Verdict,
)
from workflows.contracts.version import ENGINE_VERSION


@dataclass(frozen=True, kw_only=True)
class _Story:
    """What happened, beside the ranking; empty where it is not known."""

    chain: tuple[CausalStep, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    timeline_omitted: int = 0
    blast_radius: tuple[EntityId, ...] = ()
    owners: tuple[Owner, ...] = ()
    ruled_out: tuple[RuledOut, ...] = ()
    past_incidents: tuple[str, ...] = ()
    facts: tuple[ReportedFact, ...] = ()


def _story(conclusion: Conclusion) -> _Story:
    entries, omitted = timeline(conclusion)
    return _Story(
        chain=causal_chain(conclusion),
        timeline=entries,
        timeline_omitted=omitted,
        blast_radius=blast_radius(conclusion),
        owners=owners(conclusion),
        ruled_out=ruled_out(conclusion),
        past_incidents=past_incidents(conclusion),
        facts=facts(conclusion),
    )


def conclude(findings: Sequence[Finding], hypotheses: Sequence[Hypothesis], context: IncidentContext) -> Conclusion:
    """The verdict that a ranking allows, with what it was made of.

    Args:
        findings: verified ones, the strongest first.
        hypotheses: the one ranking of these findings.
        context: alerts, topology, hints and data gaps of the incident.
    """
    return Conclusion(
        context=context, findings=findings, hypotheses=hypotheses, verdict=verdict_of(hypotheses, context, findings)
    )


def describe(conclusion: Conclusion, claims: Sequence[Claim]) -> ReportFindings:
    """The report's body.

    Args:
        conclusion: the verdict and what it was made of.
        claims: all claims, whatever became of them.
    """
    findings, hypotheses, context = conclusion.findings, conclusion.hypotheses, conclusion.context
    story = _story(conclusion)
    referred = {part.finding_key for item in hypotheses for part in (*item.supporting, *item.contradicting)}
    referred |= {key for step in story.chain for key in step.findings}
    referred |= {key for entry in story.timeline for key in entry.findings}
    referred |= {item.key for item in findings[: LIMITS.findings]}
    reported = tuple(item for item in findings if item.key in referred)
    return _body(
        context,
        verdict=conclusion.verdict,
        hypotheses=hypotheses,
        claims=_claims_of(reported, claims, conclusion),
        claim_counts=_counts(claims),
        findings=reported,
        findings_omitted=len(findings) - len(reported),
        data_gaps=context.data_gaps,
        next_steps=next_steps(conclusion),
        story=story,
    )


def without_conclusion(
    failures: Sequence[DataGap],
    context: IncidentContext,
    *,
    findings: Sequence[Finding] = (),
    claims: Sequence[Claim] = (),
    hypotheses: Sequence[Hypothesis] = (),
) -> ReportFindings:
    """The body of a report whose making met an error of our own: it names the error and keeps what there is.

    Args:
        failures: the steps that failed, and why.
        context: alerts and data gaps of the incident.
        findings: verified ones, where the failure came later.
        claims: theirs.
        hypotheses: the ranking, where the failure came later.
    """
    title = context.alerts[0].title if context.alerts else "the alert"
    failed = ", ".join(item.tool for item in failures)
    nothing = Hypothesis(
        rank=1,
        entity=None,
        fault_kind=FaultKind.UNKNOWN,
        mechanism=f"Nothing was concluded: the step {failed} met an error of its own.",
        probability=1.0,
    )
    reported = tuple(findings[: LIMITS.findings])
    keys = {item.key for item in reported}
    kept = tuple(item for item in claims if item.state is ClaimState.VERIFIED and item.findings[0] in keys)
    return _body(
        context,
        verdict=Verdict(
            outcome=Outcome.INCONCLUSIVE, sentence=f"The step {failed} failed, no verdict for: {title}", partial=True
        ),
        hypotheses=hypotheses or (nothing,),
        claims=kept,
        claim_counts=_counts(claims),
        findings=reported,
        findings_omitted=len(findings) - len(reported),
        data_gaps=(*failures, *context.data_gaps),
        next_steps=("send the log lines of this investigation's worker with a bug report; the answers are kept",),
        story=_Story(),
    )


def _body(
    context: IncidentContext,
    *,
    verdict: Verdict,
    hypotheses: Sequence[Hypothesis],
    claims: Sequence[Claim],
    claim_counts: ClaimCounts,
    findings: Sequence[Finding],
    findings_omitted: int,
    next_steps: Sequence[str],
    data_gaps: Sequence[DataGap],
    story: _Story,
) -> ReportFindings:
    alert = context.alerts[0] if context.alerts else None
    return ReportFindings(
        verdict=verdict,
        hypotheses=tuple(hypotheses),
        claims=tuple(claims),
        claim_counts=claim_counts,
        findings=tuple(findings),
        findings_omitted=findings_omitted,
        causal_chain=story.chain,
        timeline=story.timeline,
        timeline_omitted=story.timeline_omitted,
        blast_radius=story.blast_radius,
        owners=story.owners,
        ruled_out=story.ruled_out,
        data_gaps=tuple(data_gaps),
        hints=context.hints,
        recalled=story.past_incidents or context.recalled,
        facts=story.facts,
        passages=written_down(context),
        next_steps=tuple(next_steps),
        window=context.window,
        alert_title=alert.title if alert else "",
        alert_at=context.alert_at,
        severity=alert.severity if alert else Severity.UNKNOWN,
        engine_version=ENGINE_VERSION,
    )


def _claims_of(reported: Sequence[Finding], claims: Sequence[Claim], conclusion: Conclusion) -> tuple[Claim, ...]:
    """The verified claims of the reported findings, those that speak for the suspect first."""
    keys = {item.key for item in reported}
    order = {item.key: number for number, item in enumerate(conclusion.proofs())}
    kept = [item for item in claims if item.state is ClaimState.VERIFIED and item.findings[0] in keys]
    return tuple(sorted(kept, key=lambda item: order.get(item.findings[0], len(order))))


def _counts(claims: Sequence[Claim]) -> ClaimCounts:
    states = Counter(item.state for item in claims)
    return ClaimCounts(
        verified=states[ClaimState.VERIFIED],
        contradicted=states[ClaimState.CONTRADICTED],
        unsupported=states[ClaimState.UNSUPPORTED],
    )
