"""Everything the analyses may look at: the answers of one investigation, decoded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from activities.analysis.graph import Graph
from activities.answers import COLUMNS
from workflows.contracts.alert import Alert
from workflows.contracts.finding import EvidenceRef
from workflows.contracts.identifiers import Digest, EntityId, ProbeKey
from workflows.contracts.probe import Modality, Probe, Window, entity_of

TELEMETRY: frozenset[Modality] = frozenset(("metrics", "logs", "traces"))
"""Modalities with a course in time, in which before and after can be compared."""


@dataclass(frozen=True, kw_only=True)
class AnsweredProbe:
    """One answer with rows."""

    probe: Probe
    artifact: Digest
    rows: pl.DataFrame

    @property
    def ref(self) -> EvidenceRef:
        """Where the answer can be looked up."""
        return EvidenceRef(probe_key=self.probe.key, artifact=self.artifact)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The answers, the topology among them, and the alerts they are about."""

    alerts: tuple[Alert, ...]
    as_of: datetime
    answers: tuple[AnsweredProbe, ...]
    graph: Graph

    @property
    def alert_at(self) -> datetime:
        """When the first symptom fired; never after the moment the question is asked."""
        return min([alert.starts_at for alert in self.alerts] + [self.as_of])

    @property
    def alerting(self) -> frozenset[EntityId]:
        """What the alerts are about, when they say so."""
        return frozenset(alert.entity for alert in self.alerts if alert.entity is not None)

    def of(self, tool: Modality) -> list[AnsweredProbe]:
        """Answers of one modality, by entity."""
        found = [item for item in self.answers if item.probe.tool == tool]
        return sorted(found, key=lambda item: (entity_of(item.probe) or "", item.probe.key))

    def rows(self, tool: Modality) -> pl.DataFrame:
        """All rows about entities of one modality, each with its `entity` and its `probe`; empty where none are."""
        empty = COLUMNS[tool].to_frame().with_columns(entity=pl.lit("", pl.String), probe=pl.lit("", pl.String))
        told = [
            item.rows.with_columns(entity=pl.lit(entity_of(item.probe)), probe=pl.lit(item.probe.key))
            for item in self.of(tool)
            if item.rows.height
        ]
        return pl.concat([empty.clear(), *told], how="diagonal")

    def frames(self) -> Mapping[ProbeKey, pl.DataFrame]:
        """Rows by probe, for verification."""
        return {item.probe.key: item.rows for item in self.answers}

    def window(self) -> Window:
        """From the earliest metric, line or span to the moment of the question."""
        earliest = [
            moment
            for item in self.answers
            if item.probe.tool in TELEMETRY
            and item.rows.height
            and isinstance(moment := item.rows["ts"].min(), datetime)
        ]
        return Window(start=min([*earliest, self.alert_at]), end=self.as_of)

    def recorded(self, start: datetime, end: datetime) -> bool:
        """Whether any metric, line or span lies in [start, end)."""
        return any(
            bool(item.rows["ts"].is_between(start, end, closed="left").any())
            for item in self.answers
            if item.probe.tool in TELEMETRY and item.rows.height
        )

    def after(self, split: datetime) -> Window:
        """What is compared: from `split` to the moment of the question."""
        return Window(start=split, end=self.as_of)

    def before(self, split: datetime) -> Window:
        """What it is compared with."""
        return Window(start=min(self.window().start, split - timedelta(seconds=1)), end=split)
