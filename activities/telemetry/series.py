"""Series that mean something, from counters: rates, mean durations, error ratios. Shared by all metric backends."""

import re

import polars as pl

_LABEL = re.compile(r'(?P<key>[a-zA-Z_]\w*)="(?P<value>[^"]*)"')
STATUS_LABELS = ("code", "status", "status_code", "http_status_code", "http_response_status_code", "grpc_code")
"""Labels that say how a request ended."""

SPAN_KIND = "span_kind"
"""The label of span metrics that tells requests served from requests made: errors of one are none of the other."""

_FAILED = frozenset(("error", "status_code_error", "internal", "unavailable", "deadline_exceeded"))


def rates(samples: pl.DataFrame, counters: frozenset[str]) -> pl.DataFrame:
    """Counters as increase per second since the sample before; a reset starts again from zero.

    Args:
        samples: (metric, ts, value), sorted by metric and ts.
        counters: names of the metrics that only ever grow.

    Returns:
        The same columns; a counter's series is named `rate(<metric>)` and has one sample less. The method is
        Prometheus' treatment of resets (documentation of `rate`).
    """
    increase = pl.col("value").diff().over("metric")
    elapsed = pl.col("ts").diff().over("metric").dt.total_microseconds() / 1e6
    grown = (
        samples.filter(pl.col("metric").is_in(list(counters)))
        .with_columns(value=pl.when(increase < 0).then(pl.col("value")).otherwise(increase) / elapsed)
        .drop_nulls("value")
        .with_columns(metric=pl.format("rate({})", pl.col("metric")))
    )
    return pl.concat([samples.filter(~pl.col("metric").is_in(list(counters))), grown]).sort("metric", "ts")


def with_ratios(series: pl.DataFrame) -> pl.DataFrame:
    """Add mean durations (`_sum` over `_count`) and error ratios (status 5xx over all), where both sides exist."""
    parts = {str(key[0]): rows for key, rows in series.partition_by("metric", as_dict=True).items()}
    names = sorted(parts)
    extra = [
        _quotient(parts, [f"rate({base}_sum{labels})"], [f"rate({base}_count{labels})"], f"{base}_mean{labels}")
        for base, labels in _summaries(names)
    ]
    for (base, kind), (failed, every) in _by_status(names).items():
        name = f'{base}_error_ratio{{{SPAN_KIND}="{kind}"}}' if kind else f"{base}_error_ratio"
        extra.append(_quotient(parts, failed, every, name, absent=0.0))
    return pl.concat([series, *extra]).sort("metric", "ts")


def _summaries(names: list[str]) -> list[tuple[str, str]]:
    found = []
    for name in names:
        match = re.fullmatch(r"rate\((?P<base>.+?)_sum(?P<labels>\{.*\})?\)", name)
        if match:
            base, labels = match["base"], match["labels"] or ""
            if f"rate({base}_count{labels})" in names:
                found.append((base, labels))
    return found


def _by_status(names: list[str]) -> dict[tuple[str, str], tuple[list[str], list[str]]]:
    """(base name, span kind) to (series with a failed status, all series), for counters that carry a status label."""
    groups: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for name in names:
        match = re.fullmatch(r"rate\((?P<base>[^{]+)\{(?P<labels>.*)\}\)", name)
        labels = {item["key"]: item["value"] for item in _LABEL.finditer(match["labels"])} if match else {}
        status = next((labels[key] for key in sorted(labels.keys() & set(STATUS_LABELS))), None)
        if match is None or status is None:
            continue
        failed, every = groups.setdefault((match["base"], labels.get(SPAN_KIND, "")), ([], []))
        every.append(name)
        if status.startswith("5") or status.lower() in _FAILED:
            failed.append(name)
    return groups


def _total(series: dict[str, pl.DataFrame], names: list[str]) -> pl.DataFrame:
    """The sum of several series at each moment that any of them has."""
    chosen = [series[name] for name in names]
    if len(chosen) == 1 and not chosen[0]["ts"].is_duplicated().any():
        return chosen[0].select("ts", "value")
    together = pl.concat(chosen).sort("ts", "metric") if chosen else next(iter(series.values())).clear()
    return together.group_by("ts", maintain_order=True).agg(pl.col("value").sum())


def _quotient(
    series: dict[str, pl.DataFrame],
    numerator: list[str],
    denominator: list[str],
    name: str,
    absent: float | None = None,
) -> pl.DataFrame:
    joined = _total(series, denominator).join(_total(series, numerator), on="ts", how="left", suffix="_part")
    if absent is not None:
        joined = joined.with_columns(pl.col("value_part").fill_null(absent))
    return (
        joined.filter(pl.col("value") > 0, pl.col("value_part").is_not_null())
        .select(metric=pl.lit(name), ts="ts", value=pl.col("value_part") / pl.col("value"))
        .sort("ts")
    )
