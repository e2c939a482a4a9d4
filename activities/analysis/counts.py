"""Counts that used to keep a constant ratio to another count, and no longer do."""

import polars as pl

from activities.analysis.parameters import Parameters
from activities.analysis.splits import Split, with_chunk

_EMPTY = pl.Schema(
    {
        "owner": pl.String,
        "signal": pl.String,
        "anchor": pl.String,
        "expected": pl.Float64,
        "seen": pl.Int64,
        "anchors": pl.Int64,
        "total": pl.Float64,
        "surprise": pl.Float64,
    }
)


def broken_ratios(signals: pl.DataFrame, anchors: pl.DataFrame, split: Split, parameters: Parameters) -> pl.DataFrame:
    """How surprising each signal's count after the split is, given the count of its best anchor.

    Args:
        signals: (ts, count, owner, signal), and `anchor` when the anchor is given.
        anchors: (ts, count, owner, anchor).
        split: the candidate onset.
        parameters: numbers of the engine.

    Returns:
        One row per (owner, signal): anchor, expected, seen, anchors (the anchor's count), surprise (standard
        deviations times trust). A ratio is learned from the part of the history that agrees with itself, so that
        earlier faults in it do little harm; of several anchors the one that predicted best is used.
    """
    keys = ["owner", "signal", "anchor"]
    pairs = _pairs(signals, anchors)
    history = _history(signals, anchors, pairs, split=split, parameters=parameters, keys=keys)
    if history.is_empty():
        return pl.DataFrame(schema=_EMPTY)
    ratios = _ratios(history, parameters, keys)
    chosen = (
        ratios.sort("owner", "signal", "doubt", "past", "anchor", descending=[False, False, False, True, False])
        .group_by("owner", "signal", maintain_order=True)
        .first()
    )
    later = pl.col("ts") >= split.at
    after_anchor = anchors.filter(later).group_by("owner", "anchor").agg(anchors=pl.col("count").sum())
    after_signal = signals.filter(later).group_by("owner", "signal").agg(seen=pl.col("count").sum())
    joined = (
        chosen.join(after_anchor, on=["owner", "anchor"], how="left")
        .join(after_signal, on=["owner", "signal"], how="left")
        .with_columns(pl.col("anchors").fill_null(0), pl.col("seen").fill_null(0))
        .with_columns(expected=pl.col("ratio") * pl.col("anchors"))
    )
    return _surprise(joined, parameters).sort("owner", "signal")


def _pairs(signals: pl.DataFrame, anchors: pl.DataFrame) -> pl.DataFrame:
    if "anchor" in signals.columns:
        return signals.select("owner", "signal", "anchor").unique()
    return (
        signals.select("owner", "signal")
        .unique()
        .join(anchors.select("owner", "anchor").unique(), on="owner")
        .filter(pl.col("signal") != pl.col("anchor"))
    )


def _history(
    signals: pl.DataFrame,
    anchors: pl.DataFrame,
    pairs: pl.DataFrame,
    *,
    split: Split,
    parameters: Parameters,
    keys: list[str],
) -> pl.DataFrame:
    """(owner, signal, anchor, chunk) with `base`, the anchor's count, and `n`, the signal's; either may be 0."""

    def summed(rows: pl.DataFrame, name: str, to: str) -> pl.DataFrame:
        return (
            with_chunk(rows, split, parameters)
            .group_by("owner", name, "chunk")
            .agg(pl.col("count").sum().cast(pl.Float64).alias(to))
        )

    base, n = summed(anchors, "anchor", "base"), summed(signals, "signal", "n")
    with_anchor = pairs.join(base, on=["owner", "anchor"]).join(n, on=["owner", "signal", "chunk"], how="left")
    without = (
        pairs.join(n, on=["owner", "signal"])
        .join(base, on=["owner", "anchor", "chunk"], how="anti")
        .with_columns(base=pl.lit(0.0))
    )
    columns = [*keys, "chunk", "base", "n"]
    return pl.concat([with_anchor.with_columns(pl.col("n").fill_null(0.0)).select(columns), without.select(columns)])


def _ratios(history: pl.DataFrame, parameters: Parameters, keys: list[str]) -> pl.DataFrame:
    """The usual ratio of each pair and how much it is to be doubted."""
    ordered = (
        history.filter(pl.col("base") > 0)
        .with_columns(r=pl.col("n") / pl.col("base"))
        .sort(*keys, "r", "chunk")
        .with_columns(share=pl.col("base").cum_sum().over(keys) / pl.col("base").sum().over(keys))
    )
    medians = (
        ordered.filter(pl.col("share") >= 0.5 - 1e-12)
        .group_by(keys, maintain_order=True)
        .agg(ratio=pl.col("r").first())
    )
    expected = pl.col("ratio") * pl.col("base")
    both = (pl.col("n") + expected).alias("both")
    scored = (
        history.join(medians, on=keys)
        .with_columns(both, error=(pl.col("n") - expected))
        .with_columns(relative=pl.col("error").abs() / (pl.col("both") + 1))
        .sort(*keys, "relative", "chunk")
        .with_columns(share=pl.col("both").cum_sum().over(keys) / (pl.col("both").sum().over(keys) + 1e-9))
    )
    good = pl.col("share") <= parameters.kept_history
    larger = pl.max_horizontal("n", expected)
    grouped = scored.group_by(keys, maintain_order=True).agg(
        ratio=pl.col("ratio").first(),
        past=pl.col("base").sum(),
        total=pl.col("n").sum(),
        chunks=pl.len(),
        deviation=pl.col("error").abs().filter(good).sum(),
        volume=larger.filter(good).sum(),
        dispersion=(pl.col("error") ** 2 / (expected + 1)).filter(good).mean().fill_null(1.0),
    )
    whole = (pl.col("ratio") - pl.col("ratio").round()).abs() <= parameters.whole_tolerance
    loss = ((pl.col("deviation") + 1) / (pl.col("volume") + 1)).clip(0, 1)
    known = pl.col("chunks") / (pl.col("chunks") + parameters.ratio_chunks)
    trust = pl.when(whole).then(1.0).otherwise(parameters.branch_trust)
    return grouped.with_columns(loss=loss).with_columns(doubt=1 - (1 - pl.col("loss")) * known * trust)


def _surprise(rows: pl.DataFrame, parameters: Parameters) -> pl.DataFrame:
    expected, seen = pl.col("expected"), pl.col("seen")
    spread = (
        pl.max_horizontal(expected, seen) * pl.max_horizontal(1.0, "ratio") + 1 + (pl.col("loss") * expected) ** 2
    ).sqrt()
    history = (pl.col("past") / (pl.col("past") + pl.col("anchors") + 1)).sqrt()
    deviation = (seen - expected) / spread / pl.max_horizontal(1.0, pl.col("dispersion").sqrt()) * history
    trust = pl.when(pl.col("total") == 0).then(parameters.new_signal_trust).otherwise(1 - pl.col("doubt"))
    return rows.with_columns(surprise=deviation.abs() * trust)
