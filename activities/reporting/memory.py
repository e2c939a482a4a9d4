"""What the organisation knew: facts with what became of them, and past incidents that are alike."""

from collections.abc import Sequence

from activities.analysis.facts import FactStanding, concerns, labelled
from activities.analysis.parameters import LIMITS
from activities.reporting.conclusion import Conclusion
from workflows.contracts.fact import FactEffect
from workflows.contracts.finding import Finding, Mechanism
from workflows.contracts.hypothesis import ContributionTerm, Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.report import ReportedFact

PAST = frozenset((Mechanism.PAST_INCIDENT, Mechanism.CONFIRMED_CAUSE))


def past_incidents(conclusion: Conclusion) -> tuple[str, ...]:
    """A sentence for each past incident that is alike, and why, the most alike first."""
    alike = [item for item in conclusion.remembered if item.mechanism in PAST]
    return tuple(f"{item.summary} ({item.note})" for item in alike)


def facts(conclusion: Conclusion) -> tuple[ReportedFact, ...]:
    """Facts about the incident: those that apply first, then those that would if they were not out of date."""
    applied = {item.signal: item for item in conclusion.remembered if item.mechanism not in PAST}
    near = _near(conclusion)
    used: list[ReportedFact] = []
    unused: list[ReportedFact] = []
    for standing in conclusion.context.facts:
        finding = applied.get(standing.fact.fact_id)
        if finding is not None:
            used.append(_reported(standing, used=True, why=_effect(finding)))
        elif any(concerns(standing.fact, name, conclusion.context.graph) for name in near):
            unused.append(_reported(standing, used=False, why=_why_not(standing, conclusion)))
    return tuple([*used, *unused][: LIMITS.facts])


def expectation(hypotheses: Sequence[Hypothesis]) -> str:
    """What somebody expected that would otherwise count most; empty where nobody expected anything."""
    parts = [part for item in hypotheses for part in item.contradicting if part.term is ContributionTerm.FACT]
    return min(parts, key=lambda part: part.log_odds).reason if parts else ""


def _near(conclusion: Conclusion) -> set[EntityId]:
    suspects = {item.entity for item in conclusion.hypotheses[:3] if item.entity is not None}
    return suspects | conclusion.context.alerting


def _reported(standing: FactStanding, *, used: bool, why: str) -> ReportedFact:
    fact = standing.fact
    return ReportedFact(
        fact_id=fact.fact_id,
        subject=fact.subject,
        statement=fact.statement,
        owner=fact.owner or fact.author,
        review_by=fact.review_by,
        used=used,
        why=why,
    )


def _effect(finding: Finding) -> str:
    if finding.mechanism is Mechanism.KNOWN_CAUSE:
        return "a known weak point: a little more probable"
    count = len(finding.about)
    signs = "1 sign counts" if count == 1 else f"{count} signs count"
    return f"expected: {signs} by {1 - finding.strength:.0%}"


def _why_not(standing: FactStanding, conclusion: Conclusion) -> str:
    if standing.problem:
        return f"not used: {standing.problem}"
    if not labelled(standing.fact, conclusion.context.alerts):
        return "not used: no alert carries its labels"
    if standing.fact.effect is FactEffect.NOTE:
        return "a note: it changes nothing"
    return "not used: nothing that it is about, when and as it says, was seen"
