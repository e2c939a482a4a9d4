"""Warnings: what happened to objects. The state of an object now counts before what happened to it once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from activities.telemetry.kubernetes.facts import latest
from activities.telemetry.kubernetes.reader import ClusterReader
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.probe import Window

LONGEST_MESSAGE = 4_096
REPAIRED = frozenset(("ClusterIPNotAllocated", "PortNotAllocated"))
"""Warnings of the API server about what it repairs, as they say themselves ("is not allocated; repairing"): its
allocators' repair loops (`ipallocator` and `portallocator` controllers of Kubernetes) meet services just made."""


class State(Protocol):
    """The present state of an object."""

    @property
    def uid(self) -> str:
        """Of the object that has the name now."""

    @property
    def since(self) -> datetime | None:
        """Since when it is as it is."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it now."""


@dataclass(frozen=True)
class EventRows:
    """What one event says."""

    kind: str
    namespace: str
    name: str
    conditions: tuple[ClusterCondition, ...]


def event_rows(
    reader: ClusterReader, window: Window, state_of: Callable[[str, str, str], State | None]
) -> Iterator[EventRows]:
    """Warnings of the window about objects that still exist, matched by kind, name and uid.

    Of an object that is well now, a warning is followed by the statement that it is: then it is history.
    """
    for event in reader.each("Event"):
        about, at = event.involved_object, _moment(event)
        if about is None or at is None or not about.name or not window.start <= at < window.end:
            continue
        if event.reason in REPAIRED:
            continue
        kind, namespace, name = about.kind or "", about.namespace or "", about.name
        state = state_of(kind, namespace, name)
        if state is None and kind in _READ:
            continue  # it is gone, and so is what was wrong with it
        if state is not None and about.uid and state.uid and about.uid != state.uid:
            continue  # it was about an earlier object of that name
        type_ = f"Warning {event.reason or ''}".strip()
        base = ClusterCondition(
            at=at.astimezone(UTC),
            object_kind=kind or "Object",
            object_name=f"{namespace}/{name}" if namespace else name,
            type=type_,
            healthy=False,
            reason=(event.reason or "Warning")[:256],
            message=(event.message or "")[:LONGEST_MESSAGE],
            count=max(1, _count(event)),
        )
        rows = [base]
        if state is not None and state.healthy:
            well = latest(state.since, at)
            assert well is not None
            rows.append(
                base.model_copy(
                    update={"at": well.astimezone(UTC), "healthy": True, "reason": "Recovered", "message": ""}
                )
            )
        yield EventRows(kind, namespace, name, tuple(rows))


_READ = frozenset(("Pod", "Node", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "PersistentVolumeClaim"))


def _moment(event: Any) -> datetime | None:
    series = event.series.last_observed_time if event.series is not None else None
    found = latest(event.last_timestamp, event.event_time, series, event.first_timestamp)
    return found or event.metadata.creation_timestamp


def _count(event: Any) -> int:
    series = event.series.count if event.series is not None else None
    return max(event.count or 0, series or 0)
