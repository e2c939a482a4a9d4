"""From answers to findings: every family, in one canonical order."""

from collections.abc import Callable

from activities.analysis.evidence import Evidence
from activities.analysis.family import AnalysisInput, families
from activities.analysis.parameters import DEFAULT, Parameters
from workflows.contracts.finding import Finding


def _nobody() -> None:
    pass


def find(
    evidence: Evidence, parameters: Parameters = DEFAULT, *, progressed: Callable[[], None] = _nobody
) -> list[Finding]:
    """Every finding worth reporting, strongest first, ties by key; a key occurs once.

    Args:
        evidence: the answers.
        parameters: of the analysis.
        progressed: is called after each family.
    """
    given = AnalysisInput(evidence, parameters)
    for family in families():
        if family.can_work_on(evidence):
            given.found.extend(family.find(given))
        progressed()
    ordered = sorted(given.found, key=lambda item: (-item.strength, item.key))
    unique = {
        item.key: item for item in reversed(ordered) if item.strength >= parameters.least_strength and item.evidence
    }
    return sorted(unique.values(), key=lambda item: (-item.strength, item.key))[: parameters.most_findings]
