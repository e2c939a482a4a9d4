"""Recorded incidents with everything that can be asked of them, for evaluations that need no servers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from activities.analysis.evidence import TELEMETRY, Evidence
from evals.bundles import Root
from evals.offline import evidence_of
from evals.results import Ranked
from evals.suites import Suite
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.probe import Modality


@dataclass(frozen=True, kw_only=True)
class RecordedCase:
    """A case with every answer."""

    name: str
    system: str
    roots: tuple[Root, ...]
    """Empty where nothing was wrong, or nobody says where."""

    nothing_wrong: bool

    injected_at: datetime | None
    """When the fault began, where that is known."""

    evidence: Evidence
    planned: int


def recorded_case(suite: Suite, name: str, scratch: Path) -> RecordedCase:
    """A case of a suite.

    Raises:
        CorpusError: it cannot be read.
    """
    truth = suite.truth(name)
    evidence, planned = evidence_of(suite.bundle(name, scratch))
    return RecordedCase(
        name=name,
        system=suite.system(name),
        roots=truth.roots,
        nothing_wrong=not truth.roots and not truth.unnamed,
        injected_at=truth.injected_at,
        evidence=evidence,
        planned=planned,
    )


def only(case: RecordedCase, modality: Modality) -> RecordedCase:
    """The case as it would have been recorded by a system that has one kind of telemetry."""
    kept = tuple(
        item for item in case.evidence.answers if item.probe.tool == modality or item.probe.tool not in TELEMETRY
    )
    return replace(case, evidence=replace(case.evidence, answers=kept))


def ranking_of(hypotheses: Sequence[Hypothesis]) -> list[Ranked]:
    """The entities of a ranking, as scores take them."""
    return [
        Ranked(entity=item.entity, fault_kind=item.fault_kind, probability=item.probability)
        for item in hypotheses
        if item.entity is not None
    ]
