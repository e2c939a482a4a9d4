"""Evidence families: modules of this package that register what they need and how they make findings.

A family is one module (or folder) beside this one: it decorates its function with `evidence_family`, and is found
because it is here. Adding one touches no other file.
"""

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module

from activities.analysis.change_points import ChangePoint, change_points_of
from activities.analysis.evidence import Evidence, Numbered
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.parameters import Parameters
from activities.analysis.series import Series
from activities.analysis.traces.spans import numbered_spans
from workflows.contracts.finding import Finding
from workflows.contracts.probe import Modality, Tool


@dataclass(frozen=True)
class AnalysisInput:
    """One investigation's answers, and what several families make of them, made once."""

    evidence: Evidence
    parameters: Parameters
    found: list[Finding] = field(default_factory=list)
    """What the families before this one found."""

    @cached_property
    def factory(self) -> FindingFactory:
        """Makes the findings."""
        return FindingFactory(self.evidence, self.parameters)

    @cached_property
    def change_points(self) -> list[ChangePoint]:
        """The candidate onsets."""
        return change_points_of(self.evidence, self.parameters)

    def change_points_of(self, *tools: Modality) -> list[ChangePoint]:
        """The same, each with as much of the history as the answers of all these modalities cover."""
        since = max(self.evidence.since(tool) for tool in tools)
        return [item.covered_since(since) for item in self.change_points]

    @cached_property
    def spans(self) -> Numbered:
        """All spans, by edge."""
        return numbered_spans(self.evidence)

    @cached_property
    def series(self) -> Series:
        """All metrics."""
        return Series.of(self.evidence, self.parameters)


Find = Callable[[AnalysisInput], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class EvidenceFamily:
    """One way of turning answers into findings."""

    name: str
    needs: Mapping[Tool, frozenset[str]]
    """Tools without whose answers it has nothing to say, and the columns that it reads of each."""

    find: Find
    reads_findings: bool
    """Whether it looks at the findings of the others, and therefore comes after them."""

    def can_work_on(self, evidence: Evidence) -> bool:
        """Whether every tool it needs has an answer with its columns."""
        return all(
            any(columns.issubset(item.rows.columns) for item in evidence.of(tool))
            for tool, columns in self.needs.items()
        )


_FAMILIES: dict[str, EvidenceFamily] = {}


def evidence_family(*, needs: Mapping[Tool, Iterable[str]], reads_findings: bool = False) -> Callable[[Find], Find]:
    """Register a function as the family of its module.

    Args:
        needs: tools whose answers it works on, with the columns it reads.
        reads_findings: whether it looks at the findings of the other families.
    """

    def register(find: Find) -> Find:
        name = find.__module__.rpartition(".")[2]
        _FAMILIES[name] = EvidenceFamily(
            name=name,
            needs={tool: frozenset(columns) for tool, columns in needs.items()},
            find=find,
            reads_findings=reads_findings,
        )
        return find

    return register


def families() -> list[EvidenceFamily]:
    """Every family in this package, in the order in which they work."""
    package = import_module("activities.analysis")
    for module in pkgutil.iter_modules(package.__path__, "activities.analysis."):
        import_module(module.name)
    return sorted(_FAMILIES.values(), key=lambda family: (family.reads_findings, family.name))
