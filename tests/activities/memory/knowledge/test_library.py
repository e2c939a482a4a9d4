"""Documents are stored once and forgotten whole; passages are found by words and by meaning."""

import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import bm25s
import numpy as np
import pytest
from sqlalchemy import select, text

from activities.memory.knowledge import search as searching
from activities.memory.knowledge.embedding import Embedder, ModelName, Vectors, embeddable, embedded
from activities.memory.knowledge.exceptions import DocumentError
from activities.memory.knowledge.ingestion import ingest
from activities.memory.knowledge.library import Library, NewDocument, Subject, content_digest
from activities.memory.knowledge.reading import read_document
from activities.memory.knowledge.search import K1, B, Hit, Pool, Query, Search, merge_languages, standing_out_of
from activities.memory.knowledge.sections import ReadDocument, Section
from activities.memory.knowledge.words import words
from activities.memory.session import of_tenant
from activities.memory.tables import CHUNK, DOCUMENT, DOCUMENT_VERSION, EMBEDDING, METADATA, POSTING, TERM
from workers.installation import Installation
from workflows.contracts.identifiers import Tenant
from workflows.contracts.knowledge import DocumentKind

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WORDS = [
    "disk",
    "full",
    "pod",
    "crash",
    "queue",
    "lock",
    "slow",
    "query",
    "timeout",
    "certificate",
    "expired",
    "memory",
    "leak",
    "node",
    "drain",
    "retry",
]


ABOUT_ALL = Subject()


class Directions:
    """A model of four dimensions: how much of four words a text has."""

    NAMES = ("disk", "queue", "lock", "memory")

    def __init__(self, name: str = "directions", *, immediate: bool = True) -> None:
        self.model = ModelName(name=name, build="1", dimensions=256)
        self.immediate = immediate
        self.languages: frozenset[str] | None = None

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors."""
        rows = np.full((len(texts), 256), 1e-3, dtype=np.float32)
        for row, text_ in zip(rows, texts, strict=True):
            row[: len(self.NAMES)] += [text_.count(name) for name in self.NAMES]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def query(self, text: str) -> Vectors:
        """A vector."""
        return self.passages([text])


class Shelf:
    """A tenant of its own."""

    def __init__(self, installation: Installation, *embedders: Embedder) -> None:
        self.tenant = Tenant(f"shelf-{uuid4()}")
        self.installation = installation
        self.embedders = embedders
        self.library: Library = installation.store.library(self.tenant, embedders)
        self.search: Search = installation.store.search(self.tenant, embedders)

    def add(self, location: str, body: str, subject: Subject = ABOUT_ALL, *, source: str = "s") -> str:
        document = ReadDocument(title="", sections=(Section(heading=(), text=body),))
        digest = content_digest(body.encode())
        new = NewDocument(source=source, location=location, content_sha256=digest, document=document, subject=subject)
        return self.library.add(new, at=NOON)

    def find(self, asked: str, *rankings: str, among: Query | None = None) -> list[str]:
        query = replace(among or Query(text="", at=NOON), text=asked)
        return [item.location for item in self.search.find(query, rankings or None)]

    def counts(self) -> dict[str, int]:
        """Rows of the tenant in every table of the library."""
        tables = [table for table in METADATA.sorted_tables if table.schema == "knowledge"]
        with of_tenant(self.installation.store.engine, self.tenant).connect() as connection:
            return {table.name: len(connection.execute(select(table)).all()) for table in tables}


@pytest.fixture
def shelf(installation: Installation) -> Shelf:
    return Shelf(installation, Directions())


def test_a_document_is_stored_once_and_in_its_newest_version(shelf: Shelf) -> None:
    assert shelf.add("a.md", "the disk is full") == "added"
    assert shelf.add("a.md", "the disk is full") == "unchanged"
    assert shelf.add("copy.md", "the disk is full") == "duplicate"
    assert shelf.add("a.md", "the queue is long") == "updated"
    [document] = shelf.library.documents()
    assert (document.version, document.chunks) == (2, 1)
    assert shelf.find("disk", "bm25") == []
    assert shelf.find("queue", "bm25") == ["a.md"]
    assert shelf.counts()["document_version"] == 2, "the earlier one is kept"
    found = shelf.library.text_of("a.md")
    assert found is not None
    assert found[1] == "the queue is long"


def test_what_is_forgotten_leaves_no_trace(shelf: Shelf) -> None:
    shelf.add("a.md", "the disk is full")
    before = shelf.counts()
    shelf.add("b.md", "a lock is held on the disk", source="folder")
    shelf.add("b.md", "a lock is held on the queue", source="folder")
    assert shelf.library.forget("folder") == 1
    assert shelf.library.forget("folder") == 0
    counts = shelf.counts()
    assert counts.pop("term") >= before.pop("term")
    assert counts == before
    with of_tenant(shelf.installation.store.engine, shelf.tenant).connect() as connection:
        in_use = {row.term for row in connection.execute(select(TERM)) if row.chunks}
    assert in_use == set(words("the disk is full"))


def test_the_librarian_may_change_no_record(installation: Installation) -> None:
    with installation.engine.begin() as connection:
        for table in METADATA.sorted_tables:
            allowed = connection.scalar(
                text("SELECT has_table_privilege('inquest_knowledge', CAST(:name AS regclass)::oid, 'UPDATE, DELETE')"),
                {"name": f"{table.schema}.{table.name}"},
            )
            of_the_library = table.schema in ("knowledge", "topology") and not table.name.startswith("fact")
            assert allowed is of_the_library, table.name


def corpus(size: int, seed: int = 7) -> list[str]:
    drawn = random.Random(seed)
    weights = range(1, 1 + len(WORDS))
    return [" ".join(drawn.choices(WORDS, weights=weights, k=drawn.randint(3, 60))) for _ in range(size)]


@pytest.mark.parametrize("exact", [True, False])
def test_words_are_scored_as_bm25s_scores_them(
    installation: Installation, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, texts = Shelf(installation), corpus(60)
    for number, body in enumerate(texts):
        shelf.add(f"{number:03}.md", body)
    if not exact:  # as of a library with millions of words
        monkeypatch.setattr(searching, "EXACT_POSTINGS", 20)
        monkeypatch.setattr(searching, "RARE_POSTINGS", 60)
    oracle = bm25s.BM25(method="lucene", k1=K1, b=B)
    stored = [shelf.library.text_of(f"{number:03}.md") for number in range(len(texts))]
    oracle.index([words(f"{item[0].title}\n{item[1]}") for item in stored if item is not None], show_progress=False)
    asked = "lock certificate drain"
    scores = oracle.get_scores(words(asked))
    query = Query(text=asked, at=NOON, limit=50)
    with of_tenant(installation.store.engine, shelf.tenant).connect() as connection:
        pool = shelf.search._pool(connection, query)
        found = shelf.search.by_words(connection, asked, pool, limit=60)
        rows = connection.execute(
            select(CHUNK.c.chunk_id, DOCUMENT.c.location).join_from(
                CHUNK, DOCUMENT, CHUNK.c.document_id == DOCUMENT.c.document_id
            )
        )
        number_of = {row.chunk_id: int(row.location.removesuffix(".md")) for row in rows}
    assert [hit.score for hit in found] == pytest.approx([scores[number_of[hit.chunk_id]] for hit in found], abs=1e-5)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    if exact:
        assert len(found) == int((scores > 0).sum())


def test_filters_hold_inside_of_every_ranking(shelf: Shelf) -> None:
    shelf.add("all.md", "disk full for all")
    shelf.add("payment.md", "disk full of payment", Subject(services=("payment",)))
    shelf.add("checkout.md", "disk full of checkout", Subject(services=("checkout", "cart")))
    shelf.add("post.md", "disk full then", Subject(kind=DocumentKind.POSTMORTEM))
    shelf.add("past.md", "disk full in the past", Subject(valid_until=NOON))
    shelf.add("later.md", "disk full later", Subject(valid_from=NOON + timedelta(days=1)))
    for ranking in ("bm25", "directions"):
        assert set(shelf.find("disk full", ranking)) == {"all.md", "payment.md", "checkout.md", "post.md"}
        assert set(shelf.find("disk full", ranking, among=Query(text="", at=NOON, services=("cart",)))) == {
            "all.md",
            "checkout.md",
            "post.md",
        }
        assert shelf.find("disk full", ranking, among=Query(text="", at=NOON, kinds=(DocumentKind.POSTMORTEM,))) == [
            "post.md"
        ]
        assert "past.md" in shelf.find("disk full", ranking, among=Query(text="", at=NOON - timedelta(seconds=1)))
        assert "later.md" in shelf.find("disk full", ranking, among=Query(text="", at=NOON + timedelta(days=2)))


def test_a_graph_of_vectors_finds_what_exact_distances_find(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(installation, Directions())
    for number, body in enumerate(corpus(80, seed=3)):
        shelf.add(f"{number}.md", body, Subject(services=("rare",) if number % 20 == 0 else ("often",)))
    exact = shelf.find("lock lock memory", "directions", among=Query(text="", at=NOON, services=("rare",)))
    monkeypatch.setattr(searching, "EXACT_VECTORS", 1)
    assert shelf.find("lock lock memory", "directions", among=Query(text="", at=NOON, services=("rare",))) == exact
    assert len(exact) == 4


def test_rankings_are_fused_and_named(shelf: Shelf) -> None:
    shelf.add("both.md", "queue queue queue")
    shelf.add("words.md", "a certificate of the queue, on disk")
    shelf.add("none.md", "memory")
    found = shelf.search.find(Query(text="queue", at=NOON))
    assert found[0].location == "both.md"
    assert found[0].found_by == ("bm25:1", "directions:1")
    assert found[0].score == pytest.approx(2 / 61)


def test_a_document_that_is_meant_comes_first(shelf: Shelf) -> None:
    shelf.add("runbooks/DiskFull.md", "memory memory")
    shelf.add("other.md", "disk full disk full")
    found = shelf.search.find(Query(text="disk full", at=NOON, names=("diskfull",)))
    assert found[0].location == "runbooks/DiskFull.md"
    assert found[0].found_by[0] == "name"


def test_slow_models_follow_and_models_are_not_mixed(installation: Installation) -> None:
    slow, newer = Directions("slow", immediate=False), Directions("slow", immediate=False)
    newer.model = ModelName(name="slow", build="2", dimensions=256)
    shelf = Shelf(installation, Directions(), slow)
    for number in range(5):
        shelf.add(f"{number}.md", f"the disk number {number}")
    assert shelf.find("disk", "slow") == []
    assert shelf.library.without_vectors(slow.model) == 5
    assert [shelf.library.embed_missing(slow, at=NOON, limit=3) for _ in range(3)] == [3, 2, 0]
    assert len(shelf.find("disk", "slow")) == 5
    assert shelf.library.without_vectors(newer.model) == 5, "another build's vectors are not its own"
    assert {name for name, _ in shelf.library.models()} == {"directions", "slow"}


def test_secrets_are_replaced_before_anything_is_stored(shelf: Shelf) -> None:
    secret = "AKIA" + "IOSFODNN7EXAMPLQ"
    shelf.add("a.md", f"log in with aws_access_key_id={secret} and mail ops@example.com about the disk")
    with of_tenant(shelf.installation.store.engine, shelf.tenant).connect() as connection:
        for table in (CHUNK, DOCUMENT, TERM):
            rows = str(connection.execute(select(table)).all())
            assert secret.lower() not in rows.lower(), table.name
            assert "ops@example.com" not in rows
    found = shelf.library.text_of("a.md")
    assert found is not None
    assert secret not in found[1]


def test_writers_at_once_count_every_word_once(shelf: Shelf) -> None:
    texts = corpus(24, seed=5)

    def write(numbers: Sequence[int]) -> None:
        for number in numbers:
            shelf.add(f"{number}.md", texts[number])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [range(24), range(23, -1, -1), range(0, 24, 2), range(1, 24, 2)]))
    with of_tenant(shelf.installation.store.engine, shelf.tenant).connect() as connection:
        counted = {row.term_id: row.chunks for row in connection.execute(select(TERM))}
        postings = connection.execute(select(POSTING.c.term_id, POSTING.c.chunk_id)).all()
    assert counted == {term: sum(row.term_id == term for row in postings) for term in counted}
    assert shelf.counts()["chunk"] == len(set(texts))


def test_a_folder_is_taken_in_again_and_again(shelf: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "runbooks"
    (folder / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "x.md").write_text("hidden")
    (folder / "a.md").write_text("# A\n\ndisk")
    (folder / "deep" / "b.html").write_text("<h1>B</h1><p>queue</p>")
    (folder / "broken.pdf").write_bytes(b"no pdf")
    (folder / "image.png").write_bytes(b"")
    os.symlink(folder, folder / "deep" / "loop")
    os.symlink("/etc/hostname", folder / "outside.txt")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.md")).write_text("a name that is no text")
    seen: list[tuple[int, int]] = []
    done = ingest(shelf.library, folder, Subject(), at=NOON, progressed=lambda *given: seen.append(given))
    assert done.counts == {"added": 2}
    assert [error.problem[:8] for error in done.problems] == ["is no re", "has a na"]
    assert seen[-1] == (4, 4)
    (folder / "a.md").write_text("# A\n\nlock")
    (folder / "deep" / "b.html").unlink()
    done = ingest(shelf.library, folder, Subject(), at=NOON)
    assert (done.counts, done.forgotten) == ({"updated": 1}, 1)
    assert shelf.find("queue", "bm25") == []
    with pytest.raises(DocumentError, match="holds no document"):
        ingest(shelf.library, tmp_path / "nothing", Subject(), at=NOON)


def test_the_embedded_models_find_by_meaning(installation: Installation) -> None:
    models = embedded()
    assert models, "both come with the installation"
    shelf = Shelf(installation, *models)
    shelf.add("space.md", "There is no space left on the volume; remove old files.")
    shelf.add("cert.md", "The TLS certificate is no longer valid; renew it.")
    shelf.add("platz.md", "Auf dem Datenträger ist kein Speicherplatz mehr frei, löschen Sie alte Dateien.")
    for embedder in models:
        while shelf.library.embed_missing(embedder, at=NOON):
            pass
        assert embedder.query("disk full").shape == (1, embedder.model.dimensions)
        assert shelf.find("storage capacity is exhausted", embedder.model.name)[0] in ("space.md", "platz.md")
    for odd in ("", "\x00", "a\ud800b", "x" * 100_000):
        for embedder in models:
            assert np.isfinite(embedder.passages([odd])).all()
    assert embeddable("a\x00b\ud800") == "a b?"


def test_versions_stay_when_only_the_subject_changes(shelf: Shelf) -> None:
    shelf.add("a.md", "disk")
    assert shelf.add("a.md", "disk", Subject(services=("x",))) == "updated"
    assert shelf.find("disk", "bm25", among=Query(text="", at=NOON, services=("y",))) == []
    with of_tenant(shelf.installation.store.engine, shelf.tenant).connect() as connection:
        assert len(connection.execute(select(DOCUMENT_VERSION)).all()) == 2
        assert len(connection.execute(select(EMBEDDING)).all()) == 1


def hits(*scores: float, language: str, first: int) -> list[tuple[int, float, tuple[str, ...]]]:
    return [(first + place, score, (language,)) for place, score in enumerate(scores)]


def test_other_languages_get_places_behind_the_first_of_the_querys_own() -> None:
    found = {
        "en": hits(0.9, 0.8, 0.7, 0.6, 0.5, language="en", first=1),
        "de": hits(0.3, 0.2, language="de", first=11),
        "fr": hits(0.3, language="fr", first=21),
        "ja": hits(0.4, language="ja", first=31),
    }
    merged = [item[0] for item in merge_languages(found, "en", {"en": 1.0, "de": 1.5, "fr": 3.0})]
    assert merged == [1, 2, 3, 21, 11, 4, 12, 5, 31], "the one that stands out first; what was not compared last"
    assert [item[0] for item in merge_languages(found, "de", {"en": 1.0, "de": 2.0})][:4] == [11, 12, 1, 2]
    assert [item[0] for item in merge_languages({"en": found["en"]}, "de", {})] == [1, 2, 3, 4, 5]
    assert merge_languages({}, "en", {}) == []


def test_a_page_stands_out_among_those_of_its_own_language() -> None:
    pool = Pool(language_of={1: "en", 2: "de"}, chunks_of={1: 3, 2: 3})
    near = [Hit(chunk_id=n, scope_id=1, score=score) for n, score in enumerate((0.90, 0.89, 0.91))]
    far = [Hit(chunk_id=n, scope_id=2, score=score) for n, score in enumerate((0.80, 0.60, 0.61), start=10)]
    standing_out = standing_out_of([*near, *far], pool)
    assert standing_out["de"] > 10 > standing_out["en"]
    assert standing_out_of(far[:1], pool) == {"de": 0.0}


def test_a_model_says_nothing_of_languages_that_it_does_not_know(installation: Installation) -> None:
    english_only = next(item for item in embedded() if item.languages == frozenset(("en",)))
    name, tenant = english_only.model.name, Tenant(f"languages-{uuid4()}")
    library = installation.store.library(tenant, [english_only])
    for location, body in (
        ("en.md", "Remove old files of the volume when there is no more space on the disk of the server."),
        ("de.md", "Alte Dateien entfernen, wenn auf der Festplatte des Servers kein Speicherplatz mehr frei ist."),
    ):
        content = body.encode()
        read = read_document(location, content)
        new = NewDocument(source="s", location=location, content_sha256=content_digest(content), document=read)
        library.add(new, at=NOON)
    search = installation.store.search(tenant, [english_only])

    def found(text: str) -> list[str]:
        return [item.location for item in search.find(Query(text=text, at=NOON), [name])]

    assert found("there is no more space left on the disk of this server") == ["en.md"], "it read no German page"
    assert found("auf der Festplatte dieses Servers ist kein Speicherplatz mehr frei") == []
