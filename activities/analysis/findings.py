"""From answers to findings: every family, in one canonical order."""

from activities.analysis.evidence import Evidence
from activities.analysis.family import AnalysisInput, families
from activities.analysis.parameters import DEFAULT, Parameters
from workflows.contracts.finding import Finding


def find(evidence: Evidence, parameters: Parameters = DEFAULT) -> list[Finding]:
    """Every finding worth reporting, strongest first, ties by key; a key occurs once."""
    given = AnalysisInput(evidence, parameters)
    for family in families():
        if family.can_work_on(evidence):
            given.found.extend(family.find(given))
    ordered = sorted(given.found, key=lambda item: (-item.strength, item.key))
    unique = {
        item.key: item for item in reversed(ordered) if item.strength >= parameters.least_strength and item.evidence
    }
    return sorted(unique.values(), key=lambda item: (-item.strength, item.key))[: parameters.most_findings]
