"""What a trace mechanism is: a module of this folder that compares spans across change points.

It is found because it is here; adding one touches no other file.
"""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar

from activities.analysis.change_points import Averages, ChangePoint
from activities.analysis.evidence import Evidence
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.parameters import Parameters
from activities.analysis.traces.spans import Spans, TraceSums
from workflows.contracts.finding import Finding
from workflows.contracts.identifiers import EntityId

Detail = TypeVar("Detail")


class TraceMechanism(ABC, Generic[Detail]):
    """Collects one kind of sign over the change points, and makes its findings at the end.

    `Detail` is what it knows of the example that a finding shows.
    """

    registered: ClassVar[list["type[TraceMechanism[Any]]"]] = []

    def __init_subclass__(cls) -> None:
        """Every subclass is a mechanism."""
        TraceMechanism.registered.append(cls)

    def __init__(self, spans: Spans, evidence: Evidence, parameters: Parameters, factory: FindingFactory) -> None:
        """Work on one investigation's spans."""
        self.spans = spans
        self.evidence = evidence
        self.parameters = parameters
        self.factory = factory
        self.averages: Averages[EntityId, Detail] = Averages(parameters)

    @abstractmethod
    def compare(self, change_point: ChangePoint, sums: TraceSums) -> None:
        """Add the strength of each entity's sign at one candidate onset to `averages`."""

    @abstractmethod
    def finding(self, entity: EntityId, strength: float, change_point: ChangePoint, detail: Detail) -> Finding | None:
        """The finding about an entity, with its mean strength and its example; None when the rows do not show it."""

    def findings(self, change_points: Sequence[ChangePoint]) -> Iterable[Finding]:
        """At most one finding per entity."""
        for item in self.averages.over(change_points, least=self.parameters.least_strength):
            found = self.finding(item.key, item.strength, item.change_point, item.detail)
            if found is not None:
                yield found


def mechanisms() -> list["type[TraceMechanism[Any]]"]:
    """Every mechanism of this folder, by name."""
    package = import_module("activities.analysis.traces")
    for module in pkgutil.iter_modules(package.__path__, "activities.analysis.traces."):
        import_module(module.name)
    return sorted(TraceMechanism.registered, key=lambda cls: cls.__name__)
