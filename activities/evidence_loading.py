"""Reads an investigation's answers back from the ledger, for the analyses."""

import polars as pl

from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.graph import Graph
from activities.answers import COLUMNS, compacted, decode
from activities.memory.ledger import ArtifactLostError, Ledger
from workflows.contracts.investigation import StepInput
from workflows.contracts.probe import entity_of
from workflows.contracts.report import DataGap


def load_evidence(ledger: Ledger, given: StepInput) -> tuple[Evidence, list[DataGap]]:
    """The answers with rows, and the questions without an answer, grouped by reason."""
    observations = ledger.observations()
    answers: list[AnsweredProbe] = []
    data_gaps: list[DataGap] = []
    for probe in ledger.probes():
        observation = observations.get(probe.key)
        if observation is None:
            reason = f"not asked: {given.stopped_by or 'budget'}"
            data_gaps.append(DataGap(tool=probe.tool, entity=entity_of(probe), reason=reason))
            continue
        if observation.artifact is not None:
            try:
                rows = compacted(decode(ledger.artifact(observation.artifact)))
            except ArtifactLostError as error:
                data_gaps.append(DataGap(tool=probe.tool, entity=entity_of(probe), reason=str(error)))
                continue
            answers.append(AnsweredProbe(probe=probe, artifact=observation.artifact, rows=rows))
        if observation.status not in ("ok", "empty") or observation.detail:
            data_gaps.append(
                DataGap(
                    tool=probe.tool,
                    entity=entity_of(probe),
                    status=observation.status,
                    reason=observation.detail or observation.status.value,
                )
            )
    if not answers and not data_gaps:
        data_gaps.append(DataGap(tool="topology", reason="what exists could not be found out, so nothing was asked"))
    topology = next((item.rows for item in answers if item.probe.tool == "topology"), None)
    alerts = [item.alert for item in ledger.alerts() if item.number <= given.alerts]
    evidence = Evidence(
        alerts=tuple(alerts),
        as_of=given.request.as_of,
        answers=tuple(answers),
        graph=Graph.from_answer(pl.DataFrame(schema=COLUMNS["topology"]) if topology is None else topology),
    )
    return evidence, grouped(data_gaps)


def grouped(data_gaps: list[DataGap]) -> list[DataGap]:
    """One entry for all questions of a tool that share a reason; its entity is named when there is just one."""
    groups: dict[tuple[str, str, str], list[DataGap]] = {}
    for item in data_gaps:
        groups.setdefault((item.tool, item.status.value if item.status else "", item.reason), []).append(item)
    return [
        items[0].model_copy(update={"count": len(items), "entity": items[0].entity if len(items) == 1 else None})
        for _, items in sorted(groups.items())
    ]
