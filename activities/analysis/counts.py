"""Counts that used to keep a constant ratio to another count, and no longer do."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.parameters import Parameters
from activities.analysis.splits import Cut

KEYS = ["owner", "signal", "anchor"]
CANDIDATES = 6
"""Anchors of a signal that are looked at closely: those whose counts run most alike."""

BLOCK = 4_000_000
"""Numbers of one matrix; more pairs are taken in turns, so that memory stays bounded."""

Matrix = NDArray[np.float64]
Vector = NDArray[np.int64]


def best_anchors(signals: Cut, anchors: Cut, parameters: Parameters) -> pl.DataFrame:
    """The anchor of the same owner that predicts each signal's count best.

    Args:
        signals: counts per (owner, signal).
        anchors: counts per (owner, anchor).
        parameters: numbers of the engine.

    Returns:
        (owner, signal, anchor), one row a signal that has any. Candidates are preselected by the cosine of their
        counts per piece of history; of those the one with the least doubt is taken, then the one that occurs most.
    """
    n, base = signals.before, anchors.before
    chunks = _pieces(n, base)
    counted, measured = _by_owner(n, "signal", chunks), _by_owner(base, "anchor", chunks)
    pairs = pl.concat(
        [pl.DataFrame(schema=dict.fromkeys(KEYS, pl.String))]
        + [_alike(owner, counts, measured[owner]) for owner, counts in counted.items() if owner in measured]
    )
    unseen = (
        signals.after.select("owner", "signal")
        .join(n.select("owner", "signal").unique(), on=["owner", "signal"], how="anti")
        .join(base.group_by("owner", "anchor").agg(pl.col("count").sum()), on="owner")
        .sort("owner", "signal", "count", "anchor", descending=[False, False, True, False])
        .group_by("owner", "signal", maintain_order=True)
        .first()
        .select(KEYS)
    )
    ratios = _ratios(pairs, n, base, parameters)
    chosen = (
        ratios.sort("owner", "signal", "doubt", "past", "anchor", descending=[False, False, False, True, False])
        .group_by("owner", "signal", maintain_order=True)
        .first()
        .select(KEYS)
    )
    return pl.concat([chosen, unseen])


def broken_ratios(
    pairs: pl.DataFrame, signals: Cut, anchors: Cut, parameters: Parameters, *, parts: bool = False
) -> pl.DataFrame:
    """How surprising each signal's count after the split is, given the count of its anchor.

    Args:
        pairs: (owner, signal, anchor), one row a signal.
        signals: counts per (owner, signal).
        anchors: counts per (owner, anchor).
        parameters: numbers of the engine.
        parts: whether each occurrence of a signal is one of its anchor's, at the same moment.

    Returns:
        One row per (owner, signal): anchor, expected, seen, anchors (the anchor's count), surprise (standard
        deviations times trust), strength (0 to 1). A ratio is learned from the part of the history that agrees with
        itself, so that earlier faults in it do little harm.
    """
    after_anchor = anchors.after.select("owner", "anchor", anchors="count")
    after_signal = signals.after.select("owner", "signal", seen="count")
    joined = (
        _ratios(pairs.sort(KEYS), signals.before, anchors.before, parameters)
        .join(after_anchor, on=["owner", "anchor"], how="left")
        .join(after_signal, on=["owner", "signal"], how="left")
        .with_columns(pl.col("anchors").fill_null(0), pl.col("seen").fill_null(0))
        .with_columns(expected=pl.col("ratio") * pl.col("anchors"))
    )
    if parts:
        fixed = (pl.col("ratio") - pl.col("ratio").round()).abs() <= parameters.whole_tolerance
        found = _surprise(joined.filter(fixed), _deviance(), parameters)
    else:
        found = _surprise(joined, _deviation(), parameters)
    squared = pl.col("surprise") ** 2
    strength = squared / (squared + parameters.ratio_knee**2)
    return found.with_columns(strength=strength * (_touched(parameters) if parts else 1.0)).sort("owner", "signal")


@dataclass(frozen=True)
class _Counts:
    """Counts of every name of one owner, per piece of history."""

    names: list[str]
    matrix: Matrix


def _by_owner(rows: pl.DataFrame, name: str, chunks: Vector) -> dict[str, _Counts]:
    ordered = rows.sort("owner", name, "chunk")
    column = np.searchsorted(chunks, ordered["chunk"].to_numpy())
    count = ordered["count"].to_numpy()
    line = ordered.select(number=pl.struct("owner", name).rle_id())["number"].to_numpy().astype(np.int64)
    found = {}
    begin = 0
    for owner, height in ordered.select("owner").group_by("owner", maintain_order=True).len().iter_rows():
        part = slice(begin, begin + height)
        row = line[part] - line[begin]
        matrix = np.zeros((int(row[-1]) + 1, len(chunks)))
        matrix[row, column[part]] = count[part]
        found[owner] = _Counts(ordered[name][part].unique(maintain_order=True).to_list(), matrix)
        begin += height
    return found


def _pieces(n: pl.DataFrame, base: pl.DataFrame) -> Vector:
    """Every piece of history in which anything was counted."""
    return np.unique(np.concatenate([n["chunk"].to_numpy(), base["chunk"].to_numpy()]))


def _alike(owner: str, n: _Counts, base: _Counts) -> pl.DataFrame:
    """(owner, signal, anchor) of the pairs whose counts run most alike."""
    cosine = _unit(n.matrix) @ _unit(base.matrix).T
    position = {name: number for number, name in enumerate(base.names)}
    for row, name in enumerate(n.names):
        if name in position:
            cosine[row, position[name]] = -1.0
    kept = min(CANDIDATES, len(base.names))
    best = np.argsort(-cosine, axis=1, kind="stable")[:, :kept]
    found = [
        (owner, name, base.names[column])
        for row, name in enumerate(n.names)
        for column in best[row]
        if base.names[column] != name
    ]
    return pl.DataFrame(found, schema=dict.fromkeys(KEYS, pl.String), orient="row")


def _unit(matrix: Matrix) -> Matrix:
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(length > 0, length, 1.0)


def _ratios(pairs: pl.DataFrame, n: pl.DataFrame, base: pl.DataFrame, parameters: Parameters) -> pl.DataFrame:
    """The usual ratio of each pair and how much it is to be doubted; pairs whose anchor has no history are left out."""
    chunks = _pieces(n, base)
    width = max(1, len(chunks))
    parts = []
    for start in range(0, pairs.height, max(1, BLOCK // width)):
        block = pairs.slice(start, max(1, BLOCK // width)).with_row_index("row")
        counted = _filled(block, n, ["owner", "signal"], chunks)
        measured = _filled(block, base, ["owner", "anchor"], chunks)
        parts.append(_learned(block.drop("row"), counted, measured, parameters))
    figures = ("ratio", "past", "total", "loss", "dispersion", "doubt")
    empty = pl.DataFrame(schema={**dict.fromkeys(KEYS, pl.String), **dict.fromkeys(figures, pl.Float64)})
    return pl.concat([empty, *parts])


def _filled(block: pl.DataFrame, rows: pl.DataFrame, keys: list[str], chunks: Vector) -> Matrix:
    """The counts of each pair's signal or anchor, one row a pair."""
    matrix = np.zeros((block.height, max(1, len(chunks))))
    found = block.join(rows, on=keys)
    column = np.searchsorted(chunks, found["chunk"].to_numpy())
    matrix[found["row"].to_numpy(), column] = found["count"].to_numpy()
    return matrix


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
    trust = np.where(whole, 1.0, parameters.branch_trust)
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
    trust = pl.when(pl.col("total") == 0).then(parameters.new_signal_trust).otherwise(1 - pl.col("doubt"))
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
