"""From ranked findings to a report: claims evaluated again, the verdict, the chain, the timeline, what is ruled out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from activities.analysis.evidence import TELEMETRY, Evidence
from activities.analysis.parameters import DEFAULT, Parameters
from activities.analysis.ranking import rank
from activities.analysis.verification import evaluate
from workflows.contracts.alert import Severity
from workflows.contracts.canonical import digest_of
from workflows.contracts.claim import Claim, ClaimState
from workflows.contracts.finding import Finding, FindingFamily
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.identifiers import ClaimKey, EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.report import (
    CausalStep,
    DataGap,
    Outcome,
    ReportFindings,
    RuledOut,
    TimelineEntry,
    Verdict,
)
from workflows.contracts.version import ENGINE_VERSION

FOUND_FROM = 0.5
"""Probability from which one cause is called found."""

CANDIDATE_FROM = 0.15
FINDINGS_REPORTED = 150
TIMELINE_LENGTH = 30
WORTH_REPORTING = 0.15
"""Strength from which a finding is worth a line of the timeline or a place in the blast radius."""

RULED_OUT_LENGTH = 10


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What survived the second look."""

    verdict: Verdict
    hypotheses: tuple[Hypothesis, ...]
    claims: tuple[Claim, ...]
    """Every claim, refused ones included."""

    findings: tuple[Finding, ...]
    """Findings whose claim is verified, in the order of the claims."""


def conclude(
    findings: Sequence[Finding],
    evidence: Evidence,
    *,
    data_gaps: Sequence[DataGap],
    planned: int,
    hints: Sequence[str] = (),
    stopped_by: str | None = None,
    parameters: Parameters = DEFAULT,
) -> Conclusion:
    """Evaluate every finding's statement again, rank with those that hold, and draw the verdict.

    A finding that does not hold supports nothing: the ranking is made without it.
    """
    frames = evidence.frames()
    claims: list[Claim] = []
    holding: list[Finding] = []
    for item in findings[:FINDINGS_REPORTED]:
        state, reason = evaluate(item.predicate, frames)
        claims.append(
            Claim(
                key=ClaimKey(f"claim-{digest_of(f'{item.key}{item.summary}'.encode())[:12]}"),
                text=item.summary,
                findings=(item.key,),
                predicate=item.predicate,
                state=state,
                reason=reason,
            )
        )
        if state is ClaimState.VERIFIED:
            holding.append(item)
    hypotheses = rank(holding, evidence, data_gaps=data_gaps, planned=planned, hints=hints, parameters=parameters)
    supporting = {part.finding_key for part in hypotheses[0].supporting}
    claims.sort(key=lambda claim: claim.findings[0] not in supporting)
    return Conclusion(
        verdict=_verdict(hypotheses, evidence, data_gaps, stopped_by),
        hypotheses=tuple(hypotheses),
        claims=tuple(claims),
        findings=tuple(holding),
    )


def describe(
    conclusion: Conclusion,
    evidence: Evidence,
    *,
    data_gaps: Sequence[DataGap],
    hints: Sequence[str] = (),
    recalled: Sequence[str] = (),
) -> ReportFindings:
    """The canonical part of the report."""
    alert = evidence.alerts[0] if evidence.alerts else None
    verdict, findings = conclusion.verdict, conclusion.findings
    return ReportFindings(
        verdict=verdict,
        hypotheses=conclusion.hypotheses,
        claims=tuple(claim for claim in conclusion.claims if claim.state is ClaimState.VERIFIED),
        claims_refused=sum(claim.state is not ClaimState.VERIFIED for claim in conclusion.claims),
        findings=findings,
        causal_chain=_chain(conclusion, evidence),
        timeline=_timeline(conclusion, evidence),
        blast_radius=_blast_radius(conclusion, evidence),
        ruled_out=_ruled_out(conclusion, evidence),
        data_gaps=tuple(data_gaps),
        hints=tuple(hints),
        recalled=tuple(recalled),
        window=evidence.window,
        alert_title=alert.title if alert else "",
        alert_at=evidence.alert_at,
        severity=alert.severity if alert else Severity.UNKNOWN,
        engine_version=ENGINE_VERSION,
    )


def _verdict(
    hypotheses: Sequence[Hypothesis], evidence: Evidence, data_gaps: Sequence[DataGap], stopped_by: str | None
) -> Verdict:
    told = any(item.status is not ObservationStatus.NOT_RECORDED for item in data_gaps)
    partial = stopped_by is not None or told or not any(item.probe.tool in TELEMETRY for item in evidence.answers)
    top = hypotheses[0]
    alert = evidence.alerts[0].title if evidence.alerts else "the alert"
    if top.entity is None or top.probability < CANDIDATE_FROM:
        return Verdict(
            outcome=Outcome.INCONCLUSIVE,
            probability=top.probability,
            sentence=f"No cause stands out for: {alert}",
            partial=partial,
        )
    found = top.probability >= FOUND_FROM
    certainty = "is the root cause" if found else "is the most likely cause"
    change = f", brought in by {top.change_id}" if top.change_id else ""
    return Verdict(
        outcome=Outcome.CAUSE_FOUND if found else Outcome.CANDIDATES,
        entity=top.entity,
        fault_kind=top.fault_kind,
        probability=top.probability,
        change_id=top.change_id,
        sentence=f"{top.entity} {certainty} ({top.fault_kind.value}, {top.probability:.0%}){change}",
        partial=partial,
    )


def _chain(conclusion: Conclusion, evidence: Evidence) -> tuple[CausalStep, ...]:
    """From the cause up through its callers to what alerted, each step with the findings at its upper end."""
    cause = conclusion.verdict.entity
    if cause is None:
        return ()
    targets = evidence.alerting - {cause} or _affected(conclusion, evidence, cause)
    path = evidence.graph.path_up(cause, targets)
    steps: list[CausalStep] = []
    for source, target in pairwise(path):
        felt = [item for item in conclusion.findings if target in (item.entity, item.caller)][:3]
        seen = f": {felt[0].summary}" if felt else ", which shows nothing of its own"
        steps.append(
            CausalStep(
                source=source,
                target=target,
                sentence=f"{target} calls {source}{seen}"[:400],
                findings=tuple(item.key for item in felt),
            )
        )
    return tuple(steps)


def _affected(conclusion: Conclusion, evidence: Evidence, cause: EntityId) -> frozenset[EntityId]:
    """The outermost callers of the cause that show something."""
    upstream = evidence.graph.upstream(cause)
    felt = {item.entity for item in conclusion.findings if item.strength >= WORTH_REPORTING} & upstream
    return frozenset(name for name in felt if not evidence.graph.callers.get(name)) or frozenset(felt)


def _timeline(conclusion: Conclusion, evidence: Evidence) -> tuple[TimelineEntry, ...]:
    since = evidence.alert_at - timedelta(hours=1)
    telling = [
        item
        for item in conclusion.findings
        if item.onset is not None
        and item.onset >= since
        and (item.strength >= WORTH_REPORTING or item.family is FindingFamily.CHANGE)
    ]
    entries = [
        TimelineEntry(at=item.onset, entity=item.entity, sentence=item.summary, findings=(item.key,))
        for item in telling[:TIMELINE_LENGTH]
        if item.onset is not None
    ]
    entries += [
        TimelineEntry(at=alert.starts_at, entity=alert.entity, sentence=f"alert: {alert.title}")
        for alert in evidence.alerts
    ]
    return tuple(sorted(entries, key=lambda entry: (entry.at, entry.sentence)))


def _blast_radius(conclusion: Conclusion, evidence: Evidence) -> tuple[EntityId, ...]:
    """What calls the cause and shows something itself, or alerted."""
    cause = conclusion.verdict.entity
    if cause is None:
        return ()
    felt = {item.entity for item in conclusion.findings if item.strength >= WORTH_REPORTING}
    felt |= {item.caller for item in conclusion.findings if item.caller is not None and item.entity == cause}
    return tuple(sorted((felt | evidence.alerting) & evidence.graph.upstream(cause)))


def _ruled_out(conclusion: Conclusion, evidence: Evidence) -> tuple[RuledOut, ...]:
    """Entities that show something, or alerted, and are not the cause."""
    cause = conclusion.verdict.entity
    if cause is None:
        return ()
    strongest: dict[EntityId, Finding] = {}
    for item in conclusion.findings:
        if item.family is not FindingFamily.CHANGE:
            strongest.setdefault(item.entity, item)
    upstream = evidence.graph.upstream(cause)
    probabilities = {item.entity: item.probability for item in conclusion.hypotheses}
    rows = []
    for name, item in sorted(strongest.items(), key=lambda pair: (-pair[1].strength, pair[0])):
        if name == cause or (item.strength < WORTH_REPORTING and name not in evidence.alerting):
            continue
        why = f"calls {cause}, which explains more" if name in upstream else "explains less of what was seen"
        rows.append(
            RuledOut(
                entity=name,
                reason=f"{why}; strongest sign: {item.summary[:160]} ({probabilities.get(name, 0.0):.0%})",
            )
        )
    return tuple(rows[:RULED_OUT_LENGTH])
