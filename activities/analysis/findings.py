"""From answers to findings: every family, in one canonical order."""

from activities.analysis.change_points import change_points_of
from activities.analysis.changes import find_in_changes
from activities.analysis.cluster import find_in_cluster
from activities.analysis.evidence import Evidence
from activities.analysis.expiry import find_expiry
from activities.analysis.finding_factory import LEAST_STRENGTH, FindingFactory
from activities.analysis.logs import find_in_logs
from activities.analysis.metrics import find_in_metrics
from activities.analysis.parameters import DEFAULT, Parameters
from activities.analysis.request_weighted import find_request_weighted
from activities.analysis.saturation import find_saturation
from activities.analysis.series import Series
from activities.analysis.traces import find_in_traces, numbered_spans
from activities.analysis.trends import find_trends
from workflows.contracts.finding import Finding

MOST_FINDINGS = 2_000


def find(evidence: Evidence, parameters: Parameters = DEFAULT) -> list[Finding]:
    """Every finding worth telling, strongest first, ties by key; a key occurs once."""
    factory, change_points = FindingFactory(evidence), change_points_of(evidence, parameters)
    spans = numbered_spans(evidence)
    found = find_in_traces(evidence, spans, change_points, parameters, factory)
    spans = spans.keeping("count")
    found += find_in_logs(evidence, spans, change_points, parameters, factory)
    series = Series.of(evidence, parameters)
    found += find_in_metrics(series, change_points, parameters, factory)
    found += find_expiry(series, factory)
    found += find_saturation(series, change_points, parameters, factory)
    found += find_trends(series, evidence.as_of, parameters, factory)
    found += find_request_weighted(series, evidence, change_points, parameters, factory)
    found += find_in_cluster(evidence, parameters, factory)
    found += find_in_changes(evidence, parameters, factory, found)
    ordered = sorted(found, key=lambda item: (-item.strength, item.key))
    unique = {item.key: item for item in reversed(ordered) if item.strength >= LEAST_STRENGTH and item.evidence}
    return sorted(unique.values(), key=lambda item: (-item.strength, item.key))[:MOST_FINDINGS]
