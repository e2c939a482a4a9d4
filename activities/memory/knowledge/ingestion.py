"""Files and folders of documents taken into the library, again and again, until it holds what they hold."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from activities.memory.knowledge.exceptions import DocumentError
from activities.memory.knowledge.library import Added, Library, NewDocument, Subject, content_digest
from activities.memory.knowledge.reading import LARGEST, READERS, read_document

MOST_FILES = 200_000
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
        raise DocumentError(str(source), "holds no document", f"Readable are {', '.join(sorted(READERS))}.")
    done = Ingested()
    for number, path in enumerate(files):
        progressed(number, len(files))
        try:
            done.counts[library.add(_read(root, path, subject), at=at)] += 1
        except DocumentError as error:
            done.problems.append(error)
    progressed(len(files), len(files))
    there = {str(path) for path in files}
    for location in library.locations(str(root)) - there:
        done.forgotten += library.forget(location)
    return done


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
            if name.startswith(".") or path.suffix.lower() not in READERS or path.is_symlink():
                continue
            found += 1
            if found > MOST_FILES:
                raise DocumentError(str(root), f"holds more than {MOST_FILES:,} documents", "Add its folders apart.")
            yield path


def _read(root: Path, path: Path, subject: Subject) -> NewDocument:
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
