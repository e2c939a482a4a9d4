"""The family of spans: every trace mechanism over every change point."""

from collections.abc import Iterator

from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.traces.mechanism import mechanisms
from activities.analysis.traces.spans import EDGE, SUMS, TraceSums, read_spans
from workflows.contracts.finding import Finding


@evidence_family(needs={"traces": [*EDGE[1:], *SUMS]})
def find_in_traces(given: AnalysisInput) -> Iterator[Finding]:
    """At most one finding per mechanism and entity; strengths are means over the change points."""
    spans = read_spans(given.spans)
    if spans.edges.is_empty():
        return
    working = [cls(spans, given.evidence, given.parameters, given.factory) for cls in mechanisms()]
    change_points = given.change_points_of("traces")
    for change_point in change_points:
        sums = TraceSums(spans, change_point)
        for mechanism in working:
            mechanism.compare(change_point, sums)
    for mechanism in working:
        yield from mechanism.findings(change_points)
