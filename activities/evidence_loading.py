"""Reads an investigation back from the ledger: its answers for the analyses, its context for ranking and reporting."""

from contextlib import suppress
from datetime import datetime

import polars as pl

from activities.analysis.context import IncidentContext
from activities.analysis.evidence import TELEMETRY, AnsweredProbe, Evidence
from activities.analysis.facts import FactStanding, facts_in
from activities.analysis.graph import Graph
from activities.answers import COLUMNS, compacted, decode
from activities.memory.ledger import ANEW, ArtifactLostError, Ledger
from activities.telemetry.planning import ALERT
from workflows.contracts.alert import Alert
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.investigation import FindingsResult, RecallResult, StepInput
from workflows.contracts.model import Opinion
from workflows.contracts.observation import Observation
from workflows.contracts.probe import MEMORY_TOOLS, Probe, Window, entity_of
from workflows.contracts.report import DataGap, RecalledPassage
from workflows.steps import FINDINGS, RECALL

WRITTEN = ("knowledge", "remedies")
"""Tools whose answers are no telemetry: what people wrote, not what was measured."""


TOPOLOGY = ("topology", "known_topology")


def load_evidence(ledger: Ledger, given: StepInput) -> Evidence:
    """Every answer with rows, decoded. One that a restore lost is left out; the context names it."""
    answers = []
    for probe, observation in _answered(ledger):
        if probe.tool in WRITTEN:
            continue
        if observation is None or observation.artifact is None:
            continue
        try:
            rows = compacted(decode(ledger.artifact(observation.artifact)))
        except ArtifactLostError:
            continue
        since = observation.coverage.window.start if observation.coverage is not None else None
        answers.append(AnsweredProbe(probe=probe, artifact=observation.artifact, rows=rows, since=since))
    topology = [item.rows for item in answers if item.probe.tool in TOPOLOGY]
    return Evidence(
        alerts=resolved_alerts(ledger, given),
        as_of=given.request.as_of,
        answers=tuple(answers),
        graph=Graph.from_answer(pl.concat([_nothing(), *topology], how="diagonal_relaxed")),
    )


def load_context(ledger: Ledger, given: StepInput) -> IncidentContext:
    """What ranking and reporting know beside the findings; of the answers only the topology is decoded."""
    alerts, as_of = resolved_alerts(ledger, given), given.request.as_of
    known = _answered(ledger)
    answered = [item for item in known if item[0].tool not in MEMORY_TOOLS]
    gaps, lost = _data_gaps(answered, given), _lost(ledger, answered)
    found = ledger.step(f"{FINDINGS.name}:{given.round}", FindingsResult)
    recalled = ledger.step(f"{RECALL.name}:0", RecallResult) or RecallResult()
    return IncidentContext(
        alerts=alerts,
        as_of=as_of,
        graph=_graph(ledger, known, lost),
        window=_window(alerts, as_of, found.telemetry_from if found is not None else None),
        has_telemetry=any(
            observation is not None and observation.artifact is not None and probe.tool in TELEMETRY
            for probe, observation in answered
        ),
        measured=frozenset(
            EntityId(entity)
            for probe, observation in answered
            if observation is not None
            and observation.artifact is not None
            and observation.row_count
            and probe.tool in TELEMETRY
            and (entity := entity_of(probe))
        ),
        data_gaps=tuple(grouped([*gaps, *lost.values()])),
        probes_planned=len(answered),
        hints=tuple(ledger.hints(given.hints)),
        facts=_facts(ledger, known, as_of),
        recalled=recalled.sentences,
        passages=tuple(
            passage
            for probe, observation in known
            if probe.tool == "knowledge" and observation is not None
            for passage in passages_in(ledger, observation)
        ),
        opinions=_opinions(ledger, given.round % ANEW),
        change_opinions=tuple(
            item for turn in ledger.turns() if turn.round < given.round % ANEW for item in turn.changes
        ),
        stopped_by=given.stopped_by,
    )


def least_context(ledger: Ledger, given: StepInput) -> IncidentContext:
    """The alerts and nothing else, for a report that must come whatever is broken."""
    alerts, as_of = resolved_alerts(ledger, given), given.request.as_of
    return IncidentContext(
        alerts=alerts,
        as_of=as_of,
        graph=Graph.from_answer(_nothing()),
        window=_window(alerts, as_of, None),
        has_telemetry=False,
        stopped_by=given.stopped_by,
    )


def grouped(data_gaps: list[DataGap]) -> list[DataGap]:
    """One entry for all queries of a tool that share a reason; its entity is named when there is just one."""
    groups: dict[tuple[str, str, str], list[DataGap]] = {}
    for item in data_gaps:
        groups.setdefault((item.tool, item.status.value if item.status else "", item.reason), []).append(item)
    return [
        items[0].model_copy(update={"count": len(items), "entity": items[0].entity if len(items) == 1 else None})
        for _, items in sorted(groups.items())
    ]


def _answered(ledger: Ledger) -> list[tuple[Probe, Observation | None]]:
    observations = ledger.observations()
    return [(probe, observations.get(probe.key)) for probe in ledger.probes()]


def resolved_alerts(ledger: Ledger, given: StepInput) -> tuple[Alert, ...]:
    """The alerts, each about the entity that its labels were resolved to where somebody knew better than the alert."""
    resolved = _resolved(ledger) if given.request.sources else {}
    return tuple(
        item.alert.model_copy(update={"entity": resolved.get(item.number, item.alert.entity)})
        for item in ledger.alerts()
        if item.number <= given.alerts
    )


def _resolved(ledger: Ledger) -> dict[int, EntityId]:
    """Entities by the number of the alert."""
    observation = ledger.observations().get(next((p.key for p in ledger.probes() if p.tool == "names"), ProbeKey("")))
    if observation is None or observation.artifact is None:
        return {}
    try:
        rows = decode(ledger.artifact(observation.artifact))
    except ArtifactLostError:
        return {}
    found = rows.filter(pl.col("source").str.starts_with(f"{ALERT}:"), pl.col("entity") != "")
    return {int(source.partition(":")[2]): EntityId(name) for source, name in found.select("source", "entity").rows()}


def _data_gaps(answered: list[tuple[Probe, Observation | None]], given: StepInput) -> list[DataGap]:
    found = []
    for probe, observation in answered:
        if observation is None:
            reason = f"not queried: {given.stopped_by or 'budget'}"
            found.append(DataGap(tool=probe.tool, entity=entity_of(probe), reason=reason))
        elif observation.status not in ("ok", "empty") or observation.detail:
            reason = observation.detail or observation.status.value
            found.append(DataGap(tool=probe.tool, entity=entity_of(probe), status=observation.status, reason=reason))
    if not answered:
        found.append(DataGap(tool="topology", reason="what exists could not be found out, so nothing was queried"))
    return found


def _lost(ledger: Ledger, answered: list[tuple[Probe, Observation | None]]) -> dict[ProbeKey, DataGap]:
    """Answers whose artifact is not in the store any more, by probe."""
    wanted = {item.artifact for _, item in answered if item is not None and item.artifact is not None}
    missing = wanted - ledger.stored_artifacts(wanted)
    return {
        probe.key: DataGap(
            tool=probe.tool,
            entity=entity_of(probe),
            reason=f"artifact {item.artifact} is not in the ledger; was an older backup restored?",
        )
        for probe, item in answered
        if item is not None and item.artifact in missing
    }


def _graph(ledger: Ledger, known: list[tuple[Probe, Observation | None]], lost: dict[ProbeKey, DataGap]) -> Graph:
    """What the environment answered now, and what was known of it before."""
    found = [_nothing()]
    for probe, observation in known:
        if probe.tool in TOPOLOGY and observation is not None and observation.artifact and probe.key not in lost:
            with suppress(ArtifactLostError):
                found.append(decode(ledger.artifact(observation.artifact)))
    return Graph.from_answer(pl.concat(found, how="diagonal_relaxed"))


def _opinions(ledger: Ledger, before: int) -> tuple[Opinion, ...]:
    """A model's last word on each suspect, from the turns before a round."""
    said = {item.entity: item for turn in ledger.turns() if turn.round < before for item in turn.opinions}
    return tuple(said[name] for name in sorted(said) if said[name].weight)


def _facts(
    ledger: Ledger, answered: list[tuple[Probe, Observation | None]], as_of: datetime
) -> tuple[FactStanding, ...]:
    """What people know; what a restore lost is left out."""
    found: list[FactStanding] = []
    for probe, observation in answered:
        if probe.tool == "facts" and observation is not None and observation.artifact is not None:
            with suppress(ArtifactLostError):
                found += facts_in(decode(ledger.artifact(observation.artifact)), as_of)
    return tuple(found)


def passages_in(ledger: Ledger, observation: Observation) -> tuple[RecalledPassage, ...]:
    """The passages of an answer; none if a restore lost it."""
    if observation.artifact is None:
        return ()
    with suppress(ArtifactLostError):
        rows = decode(ledger.artifact(observation.artifact)).to_dicts()
        return tuple(RecalledPassage.model_validate(row) for row in rows)
    return ()


def _window(alerts: tuple[Alert, ...], as_of: datetime, telemetry_from: datetime | None) -> Window:
    starts = [alert.starts_at for alert in alerts] + [as_of] + ([telemetry_from] if telemetry_from else [])
    return Window(start=min(starts), end=as_of)


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema=COLUMNS["topology"])
