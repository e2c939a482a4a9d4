"""The `inquest` command: it says what there is at once, and loads what a command needs when it runs.

Commands of every room join through the entry points of `inquest.commands`.
"""

import ast
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

DISTRIBUTION = "inquest-sre"
INTERRUPTED = "interrupted: what was begun stays open, and inquest up finishes it"


class LazyGroup(TyperGroup):
    """A group whose commands are loaded when they run; listing them reads their first sentence from the source."""

    _listing = False

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in sorted(entry_points(group="inquest.commands"), key=lambda p: p.name)}

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command there is, by name."""
        return [*super().list_commands(ctx), *self._points]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; while they are listed, only its name and first sentence."""
        point = self._points.get(cmd_name)
        if point is None:
            return super().get_command(ctx, cmd_name)
        if self._listing:
            return TyperCommand(cmd_name, help=_first_sentence(point))
        loaded = point.load()
        if isinstance(loaded, typer.Typer):
            return get_group(loaded)
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(name=cmd_name)(loaded)
        return get_command(single)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help; nothing is loaded for it."""
        self._listing = True
        super().format_help(ctx, formatter)


def _first_sentence(point: EntryPoint) -> str:
    """What a command does, from the text of its module."""
    spec = find_spec(point.module)
    if spec is None or spec.origin is None:
        return ""
    for statement in ast.parse(Path(spec.origin).read_text()).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == point.attr:
            return (ast.get_docstring(statement) or "").partition("\n")[0]
        if isinstance(statement, ast.Assign) and point.attr in [ast.unparse(name) for name in statement.targets]:
            given = statement.value.keywords if isinstance(statement.value, ast.Call) else []
            return next((str(ast.literal_eval(item.value)) for item in given if item.arg == "help"), "")
    return ""


APP = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"inquest {version(DISTRIBUTION)}")
        raise typer.Exit


@APP.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Investigate incidents inside your own perimeter."""


@contextmanager
def _quiet_interrupts() -> Iterator[None]:
    """Ctrl-C at any moment, imports included, ends the command with one line; a second one ends it at once."""
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)


def main() -> None:
    """Run the command, and end the process when it is done.

    All is closed by then. What libraries do when an interpreter ends (their threads call into it, they take stock of
    what was not collected) would only abort the process or write to the terminal.
    """
    try:
        with _quiet_interrupts():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            if any(not char.isprintable() for argument in sys.argv[1:] for char in argument):
                print("error: an argument has a control character", file=sys.stderr)
                sys.exit(2)
            APP()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # a pipe whose reader has gone
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
