"""Commands of this room, joined to `inquest` through an entry point."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from evals.bundles import write_bundle, write_truth
from evals.readers import READERS, CorpusError

bundle = typer.Typer(no_args_is_help=True, help="Bundles: recorded incidents.")
OUT, ERR = Console(), Console(stderr=True)
Format = StrEnum("Format", {name: name for name in READERS})  # type: ignore[misc]


@bundle.callback()
def _group() -> None:
    """Bundles: recorded incidents."""


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
