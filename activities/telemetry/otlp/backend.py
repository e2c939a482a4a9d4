"""Answers trace probes from files of OTLP/JSON."""

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import polars as pl
import zstandard

from activities.telemetry.backend import Answers, Spent, answered, by_tool
from activities.telemetry.documents import json_in
from activities.telemetry.entities import Labels, inventory_rows
from activities.telemetry.exceptions import SourceRefusedError
from activities.telemetry.otlp.config import OtlpConfig
from activities.telemetry.otlp_spans import spans_in
from activities.telemetry.registry import Opening
from activities.telemetry.spans import SPANS, Sample, SpanReduction, no_spans
from activities.telemetry.trace_search import READ_BACK, Span, labels_of, peer_of, row_of
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import InventoryProbe, Probe, TraceProbe, Window

LONGEST_LINE = 32 * 1024 * 1024
MOST_BYTES = 4 * 1024**3
"""Of all files together, unpacked; the latest come first."""


class OtlpBackend:
    """The files, open for one attempt at one step."""

    def __init__(self, opening: Opening) -> None:
        assert isinstance(opening.config, OtlpConfig)
        self._config = opening.config
        self._resolver = opening.resolver
        self._problems: list[str] = []
        self._given_up = False
        self._room = MOST_BYTES
        if not self._config.folder.is_dir():
            raise SourceRefusedError(
                ObservationStatus.NOT_FOUND,
                f"{self._config.name}: there is no folder {self._config.folder}: see folder",
            )

    @property
    def spent(self) -> Spent:
        """Nothing of anybody else's."""
        return Spent()

    def together(self, probes: Sequence[Probe]) -> list[list[Probe]]:
        """All probes of a tool together: they share what is read."""
        return by_tool(probes)

    def interrupt(self) -> None:
        """Read no further."""
        self._given_up = True

    def close(self) -> None:
        """Nothing is held open."""

    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """Who left spans in the last hour, and the databases and queues that they called."""
        for probe in probes:
            known: dict[str, tuple[Labels, str, Labels]] = {}
            for _, span in self._spans(_lately(probe.window)):
                labels, peer = labels_of(span), peer_of(span)
                known.setdefault(repr(labels), (labels, "", {}))
                if peer:
                    known.setdefault(repr((labels, peer)), (labels, "calls", peer))
            table = inventory_rows(list(known.values()))
            yield probe, answered(table.head(probe.max_rows), probe.window, total=table.height)

    def traces(self, probes: Sequence[TraceProbe]) -> Answers:
        """Spans of all entities."""
        start, end = min(probe.window.start for probe in probes), max(probe.window.end for probe in probes)
        spans, window = self._table(_lately(Window(start=start, end=end)))
        if spans.is_empty() and not self._problems:
            for probe in probes:
                yield probe, no_spans(window)
            return
        reduction = SpanReduction([Sample(window=window, spans=spans, whole=True)], window)
        try:
            for probe in probes:
                yield probe, reduction.answer(probe, self._problems)
        finally:
            reduction.close()

    def _table(self, window: Window) -> tuple[pl.DataFrame, Window]:
        """The latest spans, and the time in which these are all there were."""
        most, resolver = self._config.most_spans, self._resolver()
        rows: list[tuple[object, ...]] = []
        for trace_id, span in self._spans(window):
            row = row_of(trace_id, span, resolver)
            if row is not None:
                rows.append(row)
            if len(rows) >= 2 * most:
                rows = _latest(rows, most)
                window = Window(start=_begin(rows[0]), end=window.end)
                self._note(f"only the latest {most:,} spans or more were read (most_spans)")
        inside = [row for row in rows if _begin(row) >= window.start]
        return pl.DataFrame(inside, schema=SPANS, orient="row"), window

    def _spans(self, window: Window) -> Iterator[tuple[str, Span]]:
        begin, end = window.start.timestamp() * 1e6, window.end.timestamp() * 1e6
        damaged = 0
        for path in self._files(window):
            for line in self._lines(path):
                if self._given_up:
                    self._note("given up: the time for queries was over")
                    return
                if line.isspace():
                    continue
                try:
                    document = json_in(line)
                    found = list(spans_in(document)) if isinstance(document, dict) else []
                except (ValueError, RecursionError):
                    damaged += 1  # the last line of a file may just be written
                    continue
                for trace_id, span in found:
                    if begin <= span.start_us < end:
                        yield trace_id, span
        if damaged > 1:
            self._note(f"{damaged:,} lines are no JSON")

    def _files(self, window: Window) -> list[Path]:
        """Those that were written to since the window began, the latest first."""
        found = []
        for path in self._config.folder.glob(self._config.pattern):
            try:
                status = path.stat()
            except OSError:
                continue  # rotated away
            if path.is_file() and status.st_mtime >= window.start.timestamp():
                found.append((status.st_mtime, path))
        return [path for _, path in sorted(found, reverse=True)]

    def _lines(self, path: Path) -> Iterator[bytes]:
        try:
            with _opened(path) as file:
                while line := file.readline(LONGEST_LINE):
                    self._room -= len(line)
                    if self._room < 0:
                        self._note(f"more than {MOST_BYTES // 1024**3} GB would have to be read")
                        return
                    yield line
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            self._note(f"{path.name} cannot be read ({type(error).__name__})")

    def _note(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)


def _latest(rows: list[tuple[object, ...]], count: int) -> list[tuple[object, ...]]:
    return sorted(rows, key=_begin)[-count:]


def _begin(row: tuple[object, ...]) -> datetime:
    assert isinstance(row[0], datetime)
    return row[0]


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.GzipFile(path, "rb"))
    if path.suffix == ".zst":
        file = path.open("rb")
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, closefd=True))
    return path.open("rb")


def _lately(window: Window) -> Window:
    return Window(start=max(window.start, window.end - READ_BACK), end=window.end)


def check(opening: Opening) -> list[str]:
    """How many files there are, and of when the latest is."""
    backend = OtlpBackend(opening)
    now = datetime.now(UTC)
    files = backend._files(Window(start=now - READ_BACK, end=now + timedelta(seconds=1)))
    return [f"{len(files)} files of the last hour" if files else "no file was written in the last hour: see pattern"]
