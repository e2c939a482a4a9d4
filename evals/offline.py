"""A bundle's answers without servers: for benchmarks and for looking at the engine alone."""

from pathlib import Path

from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.graph import Graph
from activities.answers import compacted, encode
from activities.telemetry.backend import ask
from activities.telemetry.plan import plan_probes, topology_probe
from activities.telemetry.recorded import RecordedBackend, open_bundle
from workflows.contracts.canonical import digest_of


def evidence_of(folder: Path) -> tuple[Evidence, int]:
    """Every answer of the bundle in `folder`, and how many questions were asked.

    Raises:
        BundleError: a file of the bundle cannot be read.
    """
    bundle = open_bundle(folder)
    backend = RecordedBackend(bundle)
    try:
        first = topology_probe("recorded", bundle.manifest.as_of)
        rows = ask(backend, first).rows
        assert rows is not None
        graph = Graph.from_answer(rows)
        alerting = [bundle.alert.entity] if bundle.alert.entity else []
        plan = [
            first,
            *plan_probes(
                backend="recorded", as_of=bundle.manifest.as_of, kinds=graph.kinds, edges=[], alerting=alerting
            ),
        ]
        answers = tuple(
            AnsweredProbe(probe=probe, artifact=digest_of(encode(found)), rows=compacted(found))
            for probe in plan
            if (found := ask(backend, probe).rows) is not None
        )
    finally:
        backend.close()
    evidence = Evidence(alerts=(bundle.alert,), as_of=bundle.manifest.as_of, answers=answers, graph=graph)
    return evidence, len(plan)
