"""Shares of a whole of which less is worse: requests that succeed, time that something is up, look-ups that hit.

What such a share says lies in what is missing to the whole: a success rate of 99.9 % that falls to 99 % is ten times as
bad as before, and is judged as the failure share of 0.1 % that rises to 1 % would be.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

from activities.analysis.catalogue import Meaning, Resource, Signal, meaning_of
from activities.analysis.evidence import Matrix
from activities.analysis.parameters import Parameters
from activities.analysis.series import Series

PERCENT = 100.0


def wholes_of(series: Series, parameters: Parameters) -> dict[str, float]:
    """The metrics that are such shares, with the value that is the whole: 1 or, in per cent, 100.

    One metric is spelled alike everywhere, so the values of all entities decide between the two, and whether it is a
    share at all.
    """
    metrics = [name for name in series.names["metric"].unique() if _may_be(meaning_of(name))]
    name = pl.col("metric").str.split("{").list.first()
    listed = series.names.filter(pl.col("metric").is_in(metrics)).with_columns(name=name)
    found: dict[str, float] = {}
    for (_,), rows in listed.group_by("name"):
        values = (series.arrays(number)[1] for number in rows["number"])
        whole = whole_of(values, meaning_of(rows["metric"][0]), parameters)
        if whole is not None:
            found |= dict.fromkeys(rows["metric"], whole)
    return found


def whole_of(values: Iterable[Matrix], meaning: Meaning, parameters: Parameters) -> float | None:
    """What is the whole of the share that these series are; None when they are none.

    Args:
        values: of all series of the metric.
        meaning: what it means.
        parameters: numbers of the engine.
    """
    known = [item for item in values if item.size]
    if not known or min(float(item.min()) for item in known) < 0:
        return None
    highest = max(float(item.max()) for item in known)
    if highest <= parameters.limit_whole:
        return 1.0
    in_percent = meaning.is_share and highest > parameters.requests_percent
    return PERCENT if in_percent and highest <= PERCENT * parameters.limit_whole else None


def floor_of_share(meaning: Meaning, whole: float, parameters: Parameters) -> float:
    """The move of a share below which it is of no practical importance."""
    of_requests = meaning.resource is Resource.REQUEST and meaning.signal in (Signal.ERRORS, Signal.STATE)
    return whole * (parameters.floor_error_ratio if of_requests else parameters.floor_ratio)


def failing(values: Matrix, meaning: Meaning, parameters: Parameters) -> Matrix:
    """A share of requests that fail, however it is spelled: of good or of failed ones, in per cent or not."""
    highest = float(values.max()) if values.size else 0.0
    in_percent = meaning.unit == "%" or highest > parameters.requests_percent
    share = values / PERCENT if in_percent else values
    return np.clip(1 - share if meaning.fall_is_bad else share, 0, 1)


def _may_be(meaning: Meaning) -> bool:
    return meaning.fall_is_bad and not meaning.rise_is_bad and (meaning.is_share or meaning.signal is Signal.STATE)
