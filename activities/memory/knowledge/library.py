"""The library of one tenant: documents come in, are found, and can be forgotten."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import repeat
from pathlib import PurePosixPath
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

import zstandard
from sqlalchemy import Connection, Engine, func, select, text, true
from sqlalchemy.dialects.postgresql import insert

from activities.memory.knowledge import statements
from activities.memory.knowledge.chunking import Chunk, chunks
from activities.memory.knowledge.embedding import Embedder, ModelName, Vectors
from activities.memory.knowledge.languages import language_of
from activities.memory.knowledge.sections import ReadDocument, Section
from activities.memory.knowledge.words import words
from activities.memory.session import as_librarian
from activities.memory.tables import (
    CHUNK,
    DOCUMENT,
    DOCUMENT_VERSION,
    EMBEDDING,
    EMBEDDING_MODEL,
    SCOPE,
    STATISTICS,
)
from activities.safety.redaction import REDACTION_VERSION, Redactor
from workflows.contracts.identifiers import Digest, Tenant
from workflows.contracts.knowledge import Document, DocumentKind

Added = Literal["added", "updated", "unchanged", "duplicate"]
LISTED = 10_000
EMBEDDED_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a document is about, and when it applies."""

    kind: DocumentKind = DocumentKind.RUNBOOK
    services: tuple[str, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class NewDocument:
    """A document as it was read."""

    source: str
    location: str
    content_sha256: Digest
    document: ReadDocument
    subject: Subject = Subject()


@dataclass(frozen=True, kw_only=True)
class PreparedDocument:
    """A document ready to be stored: redacted, cut and counted. All that costs time is done outside of transactions."""

    new: NewDocument
    title: str
    language: str
    chunks: list[Chunk]
    counts: list[Counter[str]]
    vectors: dict[ModelName, Vectors]


@dataclass(frozen=True, kw_only=True)
class StoredDocument:
    """What became of it, and the vectors that its chunks do not have yet."""

    outcome: Added
    chunk_ids: Sequence[int] = ()
    vectors: Mapping[ModelName, Vectors] = field(default_factory=dict)


class Library:
    """What one tenant has written down.

    Args:
        engine: its transactions name the tenant.
        tenant: whose library it is.
        redactor: nothing is stored or embedded unredacted.
        embedders: those that embed at once; others use `embed_missing`.
    """

    def __init__(self, engine: Engine, tenant: Tenant, redactor: Redactor, embedders: Sequence[Embedder]) -> None:
        self._engine = engine
        self._tenant = tenant
        self._redactor = redactor
        self._embedders = tuple(embedders)

    def add(self, new: NewDocument, *, at: datetime) -> Added:
        """Take a document in, or its next version; the same content is stored once, wherever it lies.

        Args:
            new: what was read.
            at: when.
        """
        known = self.known(new)
        if known is not None:
            return known
        stored = self.store(self.prepare(new), at=at)
        self.add_vectors(stored, at=at)
        return stored.outcome

    def known(self, new: NewDocument) -> Added | None:
        """Why there is nothing to be done for a document; None where there is."""
        with self._engine.connect() as connection:
            return self._known(connection, new)

    def store(self, prepared: PreparedDocument, *, at: datetime) -> StoredDocument:
        """Store a document and its words: from now on it is found by words.

        Args:
            prepared: the document.
            at: when.
        """
        with as_librarian(self._engine) as connection:
            connection.execute(text(statements.LOCK), {"tenant": self._tenant})
            known = self._known(connection, prepared.new)  # somebody may have added it meanwhile
            return StoredDocument(outcome=known) if known is not None else self._store(connection, prepared, at)

    def add_vectors(self, stored: StoredDocument, *, at: datetime) -> None:
        """Give the chunks of a stored document their vectors: from now on it is found by meaning.

        Where nobody comes to do so, `embed_missing` does.

        Args:
            stored: the document.
            at: when.
        """
        for model, vectors in stored.vectors.items():
            model_id = self._registered(model, at)
            with as_librarian(self._engine) as connection:
                self._add_vectors(connection, model_id, stored.chunk_ids, vectors)

    def _known(self, connection: Connection, new: NewDocument) -> Added | None:
        known = connection.execute(
            select(DOCUMENT.c.content_sha256, DOCUMENT.c.body, DOCUMENT.c.location)
            .where(DOCUMENT.c.tenant == self._tenant)
            .where((DOCUMENT.c.location == new.location) | (DOCUMENT.c.content_sha256 == new.content_sha256))
            .order_by((DOCUMENT.c.location == new.location).desc())
            .limit(1)
        ).one_or_none()
        if known is None:
            return None
        if known.location != new.location:
            return "duplicate"
        stored = Document.model_validate(known.body)
        same = Subject(
            kind=stored.kind, services=stored.services, valid_from=stored.valid_from, valid_until=stored.valid_until
        )
        return "unchanged" if known.content_sha256 == new.content_sha256 and same == new.subject else None

    def forget(self, location: str) -> int:
        """Delete a document or, by their source, several: every version, chunk, term and vector of it.

        Returns:
            How many documents there were.
        """
        with as_librarian(self._engine) as connection:
            connection.execute(text(statements.LOCK), {"tenant": self._tenant})
            found = connection.scalars(
                select(DOCUMENT.c.document_id)
                .where(DOCUMENT.c.tenant == self._tenant)
                .where((DOCUMENT.c.location == location) | (DOCUMENT.c.source == location))
            ).all()
            for document_id in found:
                self._unindex(connection, document_id)
                connection.execute(
                    DOCUMENT_VERSION.delete().where(
                        DOCUMENT_VERSION.c.tenant == self._tenant, DOCUMENT_VERSION.c.document_id == document_id
                    )
                )
                connection.execute(
                    DOCUMENT.delete().where(DOCUMENT.c.tenant == self._tenant, DOCUMENT.c.document_id == document_id)
                )
        return len(found)

    def documents(self, source: str | None = None) -> list[Document]:
        """Every document, by location."""
        query = (
            select(DOCUMENT.c.body)
            .where(DOCUMENT.c.tenant == self._tenant, true() if source is None else DOCUMENT.c.source == source)
            .order_by(DOCUMENT.c.location)
            .limit(LISTED)
        )
        with self._engine.connect() as connection:
            return [Document.model_validate(body) for body in connection.scalars(query)]

    def locations(self, source: str) -> frozenset[str]:
        """Where every document of a source lies."""
        query = select(DOCUMENT.c.location).where(DOCUMENT.c.tenant == self._tenant, DOCUMENT.c.source == source)
        with self._engine.connect() as connection:
            return frozenset(connection.scalars(query))

    def sources(self) -> list[str]:
        """Everything that documents were added from."""
        query = (
            select(DOCUMENT.c.source).where(DOCUMENT.c.tenant == self._tenant).distinct().order_by(DOCUMENT.c.source)
        )
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def text_of(self, location: str) -> tuple[Document, str] | None:
        """A document in its newest version with its text, redacted; None where there is none of that location."""
        query = (
            select(DOCUMENT.c.body, DOCUMENT_VERSION.c.content)
            .join(
                DOCUMENT_VERSION,
                (DOCUMENT_VERSION.c.tenant == DOCUMENT.c.tenant)
                & (DOCUMENT_VERSION.c.document_id == DOCUMENT.c.document_id)
                & (DOCUMENT_VERSION.c.version == DOCUMENT.c.version),
            )
            .where(DOCUMENT.c.tenant == self._tenant, DOCUMENT.c.location == location)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return Document.model_validate(row.body), zstandard.ZstdDecompressor().decompress(row.content).decode()

    def models(self) -> frozenset[tuple[str, str]]:
        """(name, build) of the models that have embedded something."""
        query = select(EMBEDDING_MODEL.c.name, EMBEDDING_MODEL.c.build).where(EMBEDDING_MODEL.c.tenant == self._tenant)
        with self._engine.connect() as connection:
            return frozenset((row.name, row.build) for row in connection.execute(query))

    def is_empty(self) -> bool:
        """Whether there is nothing to be found."""
        with self._engine.connect() as connection:
            total = connection.scalar(select(STATISTICS.c.chunks).where(STATISTICS.c.tenant == self._tenant))
        return not total

    def without_vectors(self, model: ModelName) -> int:
        """How many chunks a model has not embedded yet."""
        with self._engine.connect() as connection:
            known = connection.scalar(
                select(func.count())
                .select_from(EMBEDDING)
                .where(EMBEDDING.c.tenant == self._tenant, EMBEDDING.c.model_id == self.model_id(connection, model))
            )
            total = connection.scalar(select(STATISTICS.c.chunks).where(STATISTICS.c.tenant == self._tenant))
        return int(total or 0) - int(known or 0)

    def embed_missing(self, embedder: Embedder, *, at: datetime, limit: int = EMBEDDED_AT_ONCE) -> int:
        """Embed chunks that have no vector of a model yet; who else does so meanwhile does no harm.

        Returns:
            How many were embedded; 0 when all are.

        Raises:
            EmbedderError: the model is away.
        """
        model_id = self._registered(embedder.model, at)
        with self._engine.connect() as connection:
            rows = connection.execute(
                text(statements.WITHOUT_VECTOR), {"tenant": self._tenant, "model": model_id, "limit": limit}
            ).all()
        if not rows:
            return 0
        vectors = embedder.passages([embedded_text(row.title, row.heading, row.text) for row in rows])
        with as_librarian(self._engine) as connection:
            self._add_vectors(connection, model_id, [row.chunk_id for row in rows], vectors)
        return len(rows)

    def model_id(self, connection: Connection, model: ModelName) -> int | None:
        """The number of a model; None where it has embedded nothing."""
        return connection.scalar(
            select(EMBEDDING_MODEL.c.model_id).where(
                EMBEDDING_MODEL.c.tenant == self._tenant,
                EMBEDDING_MODEL.c.name == model.name,
                EMBEDDING_MODEL.c.build == model.build,
            )
        )

    def _registered(self, model: ModelName, at: datetime) -> int:
        row = {
            "tenant": self._tenant,
            "name": model.name,
            "build": model.build,
            "dimensions": model.dimensions,
            "registered_at": at,
        }
        with self._engine.connect() as connection:
            known = self.model_id(connection, model)
        if known is not None:
            return known
        with as_librarian(self._engine) as connection:
            connection.execute(insert(EMBEDDING_MODEL).values(row).on_conflict_do_nothing())
            known = self.model_id(connection, model)
        assert known is not None
        return known

    def prepare(self, new: NewDocument) -> PreparedDocument:
        """Redact, cut and count a document, and embed its chunks."""
        sections = new.document.sections
        clean = iter(
            self._redactor.redact_all(
                [new.document.title, *(item.text for item in sections), *(h for item in sections for h in item.heading)]
            )
        )
        title, texts = next(clean), [next(clean) for _ in sections]
        redacted = [
            Section(heading=tuple(next(clean) for _ in item.heading), text=body)
            for item, body in zip(sections, texts, strict=True)
        ]
        language = language_of(" ".join(texts))
        pieces = chunks(redacted)
        counts = [Counter(words(_indexed_text(title, item), language)) for item in pieces]
        meant = [embedded_text(title, item.heading, item.text) for item in pieces]
        vectors = {embedder.model: embedder.passages(meant) for embedder in self._embedders if meant}
        return PreparedDocument(new=new, title=title, language=language, chunks=pieces, counts=counts, vectors=vectors)

    def _store(self, connection: Connection, prepared: PreparedDocument, at: datetime) -> StoredDocument:
        new = prepared.new
        document_id = str(uuid5(NAMESPACE_URL, f"{self._tenant}\n{new.location}"))
        version = connection.scalar(
            select(DOCUMENT.c.version).where(DOCUMENT.c.tenant == self._tenant, DOCUMENT.c.document_id == document_id)
        )
        if version is not None:
            self._unindex(connection, document_id)
        document = Document(
            document_id=document_id,
            source=new.source,
            location=new.location,
            title=prepared.title,
            kind=new.subject.kind,
            language=prepared.language,
            services=new.subject.services,
            valid_from=new.subject.valid_from,
            valid_until=new.subject.valid_until,
            version=(version or 0) + 1,
            content_sha256=new.content_sha256,
            chunks=len(prepared.chunks),
            added_at=at,
        )
        row = {
            "tenant": self._tenant,
            "document_id": document_id,
            "source": new.source,
            "location": new.location,
            "name": plain_name(new.location),
            "body": document.model_dump(mode="json"),
            "content_sha256": new.content_sha256,
            "version": document.version,
            "added_at": at,
        }
        changed = {key: row[key] for key in ("source", "body", "content_sha256", "version", "added_at")}
        connection.execute(
            insert(DOCUMENT).values(row).on_conflict_do_update(index_elements=["tenant", "document_id"], set_=changed)
        )
        content = "\n\n".join(_shown(item) for item in prepared.chunks).encode()
        connection.execute(
            insert(DOCUMENT_VERSION).values(
                tenant=self._tenant,
                document_id=document_id,
                version=document.version,
                title=prepared.title,
                content_sha256=new.content_sha256,
                content=zstandard.ZstdCompressor(level=3).compress(content),
                redaction_version=REDACTION_VERSION,
                added_at=at,
            )
        )
        return StoredDocument(
            outcome="added" if version is None else "updated",
            chunk_ids=self._index(connection, document_id, prepared) if prepared.chunks else (),
            vectors=prepared.vectors,
        )

    def _index(self, connection: Connection, document_id: str, prepared: PreparedDocument) -> Sequence[int]:
        """Store the chunks and their words; returns the chunks' numbers."""
        subject = prepared.new.subject
        scope = {
            "tenant": self._tenant,
            "services": sorted(subject.services),
            "kind": subject.kind.value,
            "language": prepared.language,
            "valid_from": subject.valid_from,
            "valid_until": subject.valid_until,
            "chunks": len(prepared.chunks),
        }
        scope_id = connection.scalar(
            insert(SCOPE)
            .values(scope)
            .on_conflict_do_update(
                index_elements=["tenant", "services", "kind", "language", "valid_from", "valid_until"],
                set_={"chunks": SCOPE.c.chunks + len(prepared.chunks)},
            )
            .returning(SCOPE.c.scope_id)
        )
        lengths = [counts.total() for counts in prepared.counts]
        ids = connection.scalars(
            insert(CHUNK).returning(CHUNK.c.chunk_id, sort_by_parameter_order=True),
            [
                {
                    "tenant": self._tenant,
                    "document_id": document_id,
                    "ordinal": number,
                    "scope_id": scope_id,
                    "heading": list(item.heading),
                    "text": item.text,
                    "words": length,
                }
                for number, (item, length) in enumerate(zip(prepared.chunks, lengths, strict=True))
            ],
        ).all()
        holding = Counter(word for counts in prepared.counts for word in counts)
        terms = sorted(holding)
        known = connection.execute(
            text(statements.COUNT_TERMS),
            {"tenant": self._tenant, "terms": terms, "chunks": [holding[word] for word in terms]},
        )
        numbers = {row.term: str(row.term_id) for row in known}
        connection.execute(
            text(statements.ADD_TERMS),
            {"tenant": self._tenant, "document": document_id, "term_ids": _array(numbers.values())},
        )
        connection.execute(
            text(statements.ADD_POSTINGS),
            {
                "tenant": self._tenant,
                "scope": scope_id,
                "term_ids": _array(numbers[word] for counts in prepared.counts for word in counts),
                "occurrences": _array(str(count) for counts in prepared.counts for count in counts.values()),
                "chunk_ids": _array(_repeated(ids, prepared.counts)),
                "words": _array(_repeated(lengths, prepared.counts)),
            },
        )
        connection.execute(
            text(statements.COUNT_CHUNKS), {"tenant": self._tenant, "chunks": len(ids), "words": sum(lengths)}
        )
        return ids

    def _add_vectors(self, connection: Connection, model_id: int, chunk_ids: Sequence[int], vectors: Vectors) -> None:
        connection.execute(
            text(statements.ADD_VECTORS),
            {
                "tenant": self._tenant,
                "model": model_id,
                "dimensions": vectors.shape[1],
                "chunk_ids": list(chunk_ids),
                "vectors": [halfvec(vector) for vector in vectors],
            },
        )

    def _unindex(self, connection: Connection, document_id: str) -> None:
        given = {"tenant": self._tenant, "document": document_id}
        for statement in (
            statements.UNCOUNT_TERMS,
            statements.UNCOUNT_CHUNKS,
            statements.UNCOUNT_SCOPE,
            statements.DROP_POSTINGS,
            statements.DROP_TERMS,
            statements.DROP_VECTORS,
        ):
            connection.execute(text(statement), given)
        connection.execute(CHUNK.delete().where(CHUNK.c.tenant == self._tenant, CHUNK.c.document_id == document_id))


def halfvec(vector: Vectors) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(f"{value:.5g}" for value in vector) + "]"


def plain_name(location: str) -> str:
    """By which name alerts know a document: the last part of a path or an address, in small letters and digits.

    Of an address with a fragment, it is the fragment's: one page may hold many runbooks.
    """
    address, _, fragment = location.partition("#")
    last = fragment or PurePosixPath(address.partition("?")[0].rstrip("/")).name
    stem = last if fragment else last.removesuffix(PurePosixPath(last).suffix)
    return "".join(char for char in stem.lower() if char.isalnum()).removeprefix("alertname")


def content_digest(content: bytes) -> Digest:
    """The digest by which equal documents are recognised."""
    return Digest(hashlib.sha256(content).hexdigest())


def embedded_text(title: str, heading: Sequence[str], body: str) -> str:
    """What of a chunk is embedded: where it stands, and what it says."""
    return f"{' > '.join((title, *heading))}\n{body}"


def _indexed_text(title: str, chunk: Chunk) -> str:
    return "\n".join((title, *chunk.heading, chunk.text))


def _shown(chunk: Chunk) -> str:
    return f"## {' > '.join(chunk.heading)}\n\n{chunk.text}" if chunk.heading else chunk.text


def _repeated(values: Iterable[int], counts: Iterable[Counter[str]]) -> Iterator[str]:
    """Each value once for every word of its chunk."""
    for value, words_of in zip(values, counts, strict=True):
        yield from repeat(str(value), len(words_of))


def _array(numbers: Iterable[str]) -> str:
    """An array as Postgres reads it: a list would be written number by number, which takes longer than to store it."""
    return f"{{{','.join(numbers)}}}"
