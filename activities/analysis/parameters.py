"""Every number of the engine, in one place: one set for all systems.

What is not here is a definition: a quantile, a unit, the count that makes a ratio finite.

`python -m activities.analysis.parameters` prints the table that `README.md` beside this file shows.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta

from workflows.contracts.hypothesis import FaultKind

Kinds = tuple[tuple[FaultKind, float], ...]
"""What a sign says of the kind of fault; parts of one."""


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

    host_down_from: float = 0.3
    """Strength from which something counts as down when its host is asked for."""

    host_least_down: int = 2
    """So many things must be down that run on a host alone; one says nothing of its host."""

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

    least_change_points: int = 3
    """A recording too short for so many onset offsets is also compared at parts of its length ..."""

    short_parts: tuple[float, ...] = (0.25, 0.4, 0.55, 0.7)
    """... which are these."""

    clearly_stronger: float = 1.05
    """An earlier change point replaces a later one as the example only when it is stronger by this factor."""

    onset_share: float = 0.5
    """A mean has shifted where it first passes this part of the way to its later value."""

    onset_noise: tuple[int, int] = (8, 8)
    """The noise before an onset is that of the first part of a series, one in so many points, of so many at least."""

    onset_tail: tuple[int, int] = (10, 5)
    """A rise must hold in the last points: one in so many, so many at least."""

    onset_beyond: float = 6.0
    """Deviations at which a series has clearly left its beginning."""

    onset_noise_floor: float = 0.03
    """Relative deviation that is granted while an onset is looked for."""

    onset_foot: float = 0.02
    """Part of a rise up to which it has not begun."""

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

    metric_least_points: int = 3
    """Points before a change point that a series must have."""

    metric_least_strength: float = 0.02
    """Below this, no finding about a metric is worth reporting."""

    metric_per_kind: int = 2
    """Findings per entity and kind of fault from deviating metrics, the strongest first."""

    metric_few_episodes: int = 3
    """With more stretches of recording than this, what shows in all of them is the rule."""

    requests_recent: int = 3
    """Points right before a change point that are looked at beside the whole history: what had moved before is not
    new."""

    requests_gap_steps: float = 3.0
    """Steps of a series without a point that make a coverage gap."""

    requests_percent: float = 1.5
    """A share of requests whose usual value lies above this is given in percent."""

    trend_least_points: int = 24
    """Points of a series that can be a trend."""

    trend_least_growth: float = 1.3
    """Times the level of the beginning that a trend must reach."""

    trend_blocks: int = 8
    """Equal parts of a trend whose medians are compared; its beginning is as long as one of them."""

    trend_steady: float = 0.85
    """Share of the steps between those that must go up."""

    trend_late: float = 0.75
    """Part of the series after which its peak must lie."""

    trend_noise: float = 2.0
    """Deviations above the level of the beginning up to which a trend has not begun."""

    trend_noise_floor: float = 0.02
    """Relative deviation of that level that is always granted."""

    expiry_least_points: int = 10
    """Points of a series that can be a countdown."""

    expiry_straight: float = 0.9
    """Share of the steps of a countdown that must go down."""

    expiry_clear: float = 20.0
    """How far a countdown must go, in deviations from its line."""

    expiry_strength: float = 0.9
    """Strength of a countdown that reached zero."""

    cluster_memory: float = 1.0
    """Strength of an unhealthy condition of a cluster object whose reason names memory."""

    cluster_expiry: float = 0.9
    """Whose reason names a certificate."""

    cluster_capacity: float = 0.8
    """Whose reason names a disk, a quota or a limit."""

    cluster_crash: float = 0.7
    """Whose reason names a crash or a failure."""

    cluster_unhealthy: float = 0.6
    """Whose reason is a failed probe."""

    cluster_other: float = 0.3
    """Of any other reason."""

    cluster_named: float = 0.7
    """At least, when its message names a kind of fault."""

    cluster_repeated: float = 0.5
    """Part that remains when the object gave the same reason before the earliest candidate onset."""

    ended_part: float = 0.25
    """Part of its farthest move up to which a symptom is over ..."""

    ended_points: int = 3
    """... for so many points ..."""

    ended_for: timedelta = timedelta(seconds=60)
    """... and so long."""

    recovered: float = 0.3
    """Part that remains of a condition or a state that was left again."""

    template_least_start: int = 16
    """Characters that a log statement must begin with to be recognised by them."""

    templates_compared: int = 150
    """Templates per entity that are compared with each other, the most frequent and the newest first."""

    references_compared: int = 6
    """Reference counts of a signal that are looked at closely: those that run most alike."""

    limit_whole: float = 1.005
    """Part of a capacity that nothing exceeds; what does is a share of something else, as of one of several cores."""

    limit_same_level: float = 0.95
    """Part of the present level from which a value of the past counts as as high."""

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

    weight_fact: float = 0.15
    """Weight of being a weak point that somebody knows of, and of nothing but that."""

    weight_opinion: float = 0.04
    """Most that a language model's opinion adds to a suspect's score, or takes from it."""

    weight_change_opinion: float = 0.06
    """How much a language model's opinion of a change adds to its strength, or takes from it."""

    weight_past: float = 0.25
    """Most that it weighs to be what people confirmed as the root cause of incidents that showed the same."""

    past_confirmation: float = 0.6
    """Part of that which one confirmed incident gives that was the same in all it showed; each further one gives this
    part of what is left."""

    past_alert: float = 0.3
    """Part of the likeness of two incidents that lies in the alert; the rest is what they showed."""

    past_order: float = 0.3
    """Part of the likeness that is lost where two incidents began in reverse order."""

    past_alike_from: float = 0.3
    """Likeness from which a past incident is recalled."""

    specific_kind: float = 3.0
    """A kind that says why (memory, a lock) against one that only says how it shows (an error, slowness)."""

    sign_certainty: float = 0.9
    """Most that one of several independent signs of a group counts."""

    explained_from: float = 0.3
    """Own evidence of a callee from which a finding of its caller is said to be partly explained."""

    kinds_wait_of_callers: Kinds = ((FaultKind.LATENCY, 0.6), (FaultKind.LOCK, 0.2), (FaultKind.SATURATION, 0.2))
    """Kinds of fault of an uninstrumented callee that its callers wait for."""

    kinds_wait_of_one_caller: Kinds = ((FaultKind.SATURATION, 0.8), (FaultKind.LATENCY, 0.2))
    """Of the only caller that waits for one."""

    kinds_self_time: Kinds = ((FaultKind.LATENCY, 0.7), (FaultKind.CPU, 0.2), (FaultKind.SATURATION, 0.1))
    """Of an entity whose self time rose."""

    kinds_network_time: Kinds = ((FaultKind.NETWORK, 0.8), (FaultKind.SATURATION, 0.2))
    """Of an entity whose requests wait before they are answered, and whose own work is as quick as ever."""

    kinds_queueing_time: Kinds = ((FaultKind.LATENCY, 0.8), (FaultKind.CPU, 0.1), (FaultKind.SATURATION, 0.1))
    """The same, when its own work is slower too ..."""

    queueing_from: float = 0.5
    """... with at least this weight."""

    kinds_unanswered: Kinds = ((FaultKind.CRASH, 0.6), (FaultKind.ERROR, 0.3), (FaultKind.LOCK, 0.1))
    """Of a callee whose callers get no answer."""

    kinds_given_up: Kinds = ((FaultKind.LATENCY, 0.5), (FaultKind.ERROR, 0.3), (FaultKind.SATURATION, 0.2))
    """Of a callee that answers calls which failed for its callers."""

    kinds_unanswered_one_caller: Kinds = ((FaultKind.SATURATION, 0.6), (FaultKind.ERROR, 0.4))
    """Of a caller that alone gets no answer."""

    kinds_calls: Kinds = ((FaultKind.BEHAVIOUR, 0.7), (FaultKind.ERROR, 0.3))
    """Of an entity that makes other calls than before."""

    kinds_severe_template: Kinds = ((FaultKind.ERROR, 0.7), (FaultKind.BEHAVIOUR, 0.3))
    """Of an entity whose warnings and errors changed."""

    kind_of_message: float = 0.8
    """Part of the kind that a message names; the rest is an error."""

    kind_of_change: float = 0.3
    """Part of an error that a change speaks for."""

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

    change_likely: float = 0.5
    """Strength from which a change is named with the leading entity."""

    change_local: float = 0.15
    """How much weaker a change near that entity may be than the strongest one, to be named in its place."""

    change_lag: timedelta = timedelta(minutes=30)
    """A change further before the first onset is not the cause."""

    change_slack: timedelta = timedelta(seconds=60)
    """A change may be recorded this long after its effect."""

    change_decay: timedelta = timedelta(minutes=10)
    """Time after which nearness of a change to the onset has lost most of its weight."""

    change_dated_by: float = 0.3
    """Findings at least this strong date the onset and lend their words to the symptom."""

    change_prior: float = -0.5
    """Log-odds of a change without any sign for or against it."""

    change_word_ceiling: float = 3.0
    """Most log-odds that shared words add."""

    change_harmless: float = 2.0
    """Log-odds taken when nothing it touches runs."""

    change_deadline: float = 3.0
    """Log-odds taken when a countdown reached zero."""

    sensitivity_traces: float = 0.7
    """Probability that the spans of a root cause show a sign of it ..."""

    sensitivity_metrics: float = 0.6
    """... that its metrics do ..."""

    sensitivity_logs: float = 0.7
    """... and that its log lines do; for what a query is expected to tell."""

    sensitivity_shown: float = 0.9
    """The same of the modality in which the fault of the leading suspect shows."""

    false_sign: float = 0.1
    """Probability that what is not the root cause shows a sign as well."""

    suspected_from: float = 0.05
    """Probability from which the neighbours of an entity are looked at."""

    hop_discount: float = 0.5
    """Part of its weight that an entity has for each hop from what alerts or is suspected."""

    farthest_hop: int = 4
    """Hops that count for an entity without a known way there."""

    seen_discount: float = 0.4
    """Part of its weight that an entity has for each modality in which it was seen."""

    inherited_share: float = 0.5
    """Part of a suspect's probability that may belong to what it calls, or to what was not looked at where the fault
    shows."""

    least_gain: float = 0.05
    """Bits that one more look must be expected to tell."""

    silent_discount: float = 0.3
    """The same for an entity of which nothing is known though it was asked for."""

    look_tail: float = 0.1
    """Part of the best query's worth that another one of the same look must have."""

    look_share: float = 0.15
    """Part of the whole plan that one more look may take ..."""

    least_look: int = 4
    """... and queries that it may take at least."""

    found_from: float = 0.5
    """Probability from which one entity is called the root cause ..."""

    found_margin: float = 0.2
    """... if no other entity comes nearer to it than this."""

    candidate_from: float = 0.15
    """Probability from which an entity is named at all."""

    kind_clear_from: float = 0.5
    """Probability of a kind of fault from which it is named."""

    ruled_out_below: float = 0.02
    """Probability below which an entity that shows something is ruled out; what lies above stays in the ranking."""

    reported_from: float = 0.15
    """Strength from which a finding is worth a line of the timeline, a step of the chain or a place in the impact."""

    timeline_lookback: timedelta = timedelta(hours=1)
    """How long before the alert the timeline begins."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes: they bound time, memory and what a report holds, and say nothing about causes."""

    buckets: int = 240
    """Buckets of history that are compared; of a longer one they are longer, so that time does not grow with it."""

    rows_at_once: int = 1_000_000
    """Rows that are summed at once, so that memory stays bounded."""

    series_cells: int = 200_000
    """Numbers of one block of series."""

    pairs_cells: int = 500_000
    """Numbers of one matrix of pairs of counts."""

    chart_points: int = 60
    """Points of a finding's chart."""

    message_length: int = 2_000
    """Characters of a text in which a well-known message is looked for."""

    labels: int = 2
    """Labels of a metric that a sentence names."""

    hypotheses: int = 25
    """Hypotheses that are reported, "no root cause identified" included."""

    named_on_a_host: int = 5
    """Of what died with a host, so many are named and proven."""

    contributions: int = 12
    """Findings among the terms of a hypothesis; smaller ones are one term together."""

    log_odds_digits: int = 4
    """Decimals of a term; scores are sums of what is shown, so that they add up exactly."""

    findings: int = 150
    """Findings in a report beside those that it refers to; all of them are in the ledger."""

    candidates: int = 3
    """Entities that a verdict names."""

    findings_of_a_step: int = 3
    """Findings of a step of the causal chain."""

    timeline_entries: int = 12
    """Findings in the timeline; alerts are not counted."""

    ruled_out: int = 10
    """Entities that a report rules out."""

    signs: int = 40
    """Signs by which a past incident is recognised, the strongest."""

    past_incidents: int = 5
    """Past incidents that a report recalls."""

    shared_signs: int = 3
    """Signs that it names as common to a past incident and this one."""

    owners: int = 10
    """Owners that it names."""

    proofs_looked_up: int = 3
    """Proofs whose sentences are looked for in the organisation's documents."""

    facts: int = 10
    """Facts of people that it shows."""

    next_steps: int = 4
    """Things that a report suggests to look at."""

    next_steps_of_passages: int = 2
    """Steps that name a passage of the organisation's documents."""

    next_steps_of_data_gaps: int = 2
    """Of these, about missing data."""


DEFAULT = Parameters()
LIMITS = Limits()


def table() -> str:
    """The parameters, then the limits, as Markdown tables: name, value, meaning."""
    return "\n".join(_table(name, of) for name, of in (("parameter", DEFAULT), ("limit", LIMITS)))


def _table(name: str, of: Parameters | Limits) -> str:
    meanings = dict(_meanings(type(of)))
    rows = [f"| `{item.name}` | {_shown(getattr(of, item.name))} | {meanings[item.name]} |" for item in fields(of)]
    return "\n".join([f"| {name} | value | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _meanings(of: type[Parameters] | type[Limits]) -> Iterator[tuple[str, str]]:
    """The text under each field."""
    body = ast.parse(inspect.getsource(of)).body[0]
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
    if isinstance(value, tuple) and isinstance(value[0], FaultKind):
        return f"{value[0].value} {value[1]}"
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    print(table(), end="")
