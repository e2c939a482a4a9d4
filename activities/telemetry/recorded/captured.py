"""Answers a captured investigation got, given again to the same queries."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import zstandard
from polars.exceptions import PolarsError
from pydantic import ValidationError
from zstandard import ZstdError

from activities.answers import decode
from activities.telemetry.backend import Answer, Answers, Spent, one_by_one
from activities.telemetry.exceptions import BundleError
from activities.telemetry.recorded.bundle import Bundle
from workflows.contracts.observation import Observation, ObservationStatus
from workflows.contracts.probe import (
    MEMORY_TOOLS,
    PROBE,
    ChangeProbe,
    ClusterProbe,
    InventoryProbe,
    LogProbe,
    MetricProbe,
    Probe,
    TopologyProbe,
    TraceProbe,
)

ANSWERS = pl.Schema({"probe_key": pl.String(), "probe": pl.String(), "observation": pl.String(), "answer": pl.Binary()})
"""One row a query: its key and body, the observation, and the answer's bytes (zstd), null without any."""

LARGEST_ANSWER = 512 * 1024 * 1024
NEVER_RUN = "the captured investigation did not run this query"


class CapturedBackend:
    """Gives each query the answer it got when the incident was live; a new query was not recorded."""

    def __init__(self, bundle: Bundle) -> None:
        recorded = bundle.manifest.answers
        assert recorded is not None
        self._path = bundle.path(recorded)
        try:
            table = pl.read_parquet(self._path)
        except (PolarsError, OSError) as error:
            raise self._damaged(str(error)) from error
        if dict(table.schema) != dict(ANSWERS):
            raise self._damaged("its columns are not those of captured answers")
        self._probes = table["probe"].to_list()
        self._rows = {str(key): (str(body), answer) for key, _, body, answer in table.iter_rows()}

    def check(self) -> None:
        """Every answer can be read.

        Raises:
            BundleError: one cannot.
        """
        for body, content in self._rows.values():
            self._answer(body, content)

    def probes(self) -> list[Probe]:
        """Every query that was run.

        Raises:
            BundleError: one cannot be read.
        """
        try:
            return [PROBE.validate_json(text) for text in self._probes]
        except ValidationError as error:
            raise self._damaged("a query cannot be read") from error

    def recalled(self) -> list[tuple[Probe, Answer]]:
        """What it recalled of the organisation's memory.

        Raises:
            BundleError: an answer cannot be read.
        """
        return list(self._again([probe for probe in self.probes() if probe.tool in MEMORY_TOOLS]))

    @property
    def spent(self) -> Spent:
        """Nothing of anybody else's."""
        return Spent()

    def together(self, probes: Sequence[Probe]) -> list[list[Probe]]:
        """Each by itself."""
        return one_by_one(probes)

    def metrics(self, probes: Sequence[MetricProbe]) -> Answers:
        """As they were answered."""
        return self._again(probes)

    def logs(self, probes: Sequence[LogProbe]) -> Answers:
        """As they were answered."""
        return self._again(probes)

    def traces(self, probes: Sequence[TraceProbe]) -> Answers:
        """As they were answered."""
        return self._again(probes)

    def changes(self, probes: Sequence[ChangeProbe]) -> Answers:
        """As they were answered."""
        return self._again(probes)

    def cluster(self, probes: Sequence[ClusterProbe]) -> Answers:
        """As they were answered."""
        return self._again(probes)

    def topology(self, probes: Sequence[TopologyProbe]) -> Answers:
        """As they were answered."""
        return self._again(probes)

    def inventory(self, probes: Sequence[InventoryProbe]) -> Answers:
        """As they were answered."""
        return self._again(probes)

    def interrupt(self) -> None:
        """Nothing here takes long."""

    def close(self) -> None:
        """Nothing is held open."""

    def _again(self, probes: Sequence[Probe]) -> Answers:
        for probe in probes:
            found = self._rows.get(probe.key)
            if found is None:
                yield probe, Answer(status=ObservationStatus.NOT_RECORDED, detail=NEVER_RUN)
            else:
                yield probe, self._answer(*found)

    def _answer(self, body: str, content: bytes | None) -> Answer:
        try:
            observation = Observation.model_validate_json(body)
            rows = None
            if content is not None:
                rows = decode(zstandard.ZstdDecompressor().decompress(content, max_output_size=LARGEST_ANSWER))
        except (ValidationError, ZstdError, PolarsError, OSError, ValueError) as error:
            raise self._damaged(f"an answer cannot be read ({error})".splitlines()[0]) from error
        return Answer(status=observation.status, rows=rows, coverage=observation.coverage, detail=observation.detail)

    def _damaged(self, problem: str) -> BundleError:
        return BundleError(Path(self._path), problem, "Capture the investigation again.")
