"""What an investigation recalls of documents: the runbook that its alerts name, and what reads like them."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
import structlog

from activities.answers import COLUMNS
from activities.memory.knowledge.embedding import Embedder
from activities.memory.knowledge.exceptions import EmbedderError
from activities.memory.knowledge.library import Library, plain_name
from activities.memory.knowledge.search import BY_NAME, Query
from activities.memory.store import Store
from activities.telemetry.backend import Answer, answered
from workflows.contracts.alert import Alert
from workflows.contracts.identifiers import Name, Tenant
from workflows.contracts.knowledge import Passage
from workflows.contracts.probe import KnowledgeProbe, RemediesProbe, Window

LOG = structlog.stdlib.get_logger(__name__)
BACKEND = Name("memory")
ALERT_NAME, RUNBOOK = "alertname", "runbook_url"
SAID = ("summary", "description", "message")
"""Annotations in which people write what an alert means."""

LONGEST_TEXT = 4_000
MOST_NAMES = 100


def knowledge_probe(alerts: Sequence[Alert], as_of: datetime) -> KnowledgeProbe:
    """What is looked for: what the alerts say, and the runbooks that they name.

    Args:
        alerts: redacted.
        as_of: documents must be valid then.
    """
    said = dict.fromkeys(
        text
        for alert in alerts
        for text in (
            alert.title,
            alert.labels.get(ALERT_NAME, ""),
            *(alert.annotations.get(name, "") for name in SAID),
        )
        if text
    )
    named = dict.fromkeys(
        name
        for alert in alerts
        for given in (alert.annotations.get(RUNBOOK, ""), alert.labels.get(ALERT_NAME, ""))
        if given and (name := plain_name(given)[:200])
    )
    services = {alert.entity.partition(":")[2] for alert in alerts if alert.entity is not None}
    return KnowledgeProbe(
        backend=BACKEND,
        window=Window(start=as_of, end=as_of),
        text="\n".join(said)[:LONGEST_TEXT],
        names=tuple(named)[:MOST_NAMES],
        services=tuple(sorted(services))[:MOST_NAMES],
    )


def remedies_probe(found: str, service: str | None, as_of: datetime) -> RemediesProbe:
    """What is looked for once a cause was found.

    Args:
        found: what was found, in words.
        service: whose documents are looked through, beside those about none in particular.
        as_of: documents must be valid then.
    """
    return RemediesProbe(
        backend=BACKEND,
        window=Window(start=as_of, end=as_of),
        text=found[:LONGEST_TEXT],
        services=() if service is None else (service,),
    )


def remedies_answer(store: Store, tenant: Tenant, probe: RemediesProbe) -> Answer:
    """The passages that fit what was found, best first, by the models that are at hand at once."""
    query = Query(text=probe.text, at=probe.window.end, services=probe.services or None, limit=probe.max_rows)
    found, detail = found_by(store, tenant, query, [item for item in store.embedders() if item.immediate])
    rows = [_row(item, "fits what was found") for item in found]
    return answered(pl.DataFrame(rows, schema=COLUMNS["remedies"]), probe.window, detail=detail)


def answer_of(store: Store, tenant: Tenant, probe: KnowledgeProbe) -> Answer:
    """The passages that fit, best first; a model that is away costs its ranking alone, and the answer says so."""
    query = Query(
        text=probe.text,
        at=probe.window.end,
        services=probe.services or None,
        names=probe.names,
        limit=probe.max_rows,
    )
    found, detail = found_by(store, tenant, query, store.embedders())
    rows = [_row(item, "reads like the alert") for item in found]
    return answered(pl.DataFrame(rows, schema=COLUMNS["knowledge"]), probe.window, detail=detail)


def found_by(store: Store, tenant: Tenant, query: Query, embedders: Sequence[Embedder]) -> tuple[list[Passage], str]:
    """The passages that fit, best first, and what was missing: an endpoint that is away costs its own ranking alone."""
    library = store.library(tenant)
    try:
        return store.search(tenant, _ready(library, embedders)).find(query), ""
    except EmbedderError as error:
        LOG.warning("recall.without_model", reason=str(error))
        without = [item for item in embedders if item is not store.endpoint]
        return store.search(tenant, _ready(library, without)).find(query), f"without one model: {error}"


def _ready(library: Library, embedders: Sequence[Embedder]) -> list[Embedder]:
    """The models that have embedded something: none is loaded in vain."""
    models = library.models()
    return [item for item in embedders if (item.model.name, item.model.build) in models] if models else []


def _row(passage: Passage, fits: str) -> dict[str, object]:
    named = BY_NAME in passage.found_by
    rankings = ", ".join(item for item in passage.found_by if item != BY_NAME)
    why = "named by the alert" if named else fits
    return {
        "location": passage.location,
        "title": passage.title,
        "heading": " > ".join(passage.heading),
        "text": passage.text,
        "language": passage.language,
        "score": passage.score,
        "why": f"{why} ({rankings})" if rankings else why,
    }
