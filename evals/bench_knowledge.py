"""A library of many chunks: how fast documents come in, how long a search takes, what its short cut costs.

Words are drawn by Zipf's law from a made-up vocabulary, a tenth of each document's from a subject of its own, so that
there are common and rare words as in real pages. The vectors are those of the fast embedded model.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from activities.memory.knowledge import search as searching
from activities.memory.knowledge.embedding import embedded
from activities.memory.knowledge.ingestion import add_all
from activities.memory.knowledge.library import Library, NewDocument, Subject, content_digest
from activities.memory.knowledge.search import Query, Search
from activities.memory.knowledge.sections import ReadDocument, Section
from infra.settings import Settings
from infra.stack import wait_until_stopped
from workers.installation import open_installation
from workflows.contracts.identifiers import Tenant

SIZES = (10_000, 100_000)
"""Chunks."""

SECTIONS, WORDS = 20, 60
"""Of a document, and of a section: one chunk each."""

COMMON = tuple(
    [
        "the",
        "service",
        "is",
        "down",
        "because",
        "this",
        "request",
        "was",
        "not",
        "able",
        "to",
        "reach",
        "its",
        "database",
        "when",
        "there",
        "were",
        "too",
        "many",
        "open",
        "connections",
        "from",
        "other",
        "clients",
        "and",
        "they",
        "should",
        "be",
        "restarted",
        "after",
        "which",
        "all",
        "errors",
        "will",
        "have",
        "gone",
    ]
)
"""The most frequent words, so that the language is recognised as English."""

VOCABULARY, OF_SUBJECT = 50_000, 30
RARE_SERVICE = 100
"""One document in so many is about the service that is searched in."""

SEARCHES, ASKED = 200, 12
TENANT = Tenant("bench")
OUT = Console()


def documents(chunks: int, seed: int = 14) -> Iterator[NewDocument]:
    """Enough documents for so many chunks."""
    drawn = np.random.default_rng(seed)
    names = np.array([*COMMON, *(_word(number) for number in range(len(COMMON), VOCABULARY))])
    shares = 1 / (np.arange(VOCABULARY) + 3)
    shares /= shares.sum()
    for number in range(chunks // SECTIONS):
        own = drawn.choice(names[1_000:], OF_SUBJECT, replace=False)
        common = drawn.choice(names, (SECTIONS, WORDS - 6), p=shares)
        rare = drawn.choice(own, (SECTIONS, 6))
        sections = tuple(
            Section(heading=(f"part {place}",), text=" ".join([*common[place], *rare[place]]))
            for place in range(SECTIONS)
        )
        title = " ".join(own[:2])
        yield NewDocument(
            source="bench",
            location=f"bench/{number}.md",
            content_sha256=content_digest(f"{title} {number}".encode()),
            document=ReadDocument(title=title, sections=sections),
            subject=Subject(services=("rare",) if number % RARE_SERVICE == 0 else ("often",)),
        )


def queries(count: int, seed: int = 15) -> list[str]:
    """What is asked: words as common as those of the pages, and some of one page's subject."""
    drawn = np.random.default_rng(seed)
    found = []
    for page in documents(count * SECTIONS):
        said = drawn.choice(page.document.sections[0].text.split(), ASKED - 2, replace=False)
        found.append(" ".join([*said, *page.document.title.split()]))
    return found


def bench_knowledge() -> None:
    """Print the figures, size by size."""
    table = Table("chunks", "in, a second", "search p50", "p95", "in 1 % p50", "p95", "exact top ten kept")
    asked = queries(SEARCHES)
    models = [item for item in embedded() if item.immediate]
    with tempfile.TemporaryDirectory(prefix="inquest-bench-") as folder:
        with open_installation(Settings(data_dir=Path(folder))) as installation:
            library = installation.store.library(TENANT, models)
            search = installation.store.search(TENANT, models)
            done = 0
            for size in SIZES:
                rate = _filled(library, size, skip=done // SECTIONS)
                done = size
                everywhere = _timed(lambda text: _find(search, text), asked)
                within = _timed(lambda text: _find(search, text, "rare"), asked)
                cells = [f"{value * 1_000:.0f} ms" for times in (everywhere, within) for value in _quantiles(times)]
                table.add_row(f"{size:,}", f"{rate:.0f}", *cells, f"{_kept(search, asked):.3f}")
        wait_until_stopped(Path(folder))
    OUT.print(table)


def _filled(library: Library, size: int, *, skip: int) -> float:
    """Chunks a second."""
    pages = list(documents(size))[skip:]
    started, now = time.monotonic(), datetime.now(UTC)
    for _ in add_all(library, pages, at=now):
        pass
    return len(pages) * SECTIONS / (time.monotonic() - started)


def _find(search: Search, text: str, service: str | None = None, *rankings: str) -> list[int]:
    services = None if service is None else (service,)
    found = search.find(Query(text=text, at=datetime.now(UTC), services=services), rankings or None)
    return [item.chunk_id for item in found]


def _timed(find: Callable[[str], object], asked: Sequence[str]) -> list[float]:
    for text in asked[:10]:
        find(text)
    times = []
    for text in asked:
        started = time.monotonic()
        find(text)
        times.append(time.monotonic() - started)
    return times


def _quantiles(times: Sequence[float]) -> tuple[float, float]:
    return float(np.quantile(times, 0.5)), float(np.quantile(times, 0.95))


def _kept(search: Search, asked: Sequence[str]) -> float:
    """Of the ten best by exact BM25, the share that the search for candidates finds."""
    quick = [_find(search, text, None, "bm25") for text in asked]
    limit, searching.EXACT_POSTINGS = searching.EXACT_POSTINGS, 10**12
    try:
        exact = [_find(search, text, None, "bm25") for text in asked]
    finally:
        searching.EXACT_POSTINGS = limit
    shares = [len(set(one) & set(other)) / len(other) for one, other in zip(quick, exact, strict=True) if other]
    return float(np.mean(shares))


def _word(number: int) -> str:
    """A made-up word that no stemmer changes."""
    letters = []
    for _ in range(4):
        number, place = divmod(number, 40)
        letters.append("bdfgklmn"[place % 8] + "aiouo"[place // 8])
    return "".join(letters) + "x"
