"""What the reporting works on: the ranking and the findings it was made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from activities.analysis.context import IncidentContext
from activities.analysis.parameters import DEFAULT
from workflows.contracts.finding import Finding, FindingFamily
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.report import Verdict


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """One ranking of one set of verified findings."""

    context: IncidentContext
    findings: Sequence[Finding]
    """Verified ones, the strongest first."""

    hypotheses: Sequence[Hypothesis]
    verdict: Verdict

    @cached_property
    def by_key(self) -> Mapping[str, Finding]:
        """Findings by their key."""
        return {item.key: item for item in self.findings}

    @cached_property
    def seen(self) -> tuple[Finding, ...]:
        """Findings of what was measured or changed, without what somebody remembers."""
        return tuple(item for item in self.findings if item.family is not FindingFamily.MEMORY)

    @cached_property
    def remembered(self) -> tuple[Finding, ...]:
        """The others: facts that apply and past incidents that are alike."""
        return tuple(item for item in self.findings if item.family is FindingFamily.MEMORY)

    @cached_property
    def strong(self) -> tuple[Finding, ...]:
        """Findings that are worth reporting."""
        return tuple(item for item in self.seen if item.strength >= DEFAULT.reported_from)

    @cached_property
    def probabilities(self) -> Mapping[EntityId, float]:
        """Probability of each entity in the ranking."""
        return {item.entity: item.probability for item in self.hypotheses if item.entity is not None}

    @property
    def suspect(self) -> EntityId | None:
        """The suspected root cause that the verdict names."""
        return self.verdict.entity

    def proofs(self) -> list[Finding]:
        """The findings that speak for the suspect, the weightiest first."""
        if self.suspect is None:
            return []
        named = next(item for item in self.hypotheses if item.entity == self.suspect)
        parts = (self.by_key.get(part.finding_key) for part in named.supporting)
        found = [item for item in parts if item is not None and item.family is not FindingFamily.MEMORY]
        return found or [item for item in self.seen if item.entity == self.suspect]
