"""What a rule is: it looks at one object and states what is wrong with it now."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from activities.telemetry.kubernetes.facts import Facts
from activities.telemetry.kubernetes.reader import ClusterReader


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A condition of an object, before it is known which entity the object belongs to."""

    reason: str
    message: str = ""
    at: datetime | None = None
    """Since when; None: the object does not say, and its creation is taken."""

    type: str = "Condition"
    healthy: bool = False
    count: int = 1
    about_node: str = ""
    """The node that this is really about."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What rules may look at beside the object."""

    facts: Facts
    reader: ClusterReader
    now: datetime

    def knows(self, *kinds: str) -> bool:
        """Whether all of these kinds could be read: what cannot be read is not missing."""
        return all(self.reader.knows(kind) for kind in kinds)


Rule = Callable[[Any, Cluster], Iterable[Stated]]
RULES: dict[str, list[Rule]] = {}


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register a rule for objects of these kinds."""

    def register(function: Rule) -> Rule:
        for kind in kinds:
            RULES.setdefault(kind, []).append(function)
        return function

    return register


def states_of(kind: str, item: Any, cluster: Cluster) -> Iterator[Stated]:
    """What all rules of a kind say of an object."""
    import activities.telemetry.kubernetes.conditions  # noqa: F401, PLC0415 - they register themselves

    for function in RULES.get(kind, ()):
        yield from function(item, cluster)
