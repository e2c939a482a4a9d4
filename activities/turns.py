"""Who computes next in this process: the more urgent first, of equally urgent what is nearer to its end."""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_EVERY_S = 0.5
Urgency = tuple[int, int, str]
"""Priority, steps that are left, and a name that says who came first; the lowest comes first."""

CRITICAL = 2
"""The last priority that has a place of its own when the others are taken."""


class Turns:
    """A bounded number of places, handed out by urgency.

    Temporal hands a process more tasks than it can compute at once, the urgent ones first but on several queues; here
    they line up together. What is critical finds one more place when the others are taken.
    """

    def __init__(self, places: int) -> None:
        """Let `places` threads compute at once."""
        self._free = places
        self._waiting: list[tuple[Urgency, int]] = []
        self._arrivals = itertools.count()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, urgency: Urgency, waiting: Callable[[], None]) -> Iterator[None]:
        """Wait for a place, and keep it until the context ends.

        Args:
            urgency: of whoever wants it.
            waiting: called at least every half second of waiting; what it raises ends the wait.
        """
        place = (urgency, next(self._arrivals))
        with self._changed:
            heapq.heappush(self._waiting, place)
            try:
                while self._waiting[0] != place or self._free <= -(urgency[0] <= CRITICAL):
                    self._changed.wait(LOOK_EVERY_S)
                    waiting()
                self._free -= 1
            finally:
                self._waiting.remove(place)
                heapq.heapify(self._waiting)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
