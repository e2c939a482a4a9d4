"""A bundle's answers without servers: for benchmarks and for looking at the engine alone."""

from collections.abc import Sequence
from pathlib import Path

from activities.analysis.context import IncidentContext
from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.findings import find
from activities.analysis.graph import Graph
from activities.analysis.ranking import rank
from activities.analysis.verification import claims_of, verified
from activities.answers import compacted, encode
from activities.reporting import conclude, describe
from activities.telemetry.backend import run_probe
from activities.telemetry.plan import everything_from, plan_probes, topology_probe
from activities.telemetry.recorded import RecordedBackend, open_bundle
from workflows.contracts.canonical import digest_of
from workflows.contracts.finding import Finding
from workflows.contracts.report import DataGap, ReportFindings


def evidence_of(folder: Path) -> tuple[Evidence, int]:
    """Every answer of the bundle in `folder`, and how many queries were run.

    Raises:
        BundleError: a file of the bundle cannot be read.
    """
    bundle = open_bundle(folder)
    backend = RecordedBackend(bundle)
    try:
        first = topology_probe("recorded", bundle.manifest.as_of)
        rows = run_probe(backend, first).rows
        assert rows is not None
        graph = Graph.from_answer(rows)
        alerting = [bundle.alert.entity] if bundle.alert.entity else []
        plan = [
            first,
            *plan_probes(
                sources=everything_from("recorded"),
                as_of=bundle.manifest.as_of,
                kinds=graph.kinds,
                edges=[],
                alerting=alerting,
            ),
        ]
        answers = tuple(
            AnsweredProbe(probe=probe, artifact=digest_of(encode(found)), rows=compacted(found))
            for probe in plan
            if (found := run_probe(backend, probe).rows) is not None
        )
    finally:
        backend.close()
    evidence = Evidence(alerts=(bundle.alert,), as_of=bundle.manifest.as_of, answers=answers, graph=graph)
    return evidence, len(plan)


def diagnose(
    evidence: Evidence,
    *,
    probes_planned: int = 0,
    data_gaps: Sequence[DataGap] = (),
    findings: Sequence[Finding] | None = None,
) -> ReportFindings:
    """The report's body that the product's steps make of these answers, without servers.

    Args:
        evidence: decoded answers.
        probes_planned: queries that were planned.
        data_gaps: queries without an answer.
        findings: what is used in place of the findings of `evidence`.
    """
    found = find(evidence) if findings is None else list(findings)
    claims = claims_of(found, evidence.frames())
    holding = verified(found, claims)
    context = IncidentContext.of(evidence, probes_planned=probes_planned, data_gaps=data_gaps)
    return describe(conclude(holding, rank(holding, context), context), claims)
