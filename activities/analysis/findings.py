"""From answers to findings: every family, in one canonical order."""

from activities.analysis.changes import find_in_changes
from activities.analysis.cluster import find_in_cluster
from activities.analysis.deadlines import find_deadlines
from activities.analysis.evidence import Evidence
from activities.analysis.facts import LEAST_STRENGTH, FactMaker
from activities.analysis.limits import find_at_limits
from activities.analysis.logs import find_in_logs
from activities.analysis.metrics import find_in_metrics
from activities.analysis.parameters import DEFAULT, Parameters
from activities.analysis.ramps import find_ramps
from activities.analysis.series import Series
from activities.analysis.splits import splits_of
from activities.analysis.traces import find_in_traces, numbered_spans
from activities.analysis.volumes import find_in_volumes
from workflows.contracts.finding import Finding

MOST_FINDINGS = 2_000


def find(evidence: Evidence, parameters: Parameters = DEFAULT) -> list[Finding]:
    """Every finding worth telling, strongest first, ties by key; a key occurs once."""
    facts, splits = FactMaker(evidence), splits_of(evidence, parameters)
    spans = numbered_spans(evidence)
    found = find_in_traces(evidence, spans, splits, parameters, facts)
    spans = spans.keeping("count")
    found += find_in_logs(evidence, spans, splits, parameters, facts)
    series = Series.of(evidence, parameters)
    found += find_in_metrics(series, splits, parameters, facts)
    found += find_deadlines(series, facts)
    found += find_at_limits(series, splits, parameters, facts)
    found += find_ramps(series, evidence.as_of, parameters, facts)
    found += find_in_volumes(series, evidence, splits, parameters, facts)
    found += find_in_cluster(evidence, parameters, facts)
    found += find_in_changes(evidence, parameters, facts, found)
    ordered = sorted(found, key=lambda item: (-item.strength, item.key))
    unique = {item.key: item for item in reversed(ordered) if item.strength >= LEAST_STRENGTH and item.evidence}
    return sorted(unique.values(), key=lambda item: (-item.strength, item.key))[:MOST_FINDINGS]
