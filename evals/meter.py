"""What a replay costs the process that runs it."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EVERY_S = 0.1


@dataclass
class Cost:
    """Grows while it is metered."""

    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


class Meter:
    """Samples this process; what runs at once shares the processor time evenly, and sees the same memory."""

    def __init__(self) -> None:
        self._running: list[Cost] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._spent = _cpu_seconds()

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Sample until the context ends."""
        thread = threading.Thread(target=self._sample, name="meter", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    @contextmanager
    def metered(self) -> Iterator[Cost]:
        """The cost of what happens within."""
        cost = Cost()
        self._look()
        with self._lock:
            self._running.append(cost)
        try:
            yield cost
        finally:
            self._look()
            with self._lock:
                self._running.remove(cost)

    def _sample(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            spent = _cpu_seconds()
            resident = _resident_bytes()
            for cost in self._running:
                cost.cpu_seconds += (spent - self._spent) / len(self._running)
                cost.peak_memory_bytes = max(cost.peak_memory_bytes, resident)
            self._spent = spent


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
