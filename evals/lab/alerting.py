"""The symptom rules that fire the lab's alert. They see what people feel, and nothing else."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from statistics import quantiles

LEARNING_S = 60.0
"""How long the rule watches before it may fire."""

SPAN_S = 20.0
"""The trailing window it judges."""

LONGEST_WAIT_S = 15.0
"""Orders that wait longer than this are late."""


@dataclass(frozen=True)
class EntryRequest:
    """One request at the entry."""

    ended: datetime
    duration_s: float
    failed: bool


@dataclass
class SymptomRule:
    """Fires when over 10 % of the entry's requests fail, or when its p95 triples and passes 400 ms."""

    entry: str
    _history: deque[EntryRequest] = field(default_factory=deque)

    def judge(self, requests: list[EntryRequest], at: datetime) -> str | None:
        """The symptom in one line, or None while all is well. `requests` are those since the last call."""
        self._history.extend(requests)
        if not self._history:
            return None
        recent = [item for item in self._history if (at - item.ended).total_seconds() <= SPAN_S]
        earlier = [item for item in self._history if (at - item.ended).total_seconds() > SPAN_S]
        if len(earlier) < 50 or len(recent) < 20 or (at - self._history[0].ended).total_seconds() < LEARNING_S:
            return None
        failed = sum(item.failed for item in recent) / len(recent)
        if failed > 0.1:
            return f"{failed:.0%} of the requests at {self.entry} fail"
        usual = _p95(earlier)
        current = _p95(recent)
        if current > 0.4 and current > 3 * usual:
            return f"p95 latency at {self.entry} is {current:.2f} s, usually {usual:.2f} s"
        return None


def waiting_too_long(queue: str, oldest_s: float) -> str | None:
    """The symptom of a queue whose oldest order has waited `oldest_s` seconds."""
    return f"the oldest order in {queue} has waited {oldest_s:.0f} s" if oldest_s > LONGEST_WAIT_S else None


def _p95(requests: list[EntryRequest]) -> float:
    return quantiles((item.duration_s for item in requests), n=20)[18]
