"""The activity that says who is who and plans what to query, once every source has told what it knows."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl
from temporalio import activity

from activities.analysis.information_gain import first_look
from activities.answers import COLUMNS, decode
from activities.memory.ledger import Ledger
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.store import Store
from activities.step import Outcome, run_step
from activities.telemetry.backend import answered
from activities.telemetry.entities import Resolution, Resolver, canonical, labels_of
from activities.telemetry.observe import commit
from activities.telemetry.plan import EVENT_LOOKBACK, plan_probes
from workflows.contracts.environment import EntityMapping, SourceRef
from workflows.contracts.identifiers import EntityId
from workflows.contracts.investigation import InvestigationRequest, ScopeResult, StepInput
from workflows.contracts.probe import (
    MODALITIES,
    InventoryProbe,
    NamesProbe,
    Probe,
    TopologyProbe,
    Window,
    entity_of,
)
from workflows.steps import PLAN

RESOLVED = "resolved"
"""The backend of answers that were made from the inventories of all sources."""

ALERT = "alert"
"""The source of labels that are an alert's; followed by its number."""

MAPPING = "mapping"
"""The source of labels that a person named; followed by a number. Every later step reads them from the answer: the file
may change meanwhile."""

BEFORE_THE_PLAN = frozenset(("inventory", "names", "topology"))
"""Tools whose probes are answered when the plan is made."""


MappingsFor = Callable[[InvestigationRequest], tuple[EntityMapping, ...]]
"""What people said about who is who in the request's environment."""


class PlanningActivities:
    """Plans what to query, from what all sources know."""

    def __init__(self, store: Store, mappings_for: MappingsFor) -> None:
        self._store = store
        self._mappings_for = mappings_for

    @activity.defn(name=PLAN.name, no_thread_cancel_exception=True)
    def plan(self, given: StepInput) -> ScopeResult:
        """Resolve who is who, keep it, and plan the queries to every source."""
        return run_step(self._store, PLAN, given, self._plan)

    def _plan(self, ledger: Ledger, given: StepInput) -> Outcome:
        request = given.request
        mappings = self._mappings_for(request)
        resolver = resolver_of(ledger, mappings)
        window = Window(start=request.as_of - EVENT_LOOKBACK, end=request.as_of)
        names, topology = NamesProbe(backend=RESOLVED, window=window), TopologyProbe(backend=RESOLVED, window=window)
        rows: list[tuple[str, str, str, str]] = [
            (f"{MAPPING}:{number}", canonical(item.labels), item.entity, MAPPING)
            for number, item in enumerate(mappings)
        ]
        alerting: list[EntityId] = []
        for item in ledger.alerts():
            found = resolver.resolve(item.alert.labels)
            entity = found.entity if found.entity is not None else item.alert.entity
            if entity is not None:
                alerting.append(entity)
            rows.append((f"{ALERT}:{item.number}", canonical(item.alert.labels), entity or "", _why(found)))
        rows += [(source, labels, found.entity or "", _why(found)) for source, labels, found in resolver.names()]
        graph = resolver.topology()
        known = pl.DataFrame(rows, schema=COLUMNS["names"], orient="row")
        commit(ledger, names, answered(known.head(names.max_rows), window, total=known.height))
        commit(ledger, topology, answered(graph.head(topology.max_rows), window, total=graph.height))
        kinds = {EntityId(row["source"]): row["kind"] for row in graph.iter_rows(named=True) if not row["target"]}
        for entity in alerting:
            kinds.setdefault(entity, entity.partition(":")[0])
        full = plan_probes(
            sources=request.sources,
            as_of=request.as_of,
            kinds=kinds,
            edges=[(EntityId(row["source"]), EntityId(row["target"])) for row in graph.iter_rows(named=True)],
            alerting=alerting,
        )
        knowing = _Knowing(resolver.known_by(), request.sources)
        full = [probe for probe in full if knowing.worth_it(probe)]
        left: list[Probe] = []
        if request.budget.rounds:
            full, left = first_look(full, alerting)
        room = max(0, request.budget.probes - len(BEFORE_THE_PLAN))
        return Outcome(
            ScopeResult(
                entities=len(kinds),
                probes_planned=min(len(full), room),
                left_open=len(left),
                over_budget=max(0, len(full) - room),
            ),
            LedgerBatch().probes([names, topology, *full]).menu(left),
        )


def _why(found: Resolution) -> str:
    return f"{found.rule} ({', '.join(found.candidates)})" if found.candidates else found.rule


class _Knowing:
    """Which sources are worth querying about an entity: of several for one modality, those that know it."""

    def __init__(self, known_by: Mapping[EntityId, set[str]], sources: Sequence[SourceRef]) -> None:
        self._known_by = known_by
        self._having: dict[str, set[str]] = {
            modality: {source.name for source in sources if modality in source.modalities} for modality in MODALITIES
        }

    def worth_it(self, probe: Probe) -> bool:
        entity = entity_of(probe)
        having = self._having.get(probe.tool, set())
        knowing = having & self._known_by.get(entity, set()) if entity is not None else set()
        return not knowing or probe.backend in knowing


def resolver_of(ledger: Ledger, mappings: Sequence[EntityMapping] | None = None) -> Resolver:
    """Who is who, from the inventories that the sources have answered.

    Args:
        ledger: with the answers.
        mappings: what people said; None: what they had said when the plan was made.
    """
    observations = ledger.observations()
    inventories, planned_with = {}, []
    for probe in ledger.probes():
        observation = observations.get(probe.key)
        if observation is None or observation.artifact is None:
            continue
        if isinstance(probe, InventoryProbe):
            inventories[probe.backend] = decode(ledger.artifact(observation.artifact))
        elif isinstance(probe, NamesProbe) and mappings is None:
            planned_with = _mappings_in(decode(ledger.artifact(observation.artifact)))
    return Resolver(inventories, planned_with if mappings is None else mappings)


def _mappings_in(names: pl.DataFrame) -> list[EntityMapping]:
    rows = names.filter(pl.col("source").str.starts_with(f"{MAPPING}:")).iter_rows(named=True)
    numbered = [(int(row["source"].partition(":")[2]), row) for row in rows]
    return [
        EntityMapping(entity=row["entity"], labels=dict(labels_of(row["labels"])))
        for _, row in sorted(numbered, key=lambda item: item[0])
    ]
