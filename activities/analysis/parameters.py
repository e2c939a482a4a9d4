"""Every number of the engine, in one place: one set for all systems."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from workflows.contracts.hypothesis import FaultKind


def _metric_weights() -> dict[FaultKind, float]:
    return {
        FaultKind.CPU: 1.0,
        FaultKind.LOCK: 1.0,
        FaultKind.CRASH: 1.0,
        FaultKind.DISK: 1.0,
        FaultKind.SATURATION: 0.8,
        FaultKind.ERROR: 0.8,
        FaultKind.MEMORY: 0.6,
        FaultKind.LATENCY: 0.3,
        FaultKind.NETWORK: 0.2,
        FaultKind.TRAFFIC: 0.2,
        FaultKind.EXPIRY: 1.0,
        FaultKind.UNKNOWN: 0.1,
    }


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Numbers of the analyses; `README.md` beside this file says where each is used."""

    lags: tuple[timedelta, ...] = tuple(timedelta(seconds=value) for value in (60, 120, 240, 480, 960))
    """How long before the alert the fault may have begun, in equal steps of its logarithm; evidence is averaged."""

    hole: timedelta = timedelta(minutes=15)
    """Without any telemetry for so long before it, nobody can say that something began at a moment."""

    chunk: timedelta = timedelta(seconds=60)
    """History is compared in pieces of this length."""

    least_history: float = 3.0
    """Spans that an edge must have had before it can be slower than before."""

    latency_noise: float = 0.3
    """Standard deviation of ln(duration) that is always granted."""

    known_points: float = 10.0
    """Points of a series that halve that allowance, since they show how much it varies."""

    latency_sampling: float = 0.8
    """Standard deviation of ln(duration) of a single request."""

    latency_knee: float = 2.5
    """Standard deviations at which a slowdown counts half."""

    lone_caller_share: float = 0.46
    """Part of the waits for a callee without spans that count against it though hardly any other caller waits."""

    load_free: float = 1.5
    """Times the usual number of requests up to which slowness is not put down to them."""

    surge_full: float = 4.0
    """Times the usual number of entering requests at which a surge counts in full."""

    failure_knee: float = 3.0
    """Failed requests above the usual number at which failing counts for 1 - 1/e."""

    failure_share: float = 0.01
    """Where traffic is heavy: this part of the busiest entity's requests is added to that number."""

    given_up_share: float = 0.5
    """Part of a failed call that counts against a callee which did answer, perhaps too late."""

    kept_history: float = 0.67
    """Part of the history that is believed; earlier faults may hide in the rest."""

    ratio_knee: float = 2.5
    """Standard deviations at which a broken count ratio counts half."""

    ratio_chunks: float = 2.0
    """Pieces of history that halve the doubt about a ratio."""

    whole_tolerance: float = 0.03
    """How near to a whole number a ratio must be to be a fixed code path."""

    branch_trust: float = 0.55
    """Trust in a ratio that is no whole number: a branch, or a mix of requests."""

    new_signal_trust: float = 0.5
    """Trust in something that was never seen before."""

    metric_floor: float = 0.3
    """Scale of a series: at least this part of its usual level."""

    metric_peers: float = 0.3
    """And at least this part of the usual level of the same metric elsewhere."""

    nearness: float = 3.0
    """Earlier windows after which what happened in one counts half: what has moved lately is not new."""

    common: float = 0.7
    """Part of a deviation that is discounted when all other entities of its sort show it as well."""

    metric_knee: float = 3.0
    metric_ceiling: float = 100.0
    """Deviations, in scales, from which a metric's strength grows and at which it is full."""

    metric_fall: float = 0.2
    """Weight of a fall, except of traffic."""

    limit_near: float = 0.8
    """Part of a capacity from which its use speaks for a fault; all of it speaks in full."""

    limit_memory: timedelta = timedelta(hours=6)
    """History after which a use as high as now counts half as usual."""

    metric_weights: Mapping[FaultKind, float] = field(default_factory=_metric_weights)

    explained: float = 0.7
    """Part of a symptom that a callee with the same symptom explains away."""

    weight_trace: float = 1.0
    weight_failure: float = 1.0
    weight_structure: float = 1.0
    weight_surge: float = 1.0
    weight_metric: float = 0.7
    weight_cluster: float = 0.8
    weight_change: float = 0.4
    weight_parts: float = 1.0
    """Of what all parts of a whole show alike, for the whole."""

    weight_alert: float = 0.05
    weight_hint: float = 0.3

    specific_kind: float = 3.0
    """A kind that says why (memory, a lock) against one that only says how it shows (an error, slowness)."""

    sharpness: float = 11.0
    """Log-odds per unit of score."""

    bystander_odds: float = 0.05
    """Odds of an entity that shows nothing."""

    none_score: float = 0.4
    """Score that an entity has to pass to be more likely than none of them."""

    unseen_discount: float = 0.5
    """Part of the probability that goes to "none of these" when nothing could be looked at."""

    onset_part: float = 0.1
    """Part of the evidence, by its squared strength, that has begun when the fault is said to begin."""

    change_lag: timedelta = timedelta(minutes=30)
    """A change further before the first onset is not the cause."""

    change_slack: timedelta = timedelta(seconds=60)
    """A change may be recorded this long after its effect."""

    change_decay: timedelta = timedelta(minutes=10)
    change_prior: float = -0.5
    change_word_ceiling: float = 3.0
    change_harmless: float = 2.0
    change_deadline: float = 3.0


DEFAULT = Parameters()
