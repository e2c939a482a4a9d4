"""Ordinary periods with an alert all the same: how often is somebody accused where nothing is wrong?

What was recorded before a fault began, cut off there, is a period without one; a false alert is put at its end. Cases
in which nothing was wrong are taken as they are.
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from activities.analysis.evidence import TELEMETRY
from evals.offline import diagnose
from evals.recorded_case import RecordedCase
from evals.results import Interval
from workflows.contracts.report import Outcome

QUIET = timedelta(minutes=20)
"""A fault that began so long before may still be seen."""

BEFORE = timedelta(seconds=15)
LEAST_HISTORY = timedelta(minutes=2)
DELAYS = (30, 60, 90)
"""Seconds between the false alert and the moment at which it is investigated."""

NORMAL_95 = 1.96


@dataclass(frozen=True, kw_only=True)
class NoFaultScore:
    """One system's periods without a fault."""

    system: str
    accused: Interval
    """Share of those in which one entity was called the root cause; with Wilson's interval (1927)."""

    suspected: Interval
    """Share of those in which an entity was named at all."""


def periods_without_fault(case: RecordedCase, injections: Iterable[datetime]) -> Iterator[RecordedCase]:
    """The case itself if nothing was wrong, else moments before its fault, each with a false alert.

    Args:
        case: with when its fault began; without that there are none.
        injections: when any fault of the same recording began.
    """
    if case.nothing_wrong:
        yield case
    if case.nothing_wrong or case.injected_at is None:
        return
    start, end = case.evidence.window.start, case.injected_at - BEFORE
    for at in (end, start + (end - start) / 2):
        quiet = not any(at - QUIET <= other < at for other in injections if start <= other)
        if quiet and at - start >= LEAST_HISTORY:
            found = _cut(case, at)
            if any(item.rows.height for item in found.evidence.answers if item.probe.tool in TELEMETRY):
                yield found


def score_no_fault(cases: Iterable[RecordedCase]) -> list[NoFaultScore]:
    """How often each system's periods without a fault accuse somebody.

    Args:
        cases: taken one after the other, so that one at a time is in memory.
    """
    found: dict[str, list[Outcome]] = defaultdict(list)
    for case in cases:
        found[case.system].append(diagnose(case.evidence, probes_planned=case.planned).verdict.outcome)
    return [
        NoFaultScore(
            system=system,
            accused=share([item is Outcome.CAUSE_FOUND for item in outcomes]),
            suspected=share([item in (Outcome.CAUSE_FOUND, Outcome.CANDIDATES) for item in outcomes]),
        )
        for system, outcomes in sorted(found.items())
    ]


def share(hits: Sequence[bool]) -> Interval:
    """A share with Wilson's 95 % interval, which is not empty where nothing was hit."""
    n, part = len(hits), sum(hits) / len(hits)
    z = NORMAL_95**2 / n
    middle, half = part + z / 2, NORMAL_95 * math.sqrt(part * (1 - part) / n + z / (4 * n))
    return Interval(value=part, low=max(0.0, (middle - half) / (1 + z)), high=min(1.0, (middle + half) / (1 + z)), n=n)


def _cut(case: RecordedCase, at: datetime) -> RecordedCase:
    """What was known at a moment, with a false alert shortly before it."""
    rng = random.Random(f"{case.name} {at}")  # noqa: S311 - a draw that can be repeated
    names = sorted(case.evidence.graph.kinds)
    services = [name for name in names if name.startswith("service:")] or names
    alert = case.evidence.alerts[0].model_copy(
        update={"entity": rng.choice(services), "starts_at": at - timedelta(seconds=rng.choice(DELAYS))}
    )
    answers = tuple(
        replace(item, rows=item.rows.filter(pl.col("ts") < at)) if "ts" in item.rows.columns else item
        for item in case.evidence.answers
    )
    return replace(
        case, roots=(), nothing_wrong=True, evidence=replace(case.evidence, alerts=(alert,), as_of=at, answers=answers)
    )
