"""Counts that used to keep a constant ratio to another count, and no longer do."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.evidence import Matrix, Numbers
from activities.analysis.parameters import Parameters
from activities.analysis.splits import Cut

CANDIDATES = 6
"""Anchors of a signal that are looked at closely: those whose counts run most alike."""

BLOCK = 500_000
"""Numbers of one matrix; more pairs are taken in turns, so that memory stays bounded."""


@dataclass(frozen=True)
class Counted:
    """How often each of some things occurred; they are known by their position."""

    before: Matrix
    """Per thing and piece of history."""

    after: Matrix
    """Per thing, since the split."""


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


def counted(cut: Cut, thing: Numbers, things: int) -> Counted:
    """The counts of `cut`, summed per thing; `thing` tells what each number stands for, -1 where for none."""
    return Counted(before=cut.before("count", thing, things), after=cut.after("count", thing, things))


def together(first: Counted, second: Counted) -> Counted:
    """The things of both, one after the other."""
    return Counted(np.concatenate([first.before, second.before]), np.concatenate([first.after, second.after]))


def best_anchors(
    signals: Counted, anchors: Counted, owners: tuple[Numbers, Numbers], parameters: Parameters
) -> pl.DataFrame:
    """The anchor of the same owner that predicts each signal's count best.

    Args:
        signals: counts of the signals.
        anchors: counts of what may predict them; the first of them are the signals themselves.
        owners: the owner of each signal, ascending, and of each anchor.
        parameters: numbers of the engine.

    Returns:
        (signal, anchor), one row a signal that has any. Candidates are preselected by the cosine of their counts per
        piece of history; of those the one with the least doubt is taken, then the one that occurs most.
    """
    known, possible = signals.before.sum(axis=1) > 0, anchors.before.sum(axis=1) > 0
    order = np.argsort(owners[1], kind="stable")
    found, unseen = [], []
    every = np.unique(owners[0])
    mines = np.searchsorted(owners[0], [every, every + 1]).T
    theirs = np.searchsorted(owners[1][order], [every, every + 1]).T
    for (begin, end), (first, last) in zip(mines, theirs, strict=True):
        mine, others = np.arange(begin, end), order[first:last]
        others = others[possible[others]]
        if not len(others):
            continue
        found.append(_alike(mine[known[mine]], others, signals, anchors))
        new = mine[~known[mine] & (signals.after[mine] > 0)]
        busiest = others[int(np.argmax(anchors.before[others].sum(axis=1)))]
        unseen.append(np.stack([new, np.full(len(new), busiest)], axis=1))
    pairs = _pairs(found)
    chosen = (
        _ratios(pairs, signals, anchors, parameters)
        .sort("signal", "doubt", "past", "anchor", descending=[False, False, True, False])
        .group_by("signal", maintain_order=True)
        .first()
        .select("signal", "anchor")
    )
    return pl.concat([chosen, _pairs(unseen)])


def broken_ratios(
    pairs: pl.DataFrame, signals: Counted, anchors: Counted, parameters: Parameters, *, parts: bool = False
) -> pl.DataFrame:
    """How surprising each signal's count after the split is, given the count of its anchor.

    Args:
        pairs: (signal, anchor), one row a signal.
        signals: counts of the signals.
        anchors: counts of the anchors.
        parameters: numbers of the engine.
        parts: whether each occurrence of a signal is one of its anchor's, at the same moment.

    Returns:
        One row per signal: anchor, expected, seen, anchors (the anchor's count), surprise (standard deviations times
        trust), strength (0 to 1). A ratio is learned from the part of the history that agrees with itself, so that
        earlier faults in it do little harm.
    """
    joined = (
        _ratios(pairs, signals, anchors, parameters)
        .with_columns(
            anchors=pl.lit(anchors.after).gather(pl.col("anchor")),
            seen=pl.lit(signals.after).gather(pl.col("signal")),
        )
        .with_columns(expected=pl.col("ratio") * pl.col("anchors"))
    )
    if parts:
        fixed = (pl.col("ratio") - pl.col("ratio").round()).abs() <= parameters.whole_tolerance
        found = _surprise(joined.filter(fixed), _deviance(), parameters)
    else:
        found = _surprise(joined, _deviation(), parameters)
    squared = pl.col("surprise") ** 2
    strength = squared / (squared + parameters.knee**2)
    return found.with_columns(strength=strength * (_touched(parameters) if parts else 1.0)).sort("signal")


def _pairs(found: list[Numbers]) -> pl.DataFrame:
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *found])
    return pl.DataFrame({"signal": pairs[:, 0], "anchor": pairs[:, 1]})


def _alike(mine: Numbers, others: Numbers, signals: Counted, anchors: Counted) -> Numbers:
    """(signal, anchor) of the pairs whose counts run most alike."""
    cosine = _unit(signals.before[mine]) @ _unit(anchors.before[others]).T
    cosine[mine[:, None] == others[None, :]] = -1.0
    best = np.argsort(-cosine, axis=1, kind="stable")[:, :CANDIDATES]
    pairs: Numbers = np.stack([np.repeat(mine, best.shape[1]), others[best].ravel()], axis=1)
    others_only: Numbers = pairs[pairs[:, 0] != pairs[:, 1]]
    return others_only


def _unit(matrix: Matrix) -> Matrix:
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(length > 0, length, 1.0)


def _ratios(pairs: pl.DataFrame, signals: Counted, anchors: Counted, parameters: Parameters) -> pl.DataFrame:
    """The usual ratio of each pair and how much it is to be doubted; pairs whose anchor has no history are left out."""
    step = max(1, BLOCK // signals.before.shape[1])
    parts = []
    for start in range(0, pairs.height, step):
        block = pairs.slice(start, step)
        counts, measured = signals.before[block["signal"].to_numpy()], anchors.before[block["anchor"].to_numpy()]
        parts.append(_learned(block, counts, measured, parameters))
    figures = ("ratio", "past", "total", "loss", "dispersion", "doubt")
    empty = pl.DataFrame(schema={"signal": pl.Int64, "anchor": pl.Int64, **dict.fromkeys(figures, pl.Float64)})
    return pl.concat([empty, *parts])


def _learned(pairs: pl.DataFrame, n: Matrix, base: Matrix, parameters: Parameters) -> pl.DataFrame:
    """Per pair: the median ratio, weighted by the anchor's count, and how well it predicts the part that fits best."""
    ratio = _weighted_median(n, base)
    expected = ratio[:, None] * base
    both = n + expected
    error = np.abs(n - expected)
    order = np.argsort(error / (both + 1), axis=1, kind="stable")
    ranked = np.take_along_axis(both, order, axis=1)
    # The piece at which the believed part is reached is believed too: in a short history it may be the largest.
    share = (np.cumsum(ranked, axis=1) - ranked) / (ranked.sum(axis=1, keepdims=True) + 1e-9)
    present = (n > 0) | (base > 0)
    good = np.zeros(n.shape, dtype=bool)
    np.put_along_axis(good, order, share < parameters.kept_history, axis=1)
    good &= present
    pieces = good.sum(axis=1)
    deviation = (error * good).sum(axis=1)
    volume = (np.maximum(n, expected) * good).sum(axis=1)
    squared = (error**2 / (expected + 1) * good).sum(axis=1)
    loss = np.clip((deviation + 1) / (volume + 1), 0, 1)
    chunks = present.sum(axis=1)
    known = chunks / (chunks + parameters.ratio_chunks)
    whole = np.abs(ratio - np.round(ratio)) <= parameters.whole_tolerance
    trust = np.where(whole, 1.0, parameters.half_trust)
    return pairs.with_columns(
        ratio=ratio,
        past=base.sum(axis=1),
        total=n.sum(axis=1),
        loss=loss,
        dispersion=np.where(pieces > 0, squared / np.maximum(pieces, 1), 1.0),
        doubt=1 - (1 - loss) * known * trust,
    ).filter(pl.col("past") > 0)


def _weighted_median(n: Matrix, base: Matrix) -> NDArray[np.float64]:
    """The ratio n / base below which half of `base` lies; 0 where there is no base."""
    ratio = np.divide(n, base, out=np.full(n.shape, np.inf), where=base > 0)
    order = np.argsort(ratio, axis=1, kind="stable")
    share = np.cumsum(np.take_along_axis(base, order, axis=1), axis=1)
    middle = np.argmax(share >= 0.5 * share[:, -1:] - 1e-12, axis=1)
    found = np.take_along_axis(ratio, np.take_along_axis(order, middle[:, None], axis=1), axis=1)[:, 0]
    return np.where(np.isfinite(found), found, 0.0)


def _surprise(rows: pl.DataFrame, deviation: pl.Expr, parameters: Parameters) -> pl.DataFrame:
    """`deviation`, less by what a short history may have missed and by the doubt about the ratio."""
    history = (pl.col("past") / (pl.col("past") + pl.col("anchors") + 1)).sqrt()
    trust = pl.when(pl.col("total") == 0).then(parameters.half_trust).otherwise(1 - pl.col("doubt"))
    steady = deviation.abs() / pl.max_horizontal(1.0, pl.col("dispersion").sqrt()) * history
    return rows.with_columns(surprise=steady * trust)


def _deviation() -> pl.Expr:
    """Standard deviations of a count that runs along with another: a count's own, and what the ratio left open."""
    expected, seen = pl.col("expected"), pl.col("seen")
    spread = pl.max_horizontal(expected, seen) * pl.max_horizontal(1.0, "ratio") + 1
    return (seen - expected) / (spread + (pl.col("loss") * expected) ** 2).sqrt()


def _deviance() -> pl.Expr:
    """Root of the deviance of seeing so many parts of a whole, of which a constant share is usual.

    Where a code path left no choice, a few requests tell as much as many: a count's own deviation would not see it.
    """
    whole, seen = pl.max_horizontal("anchors", "seen").cast(pl.Float64), pl.col("seen").cast(pl.Float64)
    known = pl.col("past") + 1
    usual = (pl.col("ratio") * pl.col("past")).clip(0, pl.col("past"))
    share = (usual + 0.5) / known
    lacking = whole - seen
    told = 2 * (_times_log(seen, whole * share) + _times_log(lacking, whole * (1 - share)))
    open_ = (pl.col("loss") * whole * share) ** 2 / (whole * share * (1 - share) + 1)
    return (told.clip(0) / (1 + open_)).sqrt()


def _touched(parameters: Parameters) -> pl.Expr:
    """How many requests took another path, and which part of all: a fault meets every one, its callers only some."""
    changed = (pl.col("seen") - pl.col("expected")).abs()
    part = changed / pl.max_horizontal("seen", "expected").clip(1e-9)
    return part * (1 - (-changed / parameters.failure_knee).exp())


def _times_log(seen: pl.Expr, expected: pl.Expr) -> pl.Expr:
    return pl.when(seen > 0).then(seen * (seen / expected).log()).otherwise(0.0)
