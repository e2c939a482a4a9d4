"""Answers change probes from what was announced at the gateway; every environment has this source."""

from collections.abc import Callable, Sequence

from activities.memory.announced import AnnouncedChanges
from activities.telemetry.backend import Answers, Spent, answered, one_by_one
from activities.telemetry.changes import change_rows
from activities.telemetry.entities import Resolver
from workflows.contracts.probe import ChangeProbe, Probe


class AnnouncedBackend:
    """The announced changes of one environment."""

    def __init__(self, announced: AnnouncedChanges, environment: str, resolver: Callable[[], Resolver]) -> None:
        self._announced = announced
        self._environment = environment
        self._resolver = resolver

    @property
    def spent(self) -> Spent:
        """Nothing of anybody else's."""
        return Spent()

    def together(self, probes: Sequence[Probe]) -> list[list[Probe]]:
        """Each by itself."""
        return one_by_one(probes)

    def changes(self, probes: Sequence[ChangeProbe]) -> Answers:
        """What was announced for the window."""
        for probe in probes:
            found = self._announced.within(probe.window, environment=self._environment, limit=probe.max_rows + 1)
            rows = change_rows(found[: probe.max_rows], self._resolver())
            yield probe, answered(rows, probe.window, total=len(found))

    def interrupt(self) -> None:
        """Nothing here takes long."""

    def close(self) -> None:
        """Nothing is held open."""
