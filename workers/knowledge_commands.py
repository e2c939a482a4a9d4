"""`inquest knowledge`: what the organisation has written down."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from activities.memory.knowledge.embedding import embedded
from activities.memory.knowledge.ingestion import Ingested, Progressed, ingest
from activities.memory.knowledge.library import Library, Subject, plain_name
from activities.memory.knowledge.recall import found_by
from activities.memory.knowledge.search import Query
from activities.memory.knowledge.upkeep import refresh as refreshed
from workers.installation import Installation, open_installation
from workers.invocation import ERR, OUT, handle_known_errors, read_settings, zoned
from workers.rendering.plain_text import one_line
from workflows.contracts.knowledge import DocumentKind

GROUP = typer.Typer(
    help="Runbooks, postmortems and design notes: add, list, search, show, forget, refresh, embed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
KINDS = tuple(kind.value for kind in DocumentKind if kind is not DocumentKind.UNKNOWN)
PROBLEMS_SHOWN = 20
LISTED = 500
Services = Annotated[list[str] | None, typer.Option("--service", help="A service that they are about; repeat it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document a line.")]


def _kind(given: str) -> DocumentKind:
    if given not in KINDS:
        raise typer.BadParameter(f"give one of {', '.join(KINDS)}")
    return DocumentKind(given)


@GROUP.command()
@handle_known_errors
def add(
    source: Annotated[Path, typer.Argument(help="A file, or a folder with all that lies in it.")],
    *,
    kind: Annotated[str, typer.Option(help="runbook, postmortem or design.")] = DocumentKind.RUNBOOK.value,
    service: Services = None,
    valid_from: Annotated[datetime | None, typer.Option(help="Not found before.")] = None,
    valid_until: Annotated[datetime | None, typer.Option(help="Not found from then on.")] = None,
) -> None:
    """Take documents in: Markdown, HTML, text, PDF; again, only what has changed."""
    subject = Subject(
        kind=_kind(kind),
        services=tuple(sorted(set(service or ()))),
        valid_from=zoned(valid_from),
        valid_until=zoned(valid_until),
    )
    with _library(writing=True) as (_, library):
        if not _told(library, _ingested(library, source, subject)):
            raise typer.Exit(1)


@GROUP.command()
@handle_known_errors
def refresh() -> None:
    """Read every source again: what changed is taken in, what is gone is forgotten."""
    whole = True
    with _library(writing=True) as (_, library), _progress() as progress:
        for item in refreshed(library, at=datetime.now(UTC), progressed=partial(_task, progress)):
            if item.ingested is not None:
                whole &= _told(library, item.ingested)
                continue
            whole &= not Path(item.source).exists()  # a source that is away is no failure of ours
            ERR.print(Text(f"{one_line(item.problem, 500)}, see forget", style="yellow"))
    if not whole:
        raise typer.Exit(1)


@GROUP.command(name="list")
@handle_known_errors
def list_(*, as_json: AsJson = False) -> None:
    """List the documents."""
    with _library() as (_, library):
        documents = library.documents()
    if as_json:
        for item in documents:
            print(json.dumps(item.model_dump(mode="json")))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("title", "kind", "services", "version", "chunks", "location"):
        table.add_column(name, overflow="fold")
    for item in documents[:LISTED]:
        services = ", ".join(item.services) or "all"
        title = Text(one_line(item.title, 60))
        cells = (item.kind.value, Text(one_line(services, 60)), str(item.version), str(item.chunks))
        table.add_row(title, *cells, Text(one_line(item.location, 200)))
    OUT.print(table)
    if len(documents) > LISTED:
        OUT.print(Text(f"and {len(documents) - LISTED} more", style="dim"))


@GROUP.command()
@handle_known_errors
def search(
    text: Annotated[str, typer.Argument(help="What is looked for.")],
    *,
    service: Services = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only documents of this kind; repeat it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Passages to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Find passages, as an investigation does."""
    query = Query(
        text=text,
        at=datetime.now(UTC),
        services=tuple(service) if service else None,
        kinds=tuple(_kind(item) for item in kind) if kind else None,
        names=(plain_name(text),) if " " not in text.strip() else (),
        limit=limit,
    )
    with _library() as (installation, _):
        found, missing = found_by(installation.store, installation.tenant, query, installation.store.embedders())
    if missing:
        ERR.print(Text(one_line(missing, 500), style="yellow"))
    for item in found:
        if as_json:
            print(json.dumps(item.model_dump(mode="json")))
            continue
        where = " > ".join((item.title, *item.heading))
        OUT.print(Text.assemble((one_line(where, 200), "bold"), f"  {', '.join(item.found_by)}"))
        OUT.print(Text(one_line(item.location, 300), style="dim"))
        OUT.print(Text(one_line(item.text, 300)))
    if not found and not as_json:
        OUT.print("nothing was found; inquest knowledge list says what there is")


@GROUP.command()
@handle_known_errors
def show(location: Annotated[str, typer.Argument(help="Where it lies, as list says.")]) -> None:
    """Print a document as it is stored, redacted."""
    with _library() as (_, library):
        found = library.text_of(location) or library.text_of(str(Path(location).resolve()))
    if found is None:
        raise typer.BadParameter("there is no document of that location; inquest knowledge list says what there is")
    document, text = found
    OUT.print(Text(f"{one_line(document.title)} (version {document.version})", style="bold"))
    OUT.print(Text(text))


@GROUP.command()
@handle_known_errors
def forget(
    location: Annotated[str, typer.Argument(help="A document's location, or a source with all its documents.")],
) -> None:
    """Delete a document, or a source's, with every version, word and vector of it; reports keep what they quoted."""
    with _library() as (_, library):
        count = library.forget(location) or library.forget(str(Path(location).resolve()))
    if not count:
        raise typer.BadParameter("there is no document of that location; inquest knowledge list says what there is")
    OUT.print(f"{count} forgotten")


@GROUP.command()
@handle_known_errors
def embed() -> None:
    """Compute the vectors that are missing, of models that are too slow for it while documents are added."""
    with _library() as (installation, library):
        for embedder in installation.store.embedders():
            missing = library.without_vectors(embedder.model)
            with _progress() as progress:
                task = progress.add_task(embedder.model.name, total=missing)
                while done := library.embed_missing(embedder, at=datetime.now(UTC)):
                    progress.advance(task, done)
            OUT.print(f"{embedder.model.name}: {missing} chunks embedded")


@contextmanager
def _library(*, writing: bool = False) -> Iterator[tuple[Installation, Library]]:
    """The library; the models are loaded only where something is embedded."""
    with open_installation(read_settings()) as installation:
        yield installation, installation.store.library(installation.tenant, embedded() if writing else ())


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, transient=True, disable=not ERR.is_terminal) as progress:
        yield progress


def _task(progress: Progress, source: str) -> Progressed:
    task = progress.add_task(one_line(Path(source).name, 40), total=None)

    def progressed(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return progressed


def _ingested(library: Library, source: Path, subject: Subject) -> Ingested:
    with _progress() as progress:
        return ingest(library, source, subject, at=datetime.now(UTC), progressed=_task(progress, str(source)))


def _told(library: Library, done: Ingested) -> bool:
    """Say what became of a source's documents; returns whether all could be read."""
    for error in done.problems[:PROBLEMS_SHOWN]:
        ERR.print(Text(one_line(str(error), 500), style="yellow"))
    if len(done.problems) > PROBLEMS_SHOWN:
        ERR.print(Text(f"and {len(done.problems) - PROBLEMS_SHOWN} more", style="yellow"))
    counts = {name: done.counts[name] for name in ("added", "updated", "unchanged", "duplicate")}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    parts += [f"{done.forgotten} forgotten"] if done.forgotten else []
    parts += [f"{len(done.problems)} could not be read"] if done.problems else []
    OUT.print(", ".join(parts))
    waiting = max((library.without_vectors(item.model) for item in embedded() if not item.immediate), default=0)
    if waiting:
        OUT.print(Text(f"{waiting} chunks wait for further vectors: inquest knowledge embed", style="dim"))
    return not done.problems
