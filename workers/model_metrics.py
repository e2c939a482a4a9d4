"""Service levels of the endpoints of language models, in Prometheus' text format, counted since this process began.

Availability is the share of requests that are not `unreachable`, the share of invalid answers that of `invalid`;
`histogram_quantile(0.95, ...)` of the seconds gives the 95th percentile, of any span of time.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from activities.memory.model_service import ModelRequest, ModelService

LATE = timedelta(minutes=5)
"""So much later than it was made, a request may become visible: its step was still under way."""

BOUNDS = {
    "inquest_model_seconds": (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0),
    "inquest_model_first_token_seconds": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
}
"""Upper bounds of the histograms."""

MEANINGS = {
    "inquest_model_requests_total": "Requests to language models by what became of them.",
    "inquest_model_prompt_tokens_total": "Tokens of questions.",
    "inquest_model_completion_tokens_total": "Tokens of answers.",
    "inquest_model_seconds": "Seconds until an answer was whole.",
    "inquest_model_first_token_seconds": "Seconds until the first words of an answer.",
}
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
Labels = tuple[tuple[str, str], ...]


@dataclass
class _Histogram:
    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def add(self, value: float) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)
        self.counts[next((number for number, bound in enumerate(self.bounds) if value <= bound), -1)] += 1
        self.total += value


class ModelMetrics:
    """What endpoints did since this was made; what came before is in the record."""

    def __init__(self, service: ModelService) -> None:
        self._service = service
        self._since = self._looked = datetime.now(UTC)
        self._seen: set[str] = set()
        self._counts: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, dict[Labels, _Histogram]] = defaultdict(dict)

    def lines(self) -> list[str]:
        """Lines of the text format, with what is new."""
        now = datetime.now(UTC)
        found = self._service.requests(since=max(self._since, self._looked - LATE))
        self._add(item for item in found if item.request_id not in self._seen)
        # All that the next look can find again lies in what this one found: it begins later.
        self._looked, self._seen = now, {item.request_id for item in found}
        return self._lines()

    def _add(self, requests: Iterable[ModelRequest]) -> None:
        for item in requests:
            who = (("endpoint", item.endpoint), ("model", item.model))
            self._counts["inquest_model_requests_total"][*who, ("outcome", item.outcome)] += 1
            self._counts["inquest_model_prompt_tokens_total"][who] += item.prompt_tokens
            self._counts["inquest_model_completion_tokens_total"][who] += item.completion_tokens
            for name, seconds in (
                ("inquest_model_seconds", item.seconds),
                ("inquest_model_first_token_seconds", item.first_token_seconds),
            ):
                if seconds > 0:
                    self._histograms[name].setdefault(who, _Histogram(BOUNDS[name])).add(seconds)

    def _lines(self) -> list[str]:
        lines: list[str] = []
        for name, series in self._counts.items():
            lines += [f"# HELP {name} {MEANINGS[name]}", f"# TYPE {name} counter"]
            lines += [f"{name}{_labels(labels)} {value:g}" for labels, value in sorted(series.items())]
        for name, histograms in self._histograms.items():
            lines += [f"# HELP {name} {MEANINGS[name]}", f"# TYPE {name} histogram"]
            for labels, histogram in sorted(histograms.items(), key=lambda item: item[0]):
                lines += _histogram_lines(name, labels, histogram)
        return lines


def _histogram_lines(name: str, labels: Labels, histogram: _Histogram) -> list[str]:
    lines, count = [], 0
    for bound, size in zip((*(f"{bound:g}" for bound in histogram.bounds), "+Inf"), histogram.counts, strict=True):
        count += size
        lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {count}")
    return [*lines, f"{name}_sum{_labels(labels)} {histogram.total:g}", f"{name}_count{_labels(labels)} {count}"]


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in labels) + "}"
