"""Sampled traces, reduced to operations: what was sampled of a part of the time stands for all of that part."""

import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from activities.answers import COLUMNS, TIMESTAMP
from activities.telemetry.backend import Answer, answered
from activities.telemetry.reduction import Reduction, ReductionDatabase
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import TraceProbe, Window

MEMORY_MB, THREADS = 384, 2
MOST_TILES = 200
SPANS = pl.Schema(
    {
        "ts": TIMESTAMP,
        "duration_us": pl.Int64(),
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "parent_span_id": pl.String(),
        "entity": pl.String(),
        "operation": pl.String(),
        "peer": pl.String(),
        "error": pl.Boolean(),
    }
)
"""The columns of a bundle's traces; ids are unique within an answer."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Traces of one kind (all, failed, slow, ordinary) of one part of the time."""

    window: Window
    spans: pl.DataFrame
    """As in `SPANS`."""

    whole: bool
    """Whether these are all the traces of their kind; otherwise they are the latest of them."""


def tiled(sample: Sample) -> tuple[pl.DataFrame, float]:
    """The spans of a sample, repeated backwards until they fill its window, and how often that is.

    The latest traces of a part of the time are taken for what all of it was like: each stands for several, spread over
    the part as evenly as the sample was.
    """
    if sample.whole or sample.spans.is_empty():
        return sample.spans, 1.0
    begins = sample.spans.group_by("trace_id").agg(pl.col("ts").min())["ts"]
    oldest = begins.min()
    assert isinstance(oldest, type(sample.window.end))
    covered = max(sample.window.end - oldest, timedelta(milliseconds=1))
    times = min(MOST_TILES, max(1.0, sample.window.length / covered))
    tiles = []
    for number in range(math.ceil(times)):
        shifted = sample.spans.with_columns(
            pl.col("ts") - number * covered, pl.format("{}-{}", pl.col("trace_id"), pl.lit(number)).alias("trace_id")
        )
        inside = shifted.group_by("trace_id").agg(pl.col("ts").min()).filter(pl.col("ts") >= sample.window.start)
        tiles.append(shifted.join(inside.select("trace_id"), on="trace_id", how="semi"))
    return pl.concat(tiles), times


class SpanReduction:
    """Reduces samples to the rows of trace answers."""

    def __init__(self, samples: Sequence[Sample], window: Window) -> None:
        self._window = window
        self._folder = tempfile.TemporaryDirectory(prefix="inquest-spans-")
        folder = Path(self._folder.name)
        self._database = ReductionDatabase(folder, scratch=folder, threads=THREADS, memory_mb=MEMORY_MB)
        self._reduction = Reduction(self._database)
        self._file = folder / "spans.parquet"
        parts = [tiled(sample) for sample in samples]
        self._capped = any(times >= MOST_TILES for _, times in parts)
        spans = pl.concat([pl.DataFrame(schema=SPANS), *(part for part, _ in parts)])
        taken = sum(sample.spans["trace_id"].n_unique() for sample in samples)
        stands_for = sum(part["trace_id"].n_unique() for part, _ in parts)
        self._share = taken / stands_for if stands_for else 1.0
        spans.sort("ts", "trace_id", "span_id").write_parquet(self._file)
        self._reduction.join_spans(self._file, Window(start=window.start, end=window.end))

    def close(self) -> None:
        """Remove the file."""
        self._database.close()
        self._folder.cleanup()

    def calls(self, limit: int) -> list[tuple[str, str]]:
        """(caller, callee) pairs."""
        return self._reduction.calls(self._file, limit)

    def answer(self, probe: TraceProbe, problems: Iterable[str]) -> Answer:
        """The answer to one probe."""
        found = self._reduction.traces(self._file, probe, self._window)
        notes = list(problems)
        if self._capped:
            notes.append(f"a sample stands for {MOST_TILES} times itself at most: there were more ordinary requests")
        if found.rows is None or not notes:
            return found
        return Answer(
            status=ObservationStatus.TRUNCATED, rows=found.rows, coverage=found.coverage, detail="; ".join(notes)[:900]
        )

    @property
    def share(self) -> float:
        """Of the traces that the sample stands for, how many were fetched."""
        return self._share


def no_spans(window: Window) -> Answer:
    """An answer without any span."""
    return answered(pl.DataFrame(schema=COLUMNS["traces"]), window)
