"""Everything the analyses may look at: the answers of one investigation, decoded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from activities.analysis.graph import Graph
from activities.answers import COLUMNS, TIMESTAMP
from workflows.contracts.alert import Alert
from workflows.contracts.finding import EvidenceRef
from workflows.contracts.identifiers import Digest, EntityId, ProbeKey
from workflows.contracts.probe import Modality, Probe, Tool, Window, entity_of

Matrix = NDArray[np.float64]
Numbers = NDArray[np.int64]

TELEMETRY: frozenset[Modality] = frozenset(("metrics", "logs", "traces"))
"""Modalities with a course in time, in which before and after can be compared."""


@dataclass(frozen=True, kw_only=True)
class AnsweredProbe:
    """One answer with rows."""

    probe: Probe
    artifact: Digest
    rows: pl.DataFrame
    since: datetime | None = None
    """The begin of what was looked at, where it is known."""

    @property
    def ref(self) -> EvidenceRef:
        """Where the answer can be looked up."""
        return EvidenceRef(probe_key=self.probe.key, artifact=self.artifact)


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """Rows by the number of what they are about, so that what is compared again and again are numbers and not texts."""

    names: pl.DataFrame
    """(number, *keys, *firsts, entity, probe), by entity and keys; the numbers are those of the rows, from 0 on."""

    number: NDArray[np.int32]
    """Of each row, ascending."""

    at: Numbers
    """Microseconds since 1970; ascending within a number."""

    values: Mapping[str, Matrix]
    """Whole numbers, as they are summed."""

    def keeping(self, *values: str) -> "Numbered":
        """The same with fewer columns."""
        return replace(self, values={name: self.values[name] for name in values})

    def rows(self, numbers: Iterable[int]) -> pl.DataFrame:
        """(number, ts, *values) of these numbers, in their order."""
        wanted = np.array(list(numbers), dtype=self.number.dtype)
        begins, ends = np.searchsorted(self.number, wanted), np.searchsorted(self.number, wanted, side="right")
        places = [np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)]
        taken = np.concatenate([np.empty(0, dtype=np.int64), *places])
        values = {name: column[taken].astype(np.int64) for name, column in self.values.items()}
        return pl.DataFrame({"number": self.number[taken], "ts": self.at[taken], **values}).with_columns(
            pl.col("ts").cast(TIMESTAMP)
        )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The answers, the topology among them, and the alerts they are about."""

    alerts: tuple[Alert, ...]
    as_of: datetime
    answers: tuple[AnsweredProbe, ...]
    graph: Graph

    @property
    def alert_at(self) -> datetime:
        """When the first symptom fired; never after the moment the queries are run."""
        return min([alert.starts_at for alert in self.alerts] + [self.as_of])

    @property
    def alerting(self) -> frozenset[EntityId]:
        """What the alerts are about, when they say so."""
        return frozenset(alert.entity for alert in self.alerts if alert.entity is not None)

    def of(self, tool: Tool) -> list[AnsweredProbe]:
        """Answers of one tool, by entity."""
        return self._by_tool.get(tool, [])

    @cached_property
    def _by_tool(self) -> Mapping[Tool, list[AnsweredProbe]]:
        found: dict[Tool, list[AnsweredProbe]] = {}
        for item in sorted(self.answers, key=lambda item: (entity_of(item.probe) or "", item.probe.key)):
            found.setdefault(item.probe.tool, []).append(item)
        return found

    def numbered(self, tool: Modality, keys: list[str], values: list[str], firsts: tuple[str, ...] = ()) -> Numbered:
        """All rows about entities of one modality, by the number of what they are about: an entity and `keys`.

        A column that answers of an earlier version lack is null.

        Args:
            tool: the modality.
            keys: columns that say what a row is about.
            values: columns of whole numbers.
            firsts: columns of which one value per number is enough.
        """
        schema, answers = COLUMNS[tool], [item for item in self.of(tool) if item.rows.height]
        size = sum(item.rows.height for item in answers)
        number, at = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int64)
        columns = {value: np.empty(size) for value in values}
        named: list[pl.DataFrame] = []
        begin = known = 0
        for item in answers:
            rows = item.rows.with_columns(
                pl.lit(None, schema[key]).alias(key) for key in (*keys, *firsts) if key not in item.rows.columns
            )
            names = rows.group_by(keys).agg(pl.col(firsts).first()).sort(keys).with_row_index("number", offset=known)
            mine = rows.join(names, on=keys, nulls_equal=True, maintain_order="left")["number"].to_numpy()
            moments = rows["ts"].to_physical().to_numpy()
            order, end = np.lexsort((moments, mine)), begin + rows.height
            number[begin:end], at[begin:end] = mine[order], moments[order]
            for value, column in columns.items():
                column[begin:end] = rows[value].to_numpy()[order]
            texts = pl.col(pl.Categorical).cast(pl.String)
            named.append(names.with_columns(texts, entity=pl.lit(entity_of(item.probe)), probe=pl.lit(item.probe.key)))
            begin, known = end, known + names.height
        empty = {"number": pl.UInt32(), **{key: schema[key] for key in (*keys, *firsts)}}
        empty |= {"entity": pl.String(), "probe": pl.String()}
        return Numbered(names=pl.concat([pl.DataFrame(schema=empty), *named]), number=number, at=at, values=columns)

    def frames(self) -> Mapping[ProbeKey, pl.DataFrame]:
        """Rows by probe, for verification."""
        return {item.probe.key: item.rows for item in self.answers}

    @cached_property
    def window(self) -> Window:
        """From the earliest metric, line or span to the moment of the query."""
        earliest = [
            moment
            for item in self.answers
            if item.probe.tool in TELEMETRY
            and item.rows.height
            and isinstance(moment := item.rows["ts"].min(), datetime)
        ]
        return Window(start=min([*earliest, self.alert_at]), end=self.as_of)

    def since(self, tool: Modality) -> datetime:
        """From when on answers of a modality say what there was; before it they are silent, and nothing follows."""
        known = [item.since for item in self.of(tool) if item.since is not None]
        return max([self.window.start, *([min(known)] if known else [])])

    def recorded(self, start: datetime, end: datetime) -> bool:
        """Whether any metric, line or span lies in [start, end)."""
        return any(
            bool(item.rows["ts"].is_between(start, end, closed="left").any())
            for item in self.answers
            if item.probe.tool in TELEMETRY and item.rows.height
        )

    def post_window(self, change_point: datetime) -> Window:
        """What is compared: from `change_point` to the moment of the query."""
        return Window(start=change_point, end=self.as_of)

    def pre_window(self, change_point: datetime) -> Window:
        """What it is compared with."""
        return Window(start=min(self.window.start, change_point - timedelta(seconds=1)), end=change_point)
