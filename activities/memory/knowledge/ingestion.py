"""Files and folders of documents taken into the library, again and again, until it holds what they hold."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from activities.memory.knowledge.exceptions import DocumentError
from activities.memory.knowledge.library import (
    Added,
    Library,
    NewDocument,
    StoredDocument,
    Subject,
    content_digest,
)
from activities.memory.knowledge.sections import LARGEST, SUFFIXES

MOST_FILES = 200_000
AHEAD = 4
"""Documents that are read while another is stored, and that are stored while another gets its vectors."""

Progressed = Callable[[int, int], None]
"""Called with (documents done, documents in all)."""


@dataclass(kw_only=True)
class Ingested:
    """What became of a source's documents."""

    counts: Counter[Added] = field(default_factory=Counter)
    problems: list[DocumentError] = field(default_factory=list)
    """Documents that could not be taken in; the others were."""

    forgotten: int = 0
    """Documents that their source no longer has."""


def ingest(
    library: Library, source: Path, subject: Subject, *, at: datetime, progressed: Progressed = lambda _done, _all: None
) -> Ingested:
    """Take in every document of a source that is new or has changed, and forget those that it no longer has.

    What was taken in stays: doing it again after an interruption goes on where that came.

    Args:
        library: where to.
        source: a file, or a folder with all that lies in it.
        subject: what its documents are about.
        at: when.
        progressed: is told how far it is.

    Raises:
        DocumentError: there is no such source, or it holds nothing that can be read.
    """
    root = source.resolve()
    files = list(_files(root))
    if not files:
        raise DocumentError(str(source), "holds no document", f"Readable are {', '.join(SUFFIXES)}.")
    done = Ingested()

    def documents() -> Iterator[NewDocument]:
        for number, path in enumerate(files):
            progressed(number, len(files))
            try:
                yield _read(root, path, subject)
            except DocumentError as error:
                done.problems.append(error)

    done.counts.update(add_all(library, documents(), at=at))
    progressed(len(files), len(files))
    there = {str(path) for path in files}
    for location in library.locations(str(root)) - there:
        done.forgotten += library.forget(location)
    return done


def add_all(library: Library, documents: Iterable[NewDocument], *, at: datetime) -> Iterator[Added]:
    """Add documents one after the other: while one is stored, its successors are read and its predecessors' vectors
    are added, so that several cores are busy.

    Args:
        library: where to.
        documents: read when they are wanted.
        at: when.
    """
    storing: deque[Future[StoredDocument]] = deque()
    embedding: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as storer, ThreadPoolExecutor(1) as vectors:

        def finished(ahead: int) -> Iterator[Added]:
            while len(storing) > ahead:
                stored = storing.popleft().result()
                embedding.append(vectors.submit(library.add_vectors, stored, at=at))
                yield stored.outcome
            while len(embedding) > ahead:
                embedding.popleft().result()

        for new in documents:
            known = library.known(new)
            if known is not None:
                yield known
                continue
            storing.append(storer.submit(library.store, library.prepare(new), at=at))
            yield from finished(AHEAD)
        yield from finished(0)


def _files(root: Path) -> Iterator[Path]:
    """Readable files, in order; nothing hidden, and no link is followed, so that no folder contains itself."""
    if root.is_file():
        yield root
        return
    found = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES or path.is_symlink():
                continue
            found += 1
            if found > MOST_FILES:
                raise DocumentError(str(root), f"holds more than {MOST_FILES:,} documents", "Add its folders apart.")
            yield path


def _read(root: Path, path: Path, subject: Subject) -> NewDocument:
    from activities.memory.knowledge.reading import read_document  # noqa: PLC0415 - its libraries take half a second

    location = str(path)
    if not location.isprintable():
        shown = location.encode("ascii", errors="backslashreplace").decode()
        raise DocumentError(shown, "has a name with characters that cannot be stored", "Rename it.")
    try:
        if path.stat().st_size > LARGEST:
            raise DocumentError(location, f"is larger than {LARGEST:,} bytes", "Split it.")
        content = path.read_bytes()
    except OSError as error:
        raise DocumentError(location, f"cannot be read ({error.strerror})", "Check its permissions.") from error
    return NewDocument(
        source=str(root),
        location=location,
        content_sha256=content_digest(content),
        document=read_document(location, content),
        subject=subject,
    )
