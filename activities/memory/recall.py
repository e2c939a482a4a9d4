"""What the organisation knows, as observations: each memory is asked one query, and answers with rows.

A captured investigation got its answers then, and gets them again: what was learned since is none of its business.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from activities.answers import COLUMNS
from activities.memory.feedback import FeedbackRecord
from activities.memory.incidents import Incidents
from activities.memory.knowledge.recall import BACKEND, answer_of, knowledge_probe, remedies_answer
from activities.memory.store import Store
from activities.telemetry.backend import Answer, answered
from workflows.contracts.alert import Alert
from workflows.contracts.canonical import rounded
from workflows.contracts.fact import FactState
from workflows.contracts.feedback import Feedback, Judgement
from workflows.contracts.identifiers import InvestigationId
from workflows.contracts.investigation import InvestigationRequest, Purpose
from workflows.contracts.past_incident import PastIncident
from workflows.contracts.probe import (
    FactsProbe,
    KnowledgeProbe,
    KnownTopologyProbe,
    PastIncidentsProbe,
    Probe,
    RemediesProbe,
    Window,
)

EDGE = ("source", "target", "kind", "origin")
ASC = (False,) * len(EDGE)
MOST_ALERTING = 100
CapturedFor = Callable[[InvestigationRequest], "Sequence[tuple[Probe, Answer]] | None"]
"""What a captured investigation recalled; None for one that is none."""


def not_captured(_request: InvestigationRequest) -> None:
    """For where nothing is ever replayed from captured answers."""


@dataclass(frozen=True)
class Recall:
    """Asks every memory of one tenant."""

    store: Store
    request: InvestigationRequest
    alerts: Sequence[Alert]
    """Redacted."""

    def probes(self) -> list[Probe]:
        """One query a memory that holds anything, so that an empty one costs no row.

        An evaluation has a memory of its own: what people wrote down or know by now would be an answer from the
        future.
        """
        request, now = self.request, Window(start=self.request.as_of, end=self.request.as_of)
        found: list[Probe] = []
        near = tuple(sorted({item.entity for item in self.alerts if item.entity is not None})[:MOST_ALERTING])
        incidents = self.store.incidents(request.tenant)
        if incidents.past(scope=request.memory_scope, as_of=request.as_of, limit=1):
            found.append(PastIncidentsProbe(backend=BACKEND, window=now, scope=request.memory_scope, alerting=near))
        if request.purpose is Purpose.EVALUATION:
            return found
        if request.sources and near and not self.store.topology(request.tenant).is_empty(request.environment):
            found.append(
                KnownTopologyProbe(backend=BACKEND, window=now, environment=request.environment, entities=near)
            )
        if self.store.facts(request.tenant).known([FactState.ACCEPTED], limit=1):
            found.append(FactsProbe(backend=BACKEND, window=now))
        if not self.store.library(request.tenant).is_empty():
            found.append(knowledge_probe(self.alerts, request.as_of))
        return found

    def answer(self, probe: Probe) -> Answer:
        """What a memory says.

        Raises:
            TypeError: the query is no memory's.
        """
        tenant = self.request.tenant
        match probe:
            case KnowledgeProbe():
                return answer_of(self.store, tenant, probe)
            case RemediesProbe():
                return remedies_answer(self.store, tenant, probe)
            case FactsProbe():
                return self._facts(probe)
            case PastIncidentsProbe():
                return _past(self.store.incidents(tenant), self.store.feedback(tenant), probe)
            case KnownTopologyProbe():
                return self._topology(probe)
            case _:
                raise TypeError(f"no memory answers {probe.tool}")

    def _facts(self, probe: FactsProbe) -> Answer:
        known = self.store.facts(self.request.tenant).known([FactState.ACCEPTED], limit=probe.max_rows + 1)
        rows = [
            {
                "fact_id": item.fact.fact_id,
                "ts": item.decision.decided_at,
                "subject": item.fact.subject,
                "statement": item.fact.statement,
                "effect": item.fact.effect.value,
                "owner": item.fact.owner or item.fact.author,
                "body": item.fact.model_dump_json(),
            }
            for item in known
        ]
        return answered(pl.DataFrame(rows[: probe.max_rows], schema=COLUMNS["facts"]), probe.window, total=len(rows))

    def _topology(self, probe: KnownTopologyProbe) -> Answer:
        record = self.store.topology(self.request.tenant)
        edges = record.around(probe.environment, probe.entities, at=probe.window.end, hops=probe.hops)
        rows = [
            {
                "source": item.source,
                "target": item.target,
                "kind": item.kind.value,
                "origin": item.origin,
                "confidence": rounded(item.confidence),
            }
            for item in edges
        ]
        known = pl.DataFrame(rows, schema=COLUMNS["known_topology"]).sort("confidence", *EDGE, descending=[True, *ASC])
        return answered(known.head(probe.max_rows), probe.window, total=known.height)


def _past(incidents: Incidents, feedback: FeedbackRecord, probe: PastIncidentsProbe) -> Answer:
    past = incidents.past(
        scope=probe.scope, as_of=probe.window.end, alerting=probe.alerting, limit=probe.max_rows, judged_first=True
    )
    known = [item.investigation_id for item in past if item.investigation_id is not None]
    said = feedback.latest(known, until=probe.window.end) if known else {}
    rows = list(_past_rows(past, said))
    return answered(pl.DataFrame(rows, schema=COLUMNS["past_incidents"]), probe.window)


def _past_rows(past: Sequence[PastIncident], said: dict[InvestigationId, Feedback]) -> Iterator[dict[str, object]]:
    for item in past:
        word = said.get(item.investigation_id) if item.investigation_id is not None else None
        yield {
            "investigation_id": item.investigation_id or "",
            "ts": item.known_from,
            "title": item.title,
            "entity": item.entity or "",
            "fault_kind": item.fault_kind,
            "sentence": item.sentence,
            "judgement": "" if word is None else word.judgement.value,
            "cause": confirmed_cause(item, word) or "",
            "alerting": list(item.alerting),
            "signs": [sign.model_dump(mode="json") for sign in item.signs],
        }


def confirmed_cause(past: PastIncident, said: Feedback | None) -> str | None:
    """The root cause by a person's word: the one that they named, else the verdict's that they did not reject."""
    if said is None or said.judgement is Judgement.UNKNOWN:
        return None
    return said.cause or (None if said.judgement is Judgement.WRONG else past.entity)
