"""The `inquest` command."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import wraps
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar
from uuid import UUID

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from activities.answers import decode
from activities.memory.listing import list_investigations
from activities.memory.uuid7 import uuid7
from activities.telemetry.recorded import Bundle, BundleError, RecordedBackend, open_bundle
from infra.database import DatabaseError
from infra.settings import Settings, settings_file
from infra.stack import StackError
from workers.connect import TemporalUnreachableError
from workers.doctor import examine
from workers.follow import InvestigationEndedError, follow
from workers.installation import RECORDED, Installation, open_installation
from workers.intake import Inquiry
from workers.log import configure_logging
from workers.rendering.markdown_report import render_markdown
from workers.rendering.page import render_page
from workers.rendering.plain_text import one_line
from workers.rendering.terminal import finding_line, print_report, probe_line
from workflows.contracts.identifiers import InvestigationId, ProbeKey
from workflows.contracts.investigation import Budget, Purpose
from workflows.contracts.report import Report

APP = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
OUT, ERR = Console(soft_wrap=False), Console(stderr=True, soft_wrap=False)
FINDINGS_SHOWN = 5
Given = ParamSpec("Given")
Returned = TypeVar("Returned")

_KNOWN_ERRORS = (
    BundleError,
    DatabaseError,
    InvestigationEndedError,
    StackError,
    TemporalUnreachableError,
)


def _told(command: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Known errors end the command with one line that says what to do, never with a stack trace."""

    @wraps(command)
    def wrapped(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        try:
            return command(*args, **kwargs)
        except _KNOWN_ERRORS as error:
            ERR.print(Text.assemble(("error: ", "red bold"), str(error)))
            raise typer.Exit(1) from error
        except DBAPIError as error:
            ERR.print(Text.assemble(("error: ", "red bold"), f"the database refused: {one_line(str(error.orig))}"))
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            ERR.print(Text("interrupted: what was begun stays open, and inquest up finishes it", style="yellow"))
            raise typer.Exit(130) from None

    return wrapped


def _settings() -> Settings:
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"])
            ERR.print(Text(f"error: setting {name}: {problem['msg']} (see inquest settings)", style="red"))
        raise typer.Exit(2) from error
    configure_logging(settings.log_level)
    return settings


@APP.command()
@_told
def investigate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a recorded incident.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document: the report.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the report's files; default: the data folder.")] = None,
    probes: Annotated[int | None, typer.Option(min=0, help="Questions it may ask.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Seconds it may spend asking.")] = None,
) -> None:
    """Investigate a recorded incident and print the report."""
    settings = _settings()
    opened = open_bundle(bundle)
    _check(opened, settings)
    budget = Budget(
        probes=settings.budget_probes if probes is None else probes,
        seconds=settings.budget_seconds if seconds is None else seconds,
    )
    with open_installation(settings) as installation:
        report = _run(_investigate(installation, opened, budget, quiet=as_json))
    if as_json:
        sys.stdout.write(report.model_dump_json() + "\n")
        sys.stdout.flush()
    else:
        print_report(OUT, report)
    page = _write(report, out or settings.data_dir / "reports")
    if not as_json:
        OUT.print(Text(f"also as {page} and {page.with_suffix('.md').name}", style="dim"))


@APP.command()
@_told
def up() -> None:
    """Run the embedded stack and the workers until interrupted."""
    settings = _settings()
    with open_installation(settings) as installation:
        _run(_serve(installation))


@APP.command()
@_told
def worker() -> None:
    """Run the workers only, against the configured servers, until interrupted."""
    up()


@APP.command()
def doctor() -> None:
    """Say what is wrong with this installation and how to mend it."""
    checks = examine(_settings())
    for check in checks:
        mark, style = ("ok", "green") if check.fine else ("!!", "red bold")
        OUT.print(Text.assemble((f"{mark:<4}", style), f"{check.name}: {check.detail}"))
        if check.remedy:
            OUT.print(Text(f"    {check.remedy}", style="yellow"))
    if not all(check.fine for check in checks):
        raise typer.Exit(1)


@APP.command()
def settings() -> None:
    """List every setting, its value and its environment variable."""
    current = _settings()
    OUT.print(Text(f"file: {settings_file()}", style="dim"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("variable", "value", "meaning"):
        table.add_column(name, overflow="fold")
    for name in Settings.model_fields:
        value = getattr(current, name)
        table.add_row(f"INQUEST_{name.upper()}", Text(str(value)), Text(_meaning(name)))
    OUT.print(table)


@APP.command(name="list")
@_told
def list_() -> None:
    """List the latest investigations."""
    with open_installation(_settings()) as installation:
        rows = list_investigations(installation.engine, installation.tenant, limit=50)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("investigation", "opened", "state", "alert", "verdict"):
        table.add_column(name, overflow="fold", no_wrap=name in ("investigation", "state"))
    for row in rows:
        table.add_row(
            row.investigation_id,
            f"{row.opened_at:%Y-%m-%d %H:%M:%S}",
            row.ended or "open",
            Text(one_line(row.title, 60)),
            Text(one_line(row.sentence or "", 100)),
        )
    OUT.print(table)


@APP.command()
@_told
def show(
    investigation_id: Annotated[str, typer.Argument(help="Id, or the beginning of one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document: the report.")] = False,
) -> None:
    """Show the report of an earlier investigation."""
    with open_installation(_settings()) as installation:
        report = installation.ledger(_find(installation, investigation_id)).report()
    if report is None:
        ERR.print(Text("there is no report yet: it is still being investigated", style="yellow"))
        raise typer.Exit(1)
    if as_json:
        sys.stdout.write(report.model_dump_json() + "\n")
    else:
        print_report(OUT, report)


@APP.command()
@_told
def evidence(
    investigation_id: Annotated[str, typer.Argument(help="Id, or the beginning of one.")],
    probe: Annotated[str | None, typer.Argument(help="Key of one probe: show its answer.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of the answer to show.")] = 50,
) -> None:
    """List the questions of an investigation, or show the stored answer to one."""
    with open_installation(_settings()) as installation:
        ledger = installation.ledger(_find(installation, investigation_id))
        summaries = ledger.observation_summaries()
        chosen = next((item for item in summaries if item.probe_key == ProbeKey(probe or "")), None)
        if probe is None:
            for item in summaries:
                OUT.print(Text.assemble((f"{item.probe_key} ", "dim"), probe_line(item)))
        elif chosen is None or chosen.artifact is None:
            ERR.print(Text(f"there is no stored answer to {probe}", style="yellow"))
            raise typer.Exit(1)
        else:
            answer = decode(ledger.artifact(chosen.artifact))
            table = Table(*answer.columns, box=None, padding=(0, 2, 0, 0))
            for row in answer.head(rows).iter_rows():
                table.add_row(*(Text(one_line(str(value), 120)) for value in row))
            OUT.print(table)
            OUT.print(Text(f"{answer.height} rows, sha256 {chosen.artifact}", style="dim"))


def _meaning(name: str) -> str:
    return one_line(Settings.model_fields[name].description or "", 200)


def _find(installation: Installation, prefix: str) -> InvestigationId:
    """The one investigation whose id begins so."""
    try:
        whole = InvestigationId(str(UUID(prefix)))
    except ValueError:
        pass
    else:
        if installation.ledger(whole).opened_at() is not None:
            return whole
    rows = list_investigations(installation.engine, installation.tenant, limit=1_000)
    matching = [row.investigation_id for row in rows if row.investigation_id.startswith(prefix.lower())]
    if len(matching) != 1:
        problem = "several investigations begin" if matching else "no investigation begins"
        ERR.print(Text(f"error: {problem} with {one_line(prefix, 60)} (see inquest list)", style="red"))
        raise typer.Exit(1)
    return matching[0]


def _run(work: Coroutine[None, None, Returned]) -> Returned:
    """Run `work` to its end; SIGTERM ends it as Ctrl-C does, with everything closed in order."""

    async def until_terminated() -> Returned:
        running = asyncio.current_task()
        assert running is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        return await work

    try:
        return asyncio.run(until_terminated())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _check(bundle: Bundle, settings: Settings) -> None:
    """Damaged telemetry files are told before anything starts."""
    backend = RecordedBackend(bundle, threads=settings.analysis_threads, memory_mb=settings.memory_limit_mb)
    try:
        backend.check()
    finally:
        backend.close()


async def _investigate(installation: Installation, bundle: Bundle, budget: Budget, *, quiet: bool) -> Report:
    client = await installation.client()
    earlier = await asyncio.to_thread(installation.incidents().open_investigations)
    if earlier and not quiet:
        OUT.print(Text(f"also finishing {len(earlier)} earlier investigations", style="dim"))
    async with installation.workers(client):
        opened = await installation.intake(client).receive(
            bundle.alert,
            Inquiry(
                backend=RECORDED,
                source=str(bundle.folder),
                as_of=bundle.manifest.as_of,
                purpose=Purpose.REPLAY,
                memory_scope=f"replay:{uuid7()}",
                budget=budget,
            ),
        )
        investigation_id = opened.request.investigation_id
        ledger = installation.ledger(investigation_id)
        if not quiet:
            ui = installation.stack.ui_address
            where = f", watch it at {ui}/namespaces/{installation.settings.temporal_namespace}" if ui else ""
            OUT.print(Text(f"investigation {investigation_id}{where}", style="dim"))
        async for news in follow(client, ledger, investigation_id):
            if quiet:
                continue
            for item in news.probes:
                OUT.print(probe_line(item))
            for finding in news.findings[:FINDINGS_SHOWN]:
                OUT.print(finding_line(finding))
        report = await asyncio.to_thread(ledger.report)
        assert report is not None
        return report


async def _serve(installation: Installation) -> None:
    client = await installation.client()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(installation.workers(client))
        resumed = await installation.intake(client).resume()
        OUT.print(Text(f"workers are running, {resumed} open investigations resumed"))
        if installation.stack.ui_address:
            OUT.print(Text(f"Temporal's page: {installation.stack.ui_address}"))
        await asyncio.Event().wait()


def _write(report: Report, folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        page = folder / f"{report.run.investigation_id}.html"
        for path, text in ((page, render_page(report)), (page.with_suffix(".md"), render_markdown(report))):
            path.touch(mode=0o600)
            path.write_text(text)
    except OSError as error:
        ERR.print(Text(f"error: cannot write the report to {folder} ({error.strerror}): use --out", style="red"))
        raise typer.Exit(1) from error
    return page


def main() -> None:
    """Run the command; command groups of other rooms join through entry points."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for point in entry_points(group="inquest.commands"):
        APP.add_typer(point.load(), name=point.name)
    APP()


if __name__ == "__main__":
    main()
