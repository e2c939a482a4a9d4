"""Keeps the library as its sources are, in the background: what changed is read again, what has no vector gets one."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.memory.knowledge.embedding import embedded
from activities.memory.knowledge.exceptions import DocumentError, EmbedderError
from activities.memory.knowledge.ingestion import Ingested, Progressed, ingest
from activities.memory.knowledge.library import Library, Subject
from activities.memory.store import Store
from activities.progress import beating, progressed
from workflows.contracts.knowledge import Document, EmbedResult, RefreshResult, UpkeepInput
from workflows.steps import EMBED_LIBRARY, REFRESH_LIBRARY

LOG = structlog.stdlib.get_logger(__name__)
LONGEST_EMBEDDING = timedelta(minutes=20)
"""Of one turn; what is missing then waits for the next."""

EMBEDDED_AT_ONCE = 4
"""Chunks between two looks whether to stop: the slow model takes a second or two for them."""

NICENESS = 19
"""Investigations come first."""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What became of one source."""

    source: str
    ingested: Ingested | None
    problem: str = ""
    """Why it was not read; its documents stay."""


def refresh(
    library: Library,
    *,
    at: datetime,
    progressed: Callable[[str], Progressed] = lambda _source: lambda _done, _all: None,
) -> Iterator[Refreshed]:
    """Read every source again: what changed is taken in, what is gone is forgotten; a source that is away stays.

    Args:
        library: whose sources.
        at: when.
        progressed: gives, for a source, what is told how far it is.
    """
    for source in library.sources():
        if not Path(source).exists():
            yield Refreshed(source=source, ingested=None, problem=f"{source} is not there; its documents stay")
            continue
        subject = _subject_of(library.documents(source)[0])
        try:
            done = ingest(library, Path(source), subject, at=at, progressed=progressed(source))
        except DocumentError as error:  # nothing is left of it, which may be a disk that is not mounted
            yield Refreshed(source=source, ingested=None, problem=f"{error} Its documents stay")
        else:
            yield Refreshed(source=source, ingested=done)


class UpkeepActivities:
    """The steps of a library's upkeep, for every tenant of one database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name=REFRESH_LIBRARY, no_thread_cancel_exception=True)
    def refresh(self, given: UpkeepInput) -> RefreshResult:
        """Read every source of this machine again."""
        if self._store.library(given.tenant).is_empty():
            return RefreshResult()
        library = self._store.library(given.tenant, embedded())
        changed = forgotten = unreadable = away = 0
        _step_aside()
        with beating():
            for item in refresh(library, at=datetime.now(UTC), progressed=lambda _source: _beat):
                if item.ingested is None:
                    away += 1
                    LOG.warning("library.source_away", reason=item.problem)
                    continue
                changed += item.ingested.counts["added"] + item.ingested.counts["updated"]
                forgotten += item.ingested.forgotten
                unreadable += len(item.ingested.problems)
        return RefreshResult(changed=changed, forgotten=forgotten, unreadable=unreadable, sources_away=away)

    @activity.defn(name=EMBED_LIBRARY, no_thread_cancel_exception=True)
    def embed(self, given: UpkeepInput) -> EmbedResult:
        """Compute vectors that are missing, for as long as a turn lasts."""
        library, until = self._store.library(given.tenant), time.monotonic() + LONGEST_EMBEDDING.total_seconds()
        done = missing = 0
        if library.is_empty():
            return EmbedResult(embedded=0, missing=0)
        _step_aside()
        with beating():
            for embedder in self._store.embedders():
                try:
                    while time.monotonic() < until and not _unwanted():
                        count = library.embed_missing(embedder, at=datetime.now(UTC), limit=EMBEDDED_AT_ONCE)
                        done += count
                        progressed()
                        if not count:
                            break
                except EmbedderError as error:
                    LOG.warning("library.not_embedded", model=embedder.model.name, reason=str(error))
                missing += library.without_vectors(embedder.model)
        return EmbedResult(embedded=done, missing=missing)


def _beat(_done: int, _all: int) -> None:
    """Say that a document is done; a worker that ends leaves the others to the next attempt."""
    progressed()
    if _unwanted():
        raise ApplicationError("the worker ends: what was taken in stays", type="StepInterruptedError")


def _unwanted() -> bool:
    return activity.is_cancelled() or activity.is_worker_shutdown()


def _step_aside() -> None:
    """On Linux a thread has a priority of its own. It stays so: these threads do nothing else."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _subject_of(document: Document) -> Subject:
    return Subject(
        kind=document.kind,
        services=document.services,
        valid_from=document.valid_from,
        valid_until=document.valid_until,
    )
