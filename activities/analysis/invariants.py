"""Counts that used to keep a constant ratio to another count, and no longer do."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.change_points import PrePostSums
from activities.analysis.evidence import Matrix, Numbers
from activities.analysis.parameters import LIMITS, Parameters


@dataclass(frozen=True)
class Counted:
    """How often each of some things occurred; they are known by their position."""

    before: Matrix
    """Per thing and bucket of history."""

    after: Matrix
    """Per thing, since the change point."""


def numbers_in(table: pl.DataFrame, column: str, names: pl.DataFrame, keys: dict[str, str]) -> Numbers:
    """The number in `column` of `table` for each row of `names`, -1 where it has none.

    Args:
        table: one row a number.
        column: which column of `table` holds it.
        names: what is looked up.
        keys: the columns of `names` and those of `table` that must be equal.
    """
    wanted = table.select(*keys.values(), column)
    found = names.select(list(keys)).join(
        wanted, left_on=list(keys), right_on=list(keys.values()), how="left", maintain_order="left"
    )
    return found[column].cast(pl.Int64).fill_null(-1).to_numpy()


def counted(sums: PrePostSums, thing: Numbers, things: int) -> Counted:
    """The counts of `sums`, summed per thing; `thing` says what each number stands for, -1 where for none."""
    return Counted(before=sums.pre_by_bucket("count", thing, things), after=sums.post("count", thing, things))


def together(first: Counted, second: Counted) -> Counted:
    """The things of both, one after the other."""
    return Counted(np.concatenate([first.before, second.before]), np.concatenate([first.after, second.after]))


def best_references(
    signals: Counted, references: Counted, owners: tuple[Numbers, Numbers], parameters: Parameters
) -> pl.DataFrame:
    """The reference of the same owner that predicts each signal's count best.

    Args:
        signals: counts of the signals.
        references: counts of what may predict them; the first of them are the signals themselves.
        owners: the owner of each signal, ascending, and of each reference.
        parameters: numbers of the engine.

    Returns:
        (signal, reference), one row a signal that has any. Candidates are preselected by the cosine of their counts per
        bucket of history; of those the one with the least uncertainty is taken, then the one that occurs most.
    """
    known, possible = signals.before.sum(axis=1) > 0, references.before.sum(axis=1) > 0
    order = np.argsort(owners[1], kind="stable")
    found, new_ones = [], []
    every = np.unique(owners[0])
    mines = np.searchsorted(owners[0], [every, every + 1]).T
    theirs = np.searchsorted(owners[1][order], [every, every + 1]).T
    for (begin, end), (first, last) in zip(mines, theirs, strict=True):
        mine, others = np.arange(begin, end), order[first:last]
        others = others[possible[others]]
        if not len(others):
            continue
        found.append(_alike(mine[known[mine]], others, signals, references, parameters))
        new = mine[~known[mine] & (signals.after[mine] > 0)]
        busiest = others[int(np.argmax(references.before[others].sum(axis=1)))]
        new_ones.append(np.stack([new, np.full(len(new), busiest)], axis=1))
    pairs = _pairs(found)
    chosen = (
        _ratios(pairs, signals, references, parameters)
        .sort("signal", "uncertainty", "past", "reference", descending=[False, False, True, False])
        .group_by("signal", maintain_order=True)
        .first()
        .select("signal", "reference")
    )
    return pl.concat([chosen, _pairs(new_ones)])


def invariant_violations(
    pairs: pl.DataFrame, signals: Counted, references: Counted, parameters: Parameters, *, parts: bool = False
) -> pl.DataFrame:
    """How unusual each signal's count after the change point is, given the count of its reference.

    Args:
        pairs: (signal, reference), one row a signal.
        signals: counts of the signals.
        references: counts of the references.
        parameters: numbers of the engine.
        parts: whether each occurrence of a signal is one of its reference's, at the same moment.

    Returns:
        One row per signal: reference, expected, seen, references (the count of the reference), residual (standardised
        and times the confidence), strength (0 to 1). A ratio is learned from the part of the history that agrees with
        itself, so that earlier faults in it do little harm.
    """
    joined = (
        _ratios(pairs, signals, references, parameters)
        .with_columns(
            references=pl.lit(references.after).gather(pl.col("reference")),
            seen=pl.lit(signals.after).gather(pl.col("signal")),
        )
        .with_columns(expected=pl.col("ratio") * pl.col("references"))
    )
    if parts:
        fixed = (pl.col("ratio") - pl.col("ratio").round()).abs() <= parameters.whole_tolerance
        found = _residual(joined.filter(fixed), _deviance(), parameters)
    else:
        found = _residual(joined, _deviation(), parameters)
    squared = pl.col("residual") ** 2
    strength = squared / (squared + parameters.half_saturation**2)
    return found.with_columns(strength=strength * (_touched(parameters) if parts else 1.0)).sort("signal")


def _pairs(found: list[Numbers]) -> pl.DataFrame:
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *found])
    return pl.DataFrame({"signal": pairs[:, 0], "reference": pairs[:, 1]})


def _alike(mine: Numbers, others: Numbers, signals: Counted, references: Counted, parameters: Parameters) -> Numbers:
    """(signal, reference) of the pairs whose counts run most alike."""
    cosine = _unit(signals.before[mine]) @ _unit(references.before[others]).T
    cosine[mine[:, None] == others[None, :]] = -1.0
    best = np.argsort(-cosine, axis=1, kind="stable")[:, : parameters.references_compared]
    pairs: Numbers = np.stack([np.repeat(mine, best.shape[1]), others[best].ravel()], axis=1)
    others_only: Numbers = pairs[pairs[:, 0] != pairs[:, 1]]
    return others_only


def _unit(matrix: Matrix) -> Matrix:
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(length > 0, length, 1.0)


def _ratios(pairs: pl.DataFrame, signals: Counted, references: Counted, parameters: Parameters) -> pl.DataFrame:
    """The usual ratio of each pair and how much it is uncertain; pairs whose reference has no history are left out."""
    step = max(1, LIMITS.pairs_cells // signals.before.shape[1])
    parts = []
    for start in range(0, pairs.height, step):
        block = pairs.slice(start, step)
        counts, measured = signals.before[block["signal"].to_numpy()], references.before[block["reference"].to_numpy()]
        parts.append(_learned(block, counts, measured, parameters))
    figures = ("ratio", "past", "total", "loss", "dispersion", "uncertainty")
    empty = pl.DataFrame(schema={"signal": pl.Int64, "reference": pl.Int64, **dict.fromkeys(figures, pl.Float64)})
    return pl.concat([empty, *parts])


def _learned(pairs: pl.DataFrame, n: Matrix, base: Matrix, parameters: Parameters) -> pl.DataFrame:
    """Per pair: the median ratio, weighted by the reference's count, and how well it predicts what fits best."""
    ratio = _weighted_median(n, base)
    expected = ratio[:, None] * base
    both = n + expected
    error = np.abs(n - expected)
    order = np.argsort(error / (both + 1), axis=1, kind="stable")
    ranked = np.take_along_axis(both, order, axis=1)
    # The bucket at which the believed part is reached is believed too: in a short history it may be the largest.
    share = (np.cumsum(ranked, axis=1) - ranked) / (ranked.sum(axis=1, keepdims=True) + 1e-9)
    present = (n > 0) | (base > 0)
    good = np.zeros(n.shape, dtype=bool)
    np.put_along_axis(good, order, share < parameters.kept_history, axis=1)
    good &= present
    buckets = good.sum(axis=1)
    deviation = (error * good).sum(axis=1)
    most = (np.maximum(n, expected) * good).sum(axis=1)
    squared = (error**2 / (expected + 1) * good).sum(axis=1)
    loss = np.clip((deviation + 1) / (most + 1), 0, 1)
    buckets = present.sum(axis=1)
    known = buckets / (buckets + parameters.ratio_buckets)
    whole = np.abs(ratio - np.round(ratio)) <= parameters.whole_tolerance
    confidence = np.where(whole, 1.0, parameters.half_confidence)
    return pairs.with_columns(
        ratio=ratio,
        past=base.sum(axis=1),
        total=n.sum(axis=1),
        loss=loss,
        dispersion=np.where(buckets > 0, squared / np.maximum(buckets, 1), 1.0),
        uncertainty=1 - (1 - loss) * known * confidence,
    ).filter(pl.col("past") > 0)


def _weighted_median(n: Matrix, base: Matrix) -> NDArray[np.float64]:
    """The ratio n / base below which half of `base` lies; 0 where there is no base."""
    ratio = np.divide(n, base, out=np.full(n.shape, np.inf), where=base > 0)
    order = np.argsort(ratio, axis=1, kind="stable")
    share = np.cumsum(np.take_along_axis(base, order, axis=1), axis=1)
    middle = np.argmax(share >= 0.5 * share[:, -1:] - 1e-12, axis=1)
    found = np.take_along_axis(ratio, np.take_along_axis(order, middle[:, None], axis=1), axis=1)[:, 0]
    return np.where(np.isfinite(found), found, 0.0)


def _residual(rows: pl.DataFrame, deviation: pl.Expr, parameters: Parameters) -> pl.DataFrame:
    """`deviation`, less by what a short history may have missed and by the uncertainty about the ratio."""
    history = (pl.col("past") / (pl.col("past") + pl.col("references") + 1)).sqrt()
    confidence = pl.when(pl.col("total") == 0).then(parameters.half_confidence).otherwise(1 - pl.col("uncertainty"))
    steady = deviation.abs() / pl.max_horizontal(1.0, pl.col("dispersion").sqrt()) * history
    return rows.with_columns(residual=steady * confidence)


def _deviation() -> pl.Expr:
    """Standard deviations of a count that runs along with another: a count's own, and what the ratio left open."""
    expected, seen = pl.col("expected"), pl.col("seen")
    spread = pl.max_horizontal(expected, seen) * pl.max_horizontal(1.0, "ratio") + 1
    return (seen - expected) / (spread + (pl.col("loss") * expected) ** 2).sqrt()


def _deviance() -> pl.Expr:
    """Root of the deviance of seeing so many parts of a whole, of which a constant share is usual.

    Where a code path left no choice, a few requests say as much as many: a count's own deviation would not see it.
    """
    whole, seen = pl.max_horizontal("references", "seen").cast(pl.Float64), pl.col("seen").cast(pl.Float64)
    known = pl.col("past") + 1
    usual = (pl.col("ratio") * pl.col("past")).clip(0, pl.col("past"))
    share = (usual + 0.5) / known
    lacking = whole - seen
    deviance = 2 * (_times_log(seen, whole * share) + _times_log(lacking, whole * (1 - share)))
    open_ = (pl.col("loss") * whole * share) ** 2 / (whole * share * (1 - share) + 1)
    return (deviance.clip(0) / (1 + open_)).sqrt()


def _touched(parameters: Parameters) -> pl.Expr:
    """How many requests took another path, and which part of all: a fault meets every one, its callers only some."""
    changed = (pl.col("seen") - pl.col("expected")).abs()
    part = changed / pl.max_horizontal("seen", "expected").clip(1e-9)
    return part * (1 - (-changed / parameters.failure_scale).exp())


def _times_log(seen: pl.Expr, expected: pl.Expr) -> pl.Expr:
    return pl.when(seen > 0).then(seen * (seen / expected).log()).otherwise(0.0)
