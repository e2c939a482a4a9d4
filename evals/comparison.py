"""Two runs of the same cases: what changed, by how much, and whether that can be chance.

The paired difference has a bootstrap interval; the test is McNemar's exact one (a binomial on the cases that only
one of the two had right; Dietterich, Neural Computation 1998).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from evals.results import CaseResult, EvaluationFile, Interval, ResultsError
from evals.scoring import interval, names_root, names_root_cause, ranks, roots_of

SIGNIFICANT = 0.05
MOVED_SHOWN = 5
LEAST_MOVE = 0.2
"""Log-odds by which a contribution must have moved to be listed."""


@dataclass(frozen=True, kw_only=True)
class GroupDifference:
    """One system."""

    group: str
    before: float
    after: float
    difference: Interval
    lost: int
    """Cases that only the earlier run had right."""

    won: int
    p_value: float

    @property
    def regressed(self) -> bool:
        """Whether the fall can hardly be chance."""
        return self.lost > self.won and self.p_value < SIGNIFICANT


@dataclass(frozen=True, kw_only=True)
class CaseDifference:
    """One case whose answer changed."""

    case: str
    system: str
    worse: bool
    sentence: str
    moved: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that changed between two runs."""

    groups: tuple[GroupDifference, ...]
    cases: tuple[CaseDifference, ...]
    missing: tuple[str, ...]

    @property
    def regressed(self) -> bool:
        """Whether any system became significantly worse."""
        return any(group.regressed for group in self.groups)


def compare(before: EvaluationFile, after: EvaluationFile) -> Comparison:
    """Pair the cases of two runs.

    Raises:
        ResultsError: they have no scored case in common.
    """
    earlier, later = _scored(before), _scored(after)
    both = [key for key in earlier if key in later]
    if not both:
        raise ResultsError(
            "the two files have no scored case in common: compare runs of the same suite, not blind ones"
        )
    by_system: dict[str, list[str]] = defaultdict(list)
    for key in both:
        by_system[earlier[key][0].system].append(key)
    groups = [
        _group(name, [(_first(earlier[key]), _first(later[key])) for key in keys]) for name, keys in by_system.items()
    ]
    changed = [difference for key in both if (difference := _case(earlier[key][0], later[key][0])) is not None]
    return Comparison(
        groups=tuple(groups),
        cases=tuple(sorted(changed, key=lambda item: (not item.worse, item.system, item.case))),
        missing=tuple(sorted(earlier[key][0].case for key in earlier.keys() - later.keys()))
        + tuple(sorted(later[key][0].case for key in later.keys() - earlier.keys())),
    )


def mcnemar(lost: int, won: int) -> float:
    """Two-sided exact p-value for that many cases that changed in each direction."""
    n = lost + won
    tail = sum(comb(n, k) for k in range(min(lost, won) + 1))
    return min(1.0, float(2 * tail / 2**n))


def _scored(results: EvaluationFile) -> dict[str, list[CaseResult]]:
    """Replays with a usable truth that says where, by case."""
    rows: dict[str, list[CaseResult]] = defaultdict(list)
    for row in results.cases:
        if row.truth is not None and row.truth_problem is None and not row.truth.unnamed:
            rows[row.case].append(row)
    return rows


def _first(rows: Sequence[CaseResult]) -> float:
    """Share of a case's replays that had a root first, or named no root cause where there was none."""
    return sum(_rank(row) <= 1 for row in rows) / len(rows)


def _rank(row: CaseResult) -> float:
    """Of the root that stands best; where nothing was wrong, 1 for naming no root cause, infinite otherwise."""
    assert row.truth is not None
    roots = roots_of(row.truth)
    if not roots:
        return 1.0 if row.failed is None and not names_root_cause(row) else float("inf")
    return min(ranks(row.ranking, roots, names_root))


def _group(name: str, pairs: Sequence[tuple[float, float]]) -> GroupDifference:
    lost = sum(old > 0.5 >= new for old, new in pairs)
    won = sum(new > 0.5 >= old for old, new in pairs)
    return GroupDifference(
        group=name,
        before=sum(old for old, _ in pairs) / len(pairs),
        after=sum(new for _, new in pairs) / len(pairs),
        difference=interval([[new - old] for old, new in pairs]),
        lost=lost,
        won=won,
        p_value=mcnemar(lost, won),
    )


def _case(old: CaseResult, new: CaseResult) -> CaseDifference | None:
    """What changed in one case; None when its verdict and the root's rank stayed."""
    ranked = _rank(old), _rank(new)
    said = [_said(row) for row in (old, new)]
    if ranked[0] == ranked[1] and said[0] == said[1]:
        return None
    return CaseDifference(
        case=(old.truth.case if old.truth else "") or old.case,
        system=old.system,
        worse=ranked[1] > ranked[0] or (ranked[1] == ranked[0] and said[0] == _root(old) != said[1]),
        sentence=f"the root's rank {_place(ranked[0])} -> {_place(ranked[1])}, the verdict {said[0]} -> {said[1]}",
        moved=_moved(old, new),
    )


def _root(row: CaseResult) -> str | None:
    return row.truth.entity if row.truth is not None else None


def _said(row: CaseResult) -> str:
    if row.verdict is None:
        return "no report"
    return row.verdict.entity or row.verdict.outcome.value


def _place(rank: float) -> str:
    return "none" if rank == float("inf") else f"{rank:g}"


def _moved(old: CaseResult, new: CaseResult) -> tuple[str, ...]:
    """The findings whose weight changed most."""
    weights = [{(part.entity, part.reason): part.log_odds for part in row.contributions} for row in (old, new)]
    changes = [
        (weights[1].get(key, 0.0) - weights[0].get(key, 0.0), key) for key in weights[0].keys() | weights[1].keys()
    ]
    largest = sorted(
        (item for item in changes if abs(item[0]) >= LEAST_MOVE), key=lambda item: (-abs(item[0]), item[1])
    )
    return tuple(f"{move:+.2f} for {entity}: {reason}" for move, (entity, reason) in largest[:MOVED_SHOWN])
