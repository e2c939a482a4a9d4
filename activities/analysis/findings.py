"""From answers to findings: every family, in one canonical order."""

from activities.analysis.changes import find_in_changes
from activities.analysis.cluster import find_in_cluster
from activities.analysis.evidence import Evidence
from activities.analysis.facts import LEAST_STRENGTH, FactMaker
from activities.analysis.limits import find_at_limits
from activities.analysis.logs import find_in_logs
from activities.analysis.metrics import find_in_metrics
from activities.analysis.parameters import DEFAULT, Parameters
from activities.analysis.ramps import find_ramps
from activities.analysis.traces import find_in_traces
from activities.analysis.volumes import find_in_volumes
from workflows.contracts.finding import Finding

MOST_FINDINGS = 2_000


def find(evidence: Evidence, parameters: Parameters = DEFAULT) -> list[Finding]:
    """Every finding worth telling, strongest first, ties by key; a key occurs once."""
    facts = FactMaker(evidence)
    found = [
        *find_in_metrics(evidence, parameters, facts),
        *find_at_limits(evidence, parameters, facts),
        *find_ramps(evidence, parameters, facts),
        *find_in_volumes(evidence, parameters, facts),
        *find_in_traces(evidence, parameters, facts),
        *find_in_logs(evidence, parameters, facts),
        *find_in_cluster(evidence, parameters, facts),
    ]
    found += find_in_changes(evidence, parameters, facts, found)
    ordered = sorted(found, key=lambda item: (-item.strength, item.key))
    unique = {item.key: item for item in reversed(ordered) if item.strength >= LEAST_STRENGTH and item.evidence}
    return sorted(unique.values(), key=lambda item: (-item.strength, item.key))[:MOST_FINDINGS]
