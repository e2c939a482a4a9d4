"""From replays and truths to figures.

AC@k, Avg@5 and MRR as in Nezha (FSE'23) and RCAEval (ASE'24); with several roots AC@k is the share of them among
the first min(k, roots) places. Equal probabilities share the mean of their ranks. A replay without a report counts
as one that ranked nothing. Intervals are percentile bootstraps over cases, seeded.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median

import numpy as np

from activities.analysis.parameters import DEFAULT
from evals.bundles import Root
from evals.results import (
    Abstention,
    Calibration,
    CaseResult,
    CaseTruth,
    ChangeScores,
    Costs,
    GroupScores,
    Interval,
    Ranked,
    RankScores,
    ReliabilityBin,
    Scores,
)
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.report import ClaimCounts, Outcome

RESAMPLES = 2_000
SEED = 20_26
BINS = 10
DEPTH = 5
Fits = Callable[[Ranked, Root], bool]


def score(cases: Sequence[CaseResult]) -> Scores:
    """Figures of every system, and of every fault kind within it."""
    systems: dict[str, list[CaseResult]] = defaultdict(list)
    kinds: dict[str, list[CaseResult]] = defaultdict(list)
    for case in cases:
        systems[case.system].append(case)
        if case.truth is not None and case.truth.entity is not None:
            kinds[f"{case.system}: {case.truth.fault_kind.value}"].append(case)
    return Scores(
        systems=tuple(_group(name, rows) for name, rows in sorted(systems.items())),
        fault_kinds=tuple(_group(name, rows) for name, rows in sorted(kinds.items())),
    )


def roots_of(truth: CaseTruth) -> tuple[Root, ...]:
    """Every root cause; empty when nothing was wrong."""
    if truth.entity is None:
        return ()
    chief = Root(
        entity=truth.entity,
        aliases=truth.aliases,
        fault_kind=truth.fault_kind,
        kind_family=truth.kind_family,
        change_id=truth.change_id,
    )
    return (chief, *truth.also)


def names_root(ranked: Ranked, root: Root) -> bool:
    """Whether an entry names a root, by its name or a stated alias."""
    return ranked.entity == root.entity or ranked.entity in root.aliases


def names_root_and_kind(ranked: Ranked, root: Root) -> bool:
    """Whether it also says what is wrong with it."""
    return names_root(ranked, root) and ranked.fault_kind == root.fault_kind


def ranks(ranking: Sequence[Ranked], roots: Sequence[Root], fits: Fits) -> list[float]:
    """The rank of each root's best entry, ties at their mean; infinite where none fits that is not another root's."""
    found = []
    taken: set[EntityId] = set()
    for root in roots:
        fitting = [item for item in ranking if fits(item, root) and item.entity not in taken]
        best = max((item.probability for item in fitting), default=None)
        if best is None:
            found.append(float("inf"))
            continue
        taken.add(next(item.entity for item in fitting if item.probability == best))
        above = sum(item.probability > best for item in ranking)
        level = sum(item.probability == best for item in ranking)
        found.append(above + (level + 1) / 2)
    return found


def accuracy_at(k: int, found: Sequence[float]) -> float:
    """AC@k of one replay."""
    return sum(rank <= k for rank in found) / min(k, len(found))


def _group(name: str, rows: Sequence[CaseResult]) -> GroupScores:
    usable = [row for row in rows if row.truth is not None and row.truth_problem is None]
    faulty = [row for row in usable if row.truth is not None and row.truth.entity is not None]
    kinded = [row for row in faulty if row.truth is not None and row.truth.fault_kind is not FaultKind.UNKNOWN]
    claims = ClaimCounts(
        verified=sum(row.claims.verified for row in rows),
        contradicted=sum(row.claims.contradicted for row in rows),
        unsupported=sum(row.claims.unsupported for row in rows),
    )
    made = claims.verified + claims.contradicted + claims.unsupported
    methods = sorted({method for row in faulty for method in row.baselines})
    return GroupScores(
        group=name,
        cases=len({row.id for row in rows}),
        replays=len(rows),
        failed=sum(row.failed is not None for row in rows),
        unscorable=len(rows) - len(usable),
        entity=_rank_scores(faulty, names_root, _own),
        entity_and_kind=_rank_scores(kinded, names_root_and_kind, _own),
        kind_accuracy=_kind_accuracy([row for row in usable if row.truth is not None and _has_fault(row.truth)]),
        changes=_changes(usable),
        abstention=_abstention(usable),
        calibration=calibration(usable),
        kind_calibration=kind_calibration(faulty),
        verdict_against_ranking=tuple(row.case for row in rows if _says_something_else(row)),
        claims=claims,
        claim_support=claims.verified / made if made else None,
        costs=_costs(rows),
        baselines={
            method: scores
            for method in methods
            if (scores := _rank_scores([row for row in faulty if method in row.baselines], names_root, _of(method)))
        },
    )


def _own(row: CaseResult) -> Sequence[Ranked]:
    return row.ranking


def _of(method: str) -> Callable[[CaseResult], Sequence[Ranked]]:
    return lambda row: row.baselines.get(method, ())


def _rank_scores(
    rows: Sequence[CaseResult], fits: Fits, ranking: Callable[[CaseResult], Sequence[Ranked]]
) -> RankScores | None:
    if not rows:
        return None
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        assert row.truth is not None
        found = ranks(ranking(row), roots_of(row.truth), fits)
        at = [accuracy_at(k, found) for k in range(1, DEPTH + 1)]
        values = {"ac1": at[0], "ac3": at[2], "ac5": at[4], "avg5": sum(at) / DEPTH, "mrr": 1 / min(found)}
        for name, value in values.items():
            figures[name][row.id].append(value)
    return RankScores(**{name: interval(by_case.values()) for name, by_case in figures.items()})


def interval(by_case: Iterable[Sequence[float]]) -> Interval:
    """The mean over cases of their mean over repeats, with its 95 % interval."""
    means = np.array([np.mean(values) for values in by_case])
    rng = np.random.default_rng(SEED)
    draws = means[rng.integers(0, means.size, (RESAMPLES, means.size))].mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value=float(means.mean()), low=float(low), high=float(high), n=int(means.size))


def _kind_accuracy(rows: Sequence[CaseResult]) -> Interval | None:
    by_case: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        assert row.truth is not None
        kinds = _right_kinds(row.truth)
        if kinds:
            by_case[row.id].append(float(bool(row.ranking) and row.ranking[0].fault_kind in kinds))
    return interval(by_case.values()) if by_case else None


def _has_fault(truth: CaseTruth) -> bool:
    return truth.entity is not None or truth.unnamed


def _right_kinds(truth: CaseTruth) -> set[FaultKind]:
    """Every kind of fault that counts as right; empty where none is stated."""
    stated = [(set(root.kind_family), root.fault_kind) for root in roots_of(truth)]
    if truth.unnamed:
        stated = [(set(truth.kind_family), truth.fault_kind)]
    return {kind for family, own in stated for kind in family or {own} if kind is not FaultKind.UNKNOWN}


def _says_something_else(row: CaseResult) -> bool:
    """A sure ranking with a verdict that names no root cause or another one, or the reverse."""
    if row.verdict is None or not row.ranking:
        return False
    top = row.ranking[0]
    second = row.ranking[1].probability if len(row.ranking) > 1 else 0.0
    sure = top.probability >= DEFAULT.found_from and top.probability - second >= DEFAULT.found_margin
    if sure != names_root_cause(row):
        return True
    return row.verdict.entity is not None and row.verdict.entity != top.entity


def _changes(rows: Sequence[CaseResult]) -> ChangeScores | None:
    with_changes = [row for row in rows if row.truth is not None and row.truth.changes_recorded]
    if not with_changes:
        return None
    outcomes: Counter[tuple[bool, bool]] = Counter()
    for row in with_changes:
        assert row.truth is not None
        wanted = {root.change_id for root in roots_of(row.truth) if root.change_id is not None}
        said = row.verdict.change_id if row.verdict is not None else None
        right = row.failed is None and (said in wanted if wanted else said is None)
        outcomes[bool(wanted), right] += 1
    return ChangeScores(
        n=len(with_changes),
        right=outcomes[True, True] + outcomes[False, True],
        with_change=outcomes[True, True] + outcomes[True, False],
        right_change=outcomes[True, True],
        without_change=outcomes[False, True] + outcomes[False, False],
        right_none=outcomes[False, True],
    )


def names_root_cause(row: CaseResult) -> bool:
    """Whether the published verdict names one entity as the root cause."""
    return row.verdict is not None and row.verdict.outcome is Outcome.CAUSE_FOUND and row.verdict.entity is not None


def _abstention(rows: Sequence[CaseResult]) -> Abstention:
    nowhere = [row for row in rows if row.truth is not None and row.truth.entity is None]
    healthy = [row for row in nowhere if row.failed is None and row.truth is not None and not row.truth.unnamed]
    unnamed = [row for row in nowhere if row.truth is not None and row.truth.unnamed]
    faulty = [row for row in rows if row.truth is not None and row.truth.entity is not None]
    named = [row for row in faulty if names_root_cause(row)]
    right = sum(_verdict_is_right(row) for row in named)
    return Abstention(
        healthy=len(healthy),
        false_alarms=sum(names_root_cause(row) for row in healthy),
        incidents=len(faulty),
        right_verdicts=right,
        wrong_verdicts=len(named) - right,
        missed=len(faulty) - len(named),
        unnamed=len(unnamed),
        unnamed_missed=sum(not names_root_cause(row) for row in unnamed),
    )


def _verdict_is_right(row: CaseResult) -> bool:
    assert row.verdict is not None
    assert row.truth is not None
    said = row.verdict.entity
    return any(said == root.entity or said in root.aliases for root in roots_of(row.truth))


def calibration(rows: Sequence[CaseResult]) -> Calibration | None:
    """Brier score and expected calibration error of the first hypothesis, in ten equal bins."""
    return _calibrated(
        [
            (row.ranking[0].probability, any(names_root(row.ranking[0], root) for root in roots_of(row.truth)))
            for row in rows
            if row.ranking and row.truth is not None and not row.truth.unnamed
        ]
    )


def _calibrated(pairs: Sequence[tuple[float, bool]]) -> Calibration | None:
    if not pairs:
        return None
    probability = np.array([pair[0] for pair in pairs])
    right = np.array([pair[1] for pair in pairs], dtype=float)
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = [
        ReliabilityBin(
            low=number / BINS,
            high=(number + 1) / BINS,
            n=int(inside.sum()),
            mean_probability=float(probability[inside].mean()),
            share_right=float(right[inside].mean()),
        )
        for number in range(BINS)
        if (inside := place == number).any()
    ]
    return Calibration(
        n=len(pairs),
        brier=float(np.mean((probability - right) ** 2)),
        ece=sum(item.n * abs(item.mean_probability - item.share_right) for item in bins) / len(pairs),
        bins=tuple(bins),
    )


def kind_calibration(rows: Sequence[CaseResult]) -> Calibration | None:
    """The same for the kind of fault, over cases whose first hypothesis names a true root of a stated kind."""
    return _calibrated(
        [
            (row.ranking[0].fault_kind_probability, row.ranking[0].fault_kind in kinds)
            for row in rows
            if row.ranking
            and row.truth is not None
            and (kinds := _right_kinds(row.truth))
            and any(names_root(row.ranking[0], root) for root in roots_of(row.truth))
        ]
    )


def _costs(rows: Sequence[CaseResult]) -> Costs:
    return Costs(
        wall_seconds_median=median(row.wall_seconds for row in rows),
        wall_seconds_max=max(row.wall_seconds for row in rows),
        cpu_seconds_median=median(row.cpu_seconds for row in rows),
        peak_memory_bytes_max=max(row.peak_memory_bytes for row in rows),
        probes_median=median(row.probes for row in rows),
        tokens_total=sum(row.tokens for row in rows),
        history_events_max=max(row.history_events for row in rows),
        history_bytes_max=max(row.history_bytes for row in rows),
    )
