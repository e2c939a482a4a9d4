"""Every number of the engine, in one place: one set for all systems.

`python -m activities.analysis.parameters` prints the table that `README.md` beside this file shows.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Numbers of the analyses."""

    onset_offsets: tuple[timedelta, ...] = tuple(timedelta(seconds=value) for value in (60, 120, 240, 480, 960))
    """How long before the alert the fault may have begun, in equal steps of its logarithm; evidence is averaged."""

    coverage_gap: timedelta = timedelta(minutes=15)
    """Without any telemetry for so long before it, nobody can say that something began at a moment."""

    bucket: timedelta = timedelta(seconds=60)
    """History is compared in buckets of this length."""

    half_saturation: float = 3.0
    """Standard deviations at which a deviation counts half: slowness, a violated invariant, a metric."""

    noise_floor: float = 0.3
    """Relative deviation that is always granted: of a duration, of a metric's level, of its level elsewhere."""

    half_confidence: float = 0.5
    """Confidence in what may be otherwise: a ratio that is no whole number (a branch, or a mix of requests), something
    that was never seen before, a failed call to a callee that did answer, perhaps too late."""

    least_history: float = 3.0
    """Spans that an edge must have had before it can be slower than before."""

    known_points: float = 10.0
    """Points of history that halve what `noise_floor` grants a mean duration, since they show how much it varies."""

    latency_sampling: float = 0.8
    """Standard deviation of ln(duration) of a single request."""

    lone_caller_share: float = 0.46
    """Part of the waits for a callee without spans that count against it though hardly any other caller waits."""

    load_free: float = 1.5
    """Times the usual number of requests up to which slowness is not put down to them."""

    surge_full: float = 4.0
    """Times the usual number of entering requests at which a surge counts in full."""

    failure_scale: float = 3.0
    """Failed requests above the usual number at which failing counts for 1 - 1/e."""

    failure_share: float = 0.01
    """Where traffic is heavy: this part of the busiest entity's requests is added to that number."""

    kept_history: float = 0.67
    """Part of the history that is believed; earlier faults may hide in the rest."""

    ratio_buckets: float = 2.0
    """Pieces of history that halve the uncertainty about a ratio."""

    whole_tolerance: float = 0.03
    """How near to a whole number a ratio must be to be a fixed code path."""

    recency_half_life: float = 3.0
    """Earlier windows after which what happened in one counts half: what has moved lately is not new."""

    floor_ratio: float = 0.05
    """Part of a whole below which a move of a share is of no practical importance."""

    floor_error_ratio: float = 0.005
    """The same of a share of errors."""

    floor_percent: float = 5.0
    """The same in per cent."""

    floor_memory_bytes: float = 8e6
    """Of memory."""

    floor_disk_bytes: float = 1e6
    """Of a disk."""

    floor_count: float = 2.0
    """Connections, threads, waiting or running requests, queued messages."""

    floor_duration: timedelta = timedelta(milliseconds=1)
    """Of how long a request takes."""

    floor_transaction: timedelta = timedelta(milliseconds=500)
    """Of how long transactions stay open or wait."""

    least_strength: float = 0.01
    """Below this, no finding is worth reporting."""

    most_findings: int = 2_000
    """Findings of one round."""

    most_of_a_family: int = 500
    """Findings of metrics, and of log templates, the strongest first."""

    metric_ceiling: float = 100.0
    """Deviation of a metric, in scales, at which its strength is full."""

    limit_near: float = 0.8
    """Part of a capacity from which its use speaks for a fault; all of it speaks in full."""

    limit_memory: timedelta = timedelta(hours=6)
    """History after which a use as high as now counts half as usual."""

    metric_unsure: float = 0.7
    """Weight of a metric of what is a cause as often as a consequence: memory, queues, errors."""

    metric_symptom: float = 0.2
    """Weight of a metric of what mostly is a consequence: slowness, traffic, a fall, and what nobody knows."""

    explained: float = 0.7
    """Part of a symptom that others explain away: a callee with the same symptom, all entities that show it at once."""

    weight_metric: float = 0.6
    """Weight of what metrics show beside requests that were measured; these and cluster conditions count in full."""

    weight_change: float = 0.4
    """Weight of the change that fits best, for or against."""

    weight_alert: float = 0.05
    """Weight of being what an alert is about."""

    weight_hint: float = 0.3
    """Weight of being named by a person."""

    specific_kind: float = 3.0
    """A kind that says why (memory, a lock) against one that only says how it shows (an error, slowness)."""

    inverse_temperature: float = 13.0
    """Log-odds per unit of score."""

    base_rate: float = 0.05
    """Odds of an entity that shows nothing."""

    abstention_threshold: float = 0.35
    """Score that an entity has to pass to be more likely than none of them."""

    data_gap_discount: float = 0.5
    """Part of the probability that goes to "no root cause identified" when nothing could be looked at."""

    onset_part: float = 0.1
    """Part of the evidence, by its squared strength, that has begun when the fault is said to begin."""

    change_lag: timedelta = timedelta(minutes=30)
    """A change further before the first onset is not the cause."""

    change_slack: timedelta = timedelta(seconds=60)
    """A change may be recorded this long after its effect."""

    change_decay: timedelta = timedelta(minutes=10)
    """Time after which nearness of a change to the onset has lost most of its weight."""

    change_dated_by: float = 0.3
    """Findings at least this strong date the onset and lend their words to the symptom."""

    change_prior: float = -0.5
    """Log-odds of a change of which nothing tells."""

    change_word_ceiling: float = 3.0
    """Most log-odds that shared words add."""

    change_harmless: float = 2.0
    """Log-odds taken when nothing it touches runs."""

    change_deadline: float = 3.0
    """Log-odds taken when a countdown reached zero."""


DEFAULT = Parameters()


def table() -> str:
    """The parameters as a Markdown table: name, value, meaning."""
    meanings = dict(_meanings())
    rows = [
        f"| `{item.name}` | {_shown(getattr(DEFAULT, item.name))} | {meanings[item.name]} |" for item in fields(DEFAULT)
    ]
    return "\n".join(["| parameter | value | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _meanings() -> Iterator[tuple[str, str]]:
    """The text under each field; of several fields above one text, the text stands for the last."""
    body = ast.parse(inspect.getsource(Parameters)).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = " ".join(str(following.value.value).split())
            yield statement.target.id, text


def _shown(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    print(table(), end="")
