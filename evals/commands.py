"""Commands of this room, joined to `inquest` through an entry point."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from activities.telemetry.recorded import Bundle, BundleError, CapturedBackend, RecordedBackend, open_bundle
from evals.bundles import write_bundle, write_truth
from evals.readers import READERS, CorpusError
from workers.rendering.plain_text import one_line

bundle = typer.Typer(no_args_is_help=True, help="Bundles: recorded incidents.")
OUT, ERR = Console(), Console(stderr=True)
Format = StrEnum("Format", {name: name for name in READERS})  # type: ignore[misc]


@bundle.callback()
def _group() -> None:
    """Bundles: recorded incidents."""


@bundle.command()
def check(folder: Annotated[Path, typer.Argument(help="Folder of a bundle.")]) -> None:
    """Say what is wrong with a bundle: its manifest, files, digests, columns and kinds."""
    try:
        opened = open_bundle(folder)
        problems: list[Exception] = list(opened.problems())
    except BundleError as error:
        problems = [error]
    else:
        problems += _unreadable(opened)
    for problem in problems:
        ERR.print(Text(f"error: {one_line(str(problem), 1_000)}", style="red"))
    if problems:
        raise typer.Exit(1)
    OUT.print(Text(f"{folder} is a good bundle: {opened.manifest.bundle_id}"))


def _unreadable(opened: Bundle) -> list[Exception]:
    """What a run would meet: files that cannot be read, columns that lack, times without a zone."""
    backend = CapturedBackend(opened) if opened.manifest.answers is not None else RecordedBackend(opened)
    try:
        backend.check()
    except BundleError as error:
        return [error]
    finally:
        backend.close()
    return []


@bundle.command(name="import")
def import_(
    corpus: Annotated[Format, typer.Argument(help="Format of the corpus.")],
    out: Annotated[Path, typer.Argument(help="Folder for bundles/ and truths/.")],
    root: Annotated[Path, typer.Option(help="Folder of the corpus.")],
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given again.")] = None,
) -> None:
    """Turn a public corpus into bundles, with the truths in a tree of their own."""
    failed = 0
    try:
        reader = READERS[corpus.value](root)
    except CorpusError as error:
        ERR.print(Text(f"error: {error}", style="red"))
        raise typer.Exit(1) from error
    for name in case or reader.names():
        try:
            recording, truth = reader.recording(name), reader.truth(name)
            folder = out / "bundles" / recording.bundle_id
            write_bundle(recording, folder)
            write_truth(truth, out / "truths")
        except (CorpusError, FileExistsError) as error:
            ERR.print(Text(f"error: {error}", style="red"))
            failed += 1
        else:
            OUT.print(Text(f"{name} {folder}"))
    if failed:
        raise typer.Exit(1)
