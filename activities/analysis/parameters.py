"""Every number of the engine, in one place: one set for all systems."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Numbers of the analyses; `README.md` beside this file says where each is used."""

    onset_offsets: tuple[timedelta, ...] = tuple(timedelta(seconds=value) for value in (60, 120, 240, 480, 960))
    """How long before the alert the fault may have begun, in equal steps of its logarithm; evidence is averaged."""

    coverage_gap: timedelta = timedelta(minutes=15)
    """Without any telemetry for so long before it, nobody can say that something began at a moment."""

    bucket: timedelta = timedelta(seconds=60)
    """History is compared in buckets of this length."""

    half_saturation: float = 3.0
    """Standard deviations at which a deviation counts half: slowness, a violated ratio, a metric."""

    noise_floor: float = 0.3
    """Relative deviation that is always granted: of a duration, of a metric's level, of its level elsewhere."""

    half_confidence: float = 0.5
    """Trust in what may be otherwise: a ratio that is no whole number (a branch, or a mix of requests), something that
    was never seen before, a failed call to a callee that did answer, perhaps too late."""

    least_history: float = 3.0
    """Spans that an edge must have had before it can be slower than before."""

    known_points: float = 10.0
    """Points of history that halve what `noise` grants a mean duration, since they show how much it varies."""

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
    """Part of a whole below which a move of a share is of no practical importance; shares of errors have their own."""

    floor_error_ratio: float = 0.005
    floor_percent: float = 5.0
    floor_memory_bytes: float = 8e6
    floor_disk_bytes: float = 1e6
    floor_count: float = 2.0
    """Connections, threads, waiting or running requests, queued messages."""

    floor_duration: timedelta = timedelta(milliseconds=1)
    floor_transaction: timedelta = timedelta(milliseconds=500)
    """Of how long transactions stay open or wait."""

    least_strength: float = 0.01
    """Below this, no finding is worth reporting."""

    most_findings: int = 2_000
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
    weight_alert: float = 0.05
    weight_hint: float = 0.3

    specific_kind: float = 3.0
    """A kind that says why (memory, a lock) against one that only says how it shows (an error, slowness)."""

    inverse_temperature: float = 13.0
    """Log-odds per unit of score."""

    base_rate: float = 0.05
    """Odds of an entity that shows nothing."""

    abstention_threshold: float = 0.35
    """Score that an entity has to pass to be more likely than none of them."""

    data_gap_discount: float = 0.5
    """Part of the probability that goes to "none of these" when nothing could be looked at."""

    onset_part: float = 0.1
    """Part of the evidence, by its squared strength, that has begun when the fault is said to begin."""

    change_lag: timedelta = timedelta(minutes=30)
    """A change further before the first onset is not the cause."""

    change_slack: timedelta = timedelta(seconds=60)
    """A change may be recorded this long after its effect."""

    change_decay: timedelta = timedelta(minutes=10)
    change_dated_by: float = 0.3
    """Findings at least this strong date the onset and lend their words to the symptom."""

    change_prior: float = -0.5
    change_word_ceiling: float = 3.0
    change_harmless: float = 2.0
    change_deadline: float = 3.0


DEFAULT = Parameters()
