"""Sampled lines of logs, reduced to templates; what was counted says how many lines each of the sample stands for."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from activities.answers import COLUMNS, TIMESTAMP
from activities.telemetry.backend import Answer, answered
from activities.telemetry.reduction import Reduction, ReductionDatabase
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import LogProbe, Window

MEMORY_MB, THREADS = 256, 2
LEAST_COUNT = 0.01
"""Of lines, below which a count is what rounding left."""

LINES = pl.Schema(
    {
        "ts": TIMESTAMP,
        "entity": pl.String(),
        "severity": pl.String(),
        "message": pl.String(),
        "trace_id": pl.String(),
        "span_id": pl.String(),
    }
)
COUNTS = pl.Schema({"entity": pl.String(), "severity": pl.String(), "ts": TIMESTAMP, "count": pl.Float64()})


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Lines of one part of the time."""

    window: Window
    lines: pl.DataFrame
    """As in `LINES`."""

    whole: bool
    """Whether these are all the lines there were."""


class LineReduction:
    """Reduces samples to the rows of log answers.

    Where a sample is not whole, its templates are taken to be spread over its time as all lines of their entity and
    severity were: `counts` says how many those were in each bucket.
    """

    def __init__(self, samples: Sequence[Sample], counts: pl.DataFrame) -> None:
        self._samples = samples
        self._counts = counts
        self._folder = tempfile.TemporaryDirectory(prefix="inquest-lines-")
        folder = Path(self._folder.name)
        self._database = ReductionDatabase(folder, scratch=folder, threads=THREADS, memory_mb=MEMORY_MB)
        self._reduction = Reduction(self._database)
        self._files = []
        for number, sample in enumerate(samples):
            file = folder / f"{number}.parquet"
            sample.lines.sort("ts", "entity", "message").write_parquet(file)
            self._files.append(file)
        self._entities = [frozenset(sample.lines["entity"].unique().to_list()) for sample in samples]

    def close(self) -> None:
        """Remove the files."""
        self._database.close()
        self._folder.cleanup()

    def answer(self, probe: LogProbe, window: Window, problems: Iterable[str]) -> Answer:
        """The answer to one probe, as far as `window` was looked at."""
        parts = [pl.DataFrame(schema=COLUMNS["logs"])]
        sampled = []
        for sample, file, entities in zip(self._samples, self._files, self._entities, strict=True):
            if probe.entity not in entities:
                if not sample.whole:
                    parts.append(self._uncounted(probe.entity, sample))
                continue
            found = self._reduction.logs(file, probe, sample.window, of_requests=sample.whole).rows
            assert found is not None
            if not sample.whole:
                seen = int(found["count"].sum())
                found = self._spread(probe, sample, found)
                sampled.append((seen, int(found["count"].sum())))
            parts.append(found)
        rows = pl.concat(parts).sort("severity", "template", "ts", "after", nulls_last=True)
        notes = list(problems)
        detail = "; ".join(notes)
        if sampled:
            share = sum(seen for seen, _ in sampled) / max(1, sum(total for _, total in sampled))
            detail = "; ".join([f"a sample of {share:.1%} of the busiest parts, weighted by what was counted", *notes])
        answer = answered(rows.head(probe.max_rows), window, total=rows.height, detail="; ".join(notes))
        if notes:
            return Answer(status=ObservationStatus.TRUNCATED, rows=answer.rows, coverage=answer.coverage, detail=detail)
        return answer

    def _left(self, entity: EntityId, window: Window) -> pl.DataFrame:
        """(severity, ts, count) of the lines that were counted in a part of the time and not read whole."""
        counts = self._counts.filter(
            pl.col("entity") == entity,
            pl.col("ts").is_between(window.start, window.end, closed="left"),
        )
        whole = [sample.lines for sample in self._samples if sample.whole and sample.window == window]
        read = pl.concat([pl.DataFrame(schema=LINES), *whole]).filter(pl.col("entity") == entity)
        told = not set(read["severity"].unique()).isdisjoint(counts["severity"].unique())
        within = pl.col("severity") if told else pl.lit("")
        apart = read.group_by(within.alias("within")).agg(read=pl.len())
        return (
            counts.with_columns(within=within)
            .join(apart, on="within", how="left", maintain_order="left")
            .with_columns(share=pl.col("read").fill_null(0) / pl.col("count").sum().over("within"))
            .select("severity", "ts", count=pl.col("count") * (1 - pl.col("share")).clip(0, 1))
            .filter(pl.col("count") > LEAST_COUNT)
        )

    def _spread(self, probe: LogProbe, sample: Sample, found: pl.DataFrame) -> pl.DataFrame:
        counts = self._left(probe.entity, sample.window)
        if counts.is_empty():
            return found
        told = not set(found["severity"].unique()).isdisjoint(counts["severity"].unique())
        within = (pl.col("severity") if told else pl.lit("")).alias("within")
        totals = counts.group_by(within, "ts").agg(total=pl.col("count").sum())
        shares = (
            found.group_by("severity", "template")
            .agg(pl.col("count").sum(), pl.col("example").first())
            .with_columns(within)
            .with_columns(share=pl.col("count") / pl.col("count").sum().over("within"))
        )
        return (
            shares.drop("count")
            .join(totals, on="within")
            .with_columns(count=(pl.col("share") * pl.col("total")).round().cast(pl.Int64))
            .filter(pl.col("count") > 0)
            .with_columns(after=pl.lit(None, pl.String))
            .select(list(COLUMNS["logs"]))
        )

    def _uncounted(self, entity: EntityId, sample: Sample) -> pl.DataFrame:
        """Lines that were counted and none of which was in the sample: how many there were is known, and no more."""
        return (
            self._left(entity, sample.window)
            .select(
                "severity",
                template=pl.lit("<*>"),
                ts="ts",
                count=pl.col("count").round().cast(pl.Int64),
                example=pl.lit(""),
                after=pl.lit(None, pl.String),
            )
            .filter(pl.col("count") > 0)
        )
