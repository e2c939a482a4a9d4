"""Answers log probes from a Loki: counted on the server, read as a sample that keeps rare lines."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from activities.telemetry.backend import Answers, answered
from activities.telemetry.entities import IDENTITY_LABELS, Labels, Resolver, inventory_rows
from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import HttpBackend
from activities.telemetry.lines import COUNTS, LINES, LineReduction, Sample
from activities.telemetry.log_lines import level, line_of
from activities.telemetry.loki.api import Entry, LokiApi
from activities.telemetry.loki.config import LokiConfig
from activities.telemetry.registry import Opening
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import InventoryProbe, LogProbe, Window

READ_BACK = timedelta(hours=1)
"""Lines are read this far back; what is older is left to metrics."""

SLICES = tuple(timedelta(minutes=value) for value in (0, 2, 4, 8, 15, 30, 60))
"""Bounds of the parts of the time that are read apart, back from the moment of the query: the latest closest."""

COUNTED = timedelta(seconds=10)
COARSELY_COUNTED = timedelta(minutes=1)
MOST_QUERIES = 36
"""Of lines and counts in one investigation."""

_LEVELS = ("level", "detected_level", "severity", "severity_text")
_SEVERE = re.compile(r"(?i)(err|warn|crit|fatal|alert|emerg|panic|exception)")
"""What severe lines hold somewhere, by their level or their text; it only decides what is read whole."""


class LokiBackend(HttpBackend):
    """One Loki, open for one attempt at one step."""

    def __init__(self, opening: Opening) -> None:
        assert isinstance(opening.config, LokiConfig)
        self._config = opening.config
        self._resolver = opening.resolver
        super().__init__(opening.config)
        self._api = LokiApi(self._client, opening.config.organisation)

    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """The label sets of streams that had lines lately."""
        for probe in probes:
            window = Window(start=probe.window.end - 6 * READ_BACK, end=probe.window.end)
            rows: list[tuple[Labels, str, Labels]] = [
                (_about(labels), "", {}) for labels in self._api.streams(self._config.selector, window)
            ]
            table = inventory_rows([row for row in rows if row[0]])
            yield probe, answered(table.head(probe.max_rows), probe.window, total=table.height)

    def logs(self, probes: Sequence[LogProbe]) -> Answers:
        """Lines of all entities, read together."""
        end = max(probe.window.end for probe in probes)
        window = Window(start=max(min(probe.window.start for probe in probes), end - READ_BACK), end=end)
        reading = _Reading(self._api, self._config, self._resolver(), {probe.entity for probe in probes})
        samples, counts = reading.read(window)
        reduction = LineReduction(samples, counts)
        try:
            for probe in probes:
                yield probe, reduction.answer(probe, window, reading.problems)
        finally:
            reduction.close()


class _Reading:
    """All that one investigation reads."""

    def __init__(self, api: LokiApi, config: LokiConfig, resolver: Resolver, wanted: set[EntityId]) -> None:
        self._api = api
        self._config = config
        self._resolver = resolver
        self._wanted = wanted
        self._queries = 0
        self.problems: list[str] = []

    def read(self, window: Window) -> tuple[list[Sample], pl.DataFrame]:
        """Samples of every part of the window, and the counts of those that are not whole.

        Raises:
            QueryError: nothing at all could be read.
        """
        samples: list[Sample] = []
        failed: QueryError | None = None
        for part in _parts(window):
            try:
                samples += self._part(part)
            except QueryError as error:
                failed = failed or error
                self.problems.append(f"{part.start:%H:%M} to {part.end:%H:%M}: {error.detail}")
        if not samples and failed is not None:
            raise failed
        return samples, self._counts([sample for sample in samples if not sample.whole])

    def _part(self, part: Window) -> Iterator[Sample]:
        """All lines of a part; where they are too many, the severe ones and a sample of the others."""
        selected = f"{{{self._config.selector}}}"
        limit = self._config.most_lines
        lines = self._lines(selected, part)
        if len(lines) < limit:
            yield self._sample(part, lines, whole=True)
            return
        severe = self._lines(f"{selected} |~ `{_SEVERE.pattern}`", part)
        if len(severe) < limit:
            yield self._sample(part, severe, whole=True)
            lines = [entry for entry in lines if not _SEVERE.search(entry.line)]
        else:
            lines = [*lines, *severe]
        yield self._sample(part, lines, whole=False)

    def _lines(self, query: str, part: Window) -> list[Entry]:
        self._queries += 1
        if self._queries > MOST_QUERIES:
            raise QueryError(ObservationStatus.TRUNCATED, f"more than {MOST_QUERIES} queries would be needed")
        return self._api.lines(query, part, self._config.most_lines)

    def _sample(self, part: Window, entries: Sequence[Entry], *, whole: bool) -> Sample:
        rows = {}
        for number, entry in enumerate(entries):
            entity = self._resolver.entity(_about(entry.labels))
            if entity is None or entity not in self._wanted:
                continue
            line = line_of(entry.line, entry.labels)
            ts = datetime.fromtimestamp(entry.at_ns // 1_000 / 1e6, UTC)
            key = number if whole else (entry.at_ns, entity, entry.line)
            rows[key] = (ts, entity, line.severity, line.message, line.trace_id, line.span_id)
        return Sample(window=part, lines=pl.DataFrame(list(rows.values()), schema=LINES, orient="row"), whole=whole)

    def _counts(self, samples: Sequence[Sample]) -> pl.DataFrame:
        by = ", ".join((*IDENTITY_LABELS, *_LEVELS))
        rows: dict[tuple[str, str, datetime], float] = {}
        for sample in samples:
            step = COUNTED if sample.window.length <= timedelta(minutes=10) else COARSELY_COUNTED
            seconds = f"{step.total_seconds():g}s"
            query = f"sum by ({by}) (count_over_time({{{self._config.selector}}}[{seconds}]))"
            try:
                # Each value counts the step before its moment.
                shifted = Window(start=sample.window.start + step, end=sample.window.end)
                found = self._api.counts(query, shifted, step)
            except QueryError as error:
                self.problems.append(f"lines could not be counted: {error.detail}")
                continue
            for labels, values in found:
                entity = self._resolver.entity(_about(labels))
                severity = level(next((labels[name] for name in _LEVELS if labels.get(name)), ""))
                for at, value in values if entity in self._wanted else ():
                    end = datetime.fromtimestamp(at, UTC)
                    inside = min(end, sample.window.end) - max(end - step, sample.window.start)
                    if inside > timedelta(0):
                        key = (str(entity), severity, max(end - step, sample.window.start))
                        rows[key] = rows.get(key, 0.0) + value * (inside / step)
        return pl.DataFrame([(*key, value) for key, value in sorted(rows.items())], schema=COUNTS, orient="row")


def latest() -> Window:
    """The last hour."""
    now = datetime.now(UTC)
    return Window(start=now - READ_BACK, end=now)


def _parts(window: Window) -> list[Window]:
    bounds = [window.end - span for span in SLICES if window.end - span > window.start]
    ends = [*bounds, window.start]
    return [Window(start=start, end=end) for end, start in itertools.pairwise(ends)]


def _about(labels: Labels) -> Mapping[str, str]:
    """The labels that say who wrote a line, without those that say what kind of line it is."""
    return {key: value for key, value in labels.items() if key in _IDENTITY}


_IDENTITY = frozenset(IDENTITY_LABELS)
