"""Made-up incidents as a suite: `simulated`, `simulated:SEED`, `simulated:SEED:COUNT`."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from evals.bundles import Truth, write_bundle
from evals.readers import CorpusError
from evals.simulator.incident import Incident, draw_incident

SIMULATED = "simulated"
SEED, COUNT = 1, 100
_NAME = re.compile(rf"{SIMULATED}(?::(?P<seed>\d{{1,9}}))?(?::(?P<count>\d{{1,5}}))?")

incident = lru_cache(maxsize=4)(draw_incident)


@dataclass(frozen=True)
class SimulatedSuite:
    """So many incidents of a seed."""

    seed: int
    count: int

    @classmethod
    def named(cls, name: str) -> "SimulatedSuite":
        """The suite that is called so.

        Raises:
            CorpusError: nothing is.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise CorpusError(Path(name), f"is no seed: write {SIMULATED}, {SIMULATED}:SEED or {SIMULATED}:SEED:COUNT")
        return cls(int(found["seed"] or SEED), int(found["count"] or COUNT))

    def names(self) -> list[str]:
        """Numbers."""
        return [f"{number:05d}" for number in range(self.count)]

    def system(self, name: str) -> str:
        """The class of instrumentation: by it results are told apart."""
        return self._incident(name).how.label

    def bundle(self, name: str, scratch: Path) -> Path:
        """Drawn and written."""
        recording = self._incident(name).recording
        folder = scratch / recording.bundle_id
        write_bundle(recording, folder)
        return folder

    def truth(self, name: str) -> Truth:
        """What was drawn."""
        return self._incident(name).truth

    def _incident(self, name: str) -> Incident:
        return incident(self.seed, int(name))
