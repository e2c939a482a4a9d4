"""What the `inquest` command does; `cli.py` loads this when a command runs."""

import asyncio
import math
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from inquest.alertmanager import alerts_from_alertmanager
from inquest.exceptions import PayloadError
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from activities.answers import decode
from activities.memory.incidents import OpenedInvestigation
from activities.memory.listing import Wanted, list_investigations
from activities.memory.uuid7 import uuid7
from activities.telemetry.recorded import Bundle, open_bundle
from infra.embedded_model import NAME, embedded_model
from infra.settings import Settings, settings_file
from workers.codec import EncryptingCodec
from workers.connect import TemporalUnreachableError
from workers.follow import follow
from workers.installation import Installation, backend_over, budget_of, open_installation
from workers.invocation import ERR, OUT, find_investigation, handle_known_errors, read_settings, run
from workers.known_models import EMBEDDED
from workers.rendering.listing import json_line, listing_line, span_of
from workers.rendering.markdown_report import render_markdown
from workers.rendering.page import render_page
from workers.rendering.plain_text import one_line
from workers.rendering.terminal import finding_line, print_report, probe_line
from workers.replaying import replay
from workers.sweeper import readable_history, unattended
from workflows.contracts.alert import Alert, AlertStatus
from workflows.contracts.identifiers import EntityId, InvestigationId, ProbeKey, workflow_id_of
from workflows.contracts.investigation import MOST_ROUNDS, Budget, Purpose
from workflows.contracts.report import Report

FINDINGS_SHOWN = 5
CLOSE_LIMIT_S = 30.0


@handle_known_errors
def investigate(
    bundle: Annotated[str | None, typer.Argument(help="Folder of a recorded incident.")] = None,
    *,
    environment: Annotated[str | None, typer.Option(help="The running system to investigate in.")] = None,
    alert: Annotated[Path | None, typer.Option(help="File with the alert: Alertmanager's webhook body.")] = None,
    service: Annotated[str | None, typer.Option(help="No alert at hand: look at this service now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document: the report.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the report's files; default: the data folder.")] = None,
    probes: Annotated[int | None, typer.Option(min=0, max=10**6, help="Queries it may run.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, max=86_400, help="Seconds it may spend on queries.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=0, max=MOST_ROUNDS, help="Further looks after the first; 0 queries all at once.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Endpoint of the models file; '' asks none. Default: the first that may see it.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Print the whole report, not one screen of it.")] = False,
) -> None:
    """Investigate a recorded incident, or a running system, and print the report."""
    settings = read_settings()
    if seconds is not None and math.isnan(seconds):
        raise typer.BadParameter("give seconds as a number")
    said = {"probes": probes, "seconds": seconds, "rounds": rounds}
    budget = budget_of(settings).model_copy(update={name: value for name, value in said.items() if value is not None})
    if bundle is not None and not (environment or alert or service):
        begin = _of_recording(bundle, budget, settings, model)
    elif bundle is None and environment is not None and (alert is None) != (service is None):
        begin = _in_environment(environment, _alerts(alert, service, environment), budget, model)
    else:
        raise typer.BadParameter(
            "name the folder of a recorded incident, or --environment with either --alert or --service"
        )
    with open_installation(settings) as installation:
        report = run(installation.guarded(_investigate(installation, begin, quiet=as_json)))
    if as_json:
        sys.stdout.write(report.model_dump_json() + "\n")
        sys.stdout.flush()
    page = write_report(report, out or settings.data_dir / "reports")
    if not as_json:
        if page is not None:
            OUT.print(Text(f"also as {page} and {page.with_suffix('.md').name}", style="dim"))
        print_report(OUT, report, full=full)


Begin = Callable[[Installation, Client], Awaitable[OpenedInvestigation]]


def _of_recording(folder: str, budget: Budget, settings: Settings, model: str | None) -> Begin:
    if not folder.strip():
        raise typer.BadParameter("name the folder of a recorded incident")
    opened = open_bundle(Path(folder))
    _check(opened, settings)

    async def begin(installation: Installation, client: Client) -> OpenedInvestigation:
        scope = f"replay:{uuid7()}"
        return await replay(
            installation, client, opened, scope=scope, purpose=Purpose.REPLAY, budget=budget, model=model
        )

    return begin


def _in_environment(environment: str, alerts: list[Alert], budget: Budget, model: str | None) -> Begin:
    async def begin(installation: Installation, client: Client) -> OpenedInvestigation:
        options = replace(installation.live_options(environment), budget=budget, model=model)
        ingestion = installation.alert_ingestion(client)
        opened = [await ingestion.receive(alert, options) for alert in alerts]
        return opened[0]

    return begin


def _alerts(file: Path | None, service: str | None, environment: str) -> list[Alert]:
    """The alerts in a file, or one of our own that says where to look."""
    now = datetime.now(UTC)
    if file is None:
        name = (service or "").strip()
        try:
            return [
                Alert(
                    source="person",
                    fingerprint=f"look:{environment}:{name}:{now.timestamp():.6f}",
                    title=f"look at {name} in {environment}",
                    starts_at=now,
                    entity=EntityId(name if ":" in name else f"service:{name}"),
                    labels={"service": name},
                )
            ]
        except ValidationError as error:
            raise typer.BadParameter("name a service with 1 to 500 printable characters") from error
    try:
        found = alerts_from_alertmanager(file.read_bytes())
    except (OSError, PayloadError) as error:
        raise typer.BadParameter(f"{file}: {error}") from error
    return [item for item in found if item.status is not AlertStatus.RESOLVED] or found[:1]


@handle_known_errors
def up(
    *,
    model: Annotated[
        Literal["embedded"] | None,
        typer.Option(
            help="Serve a very small language model, to see how one is asked; its judgement is worth nothing."
        ),
    ] = None,
) -> None:
    """Run the embedded stack and the workers until interrupted."""
    settings = read_settings()
    with ExitStack() as stack:
        installation = stack.enter_context(open_installation(settings))
        if model is not None:
            address = stack.enter_context(embedded_model(settings.data_dir))
            OUT.print(Text(f"the endpoint {EMBEDDED} serves {NAME} at {address}; inquest investigate asks it"))
        run(installation.guarded(_serve(installation)))


@handle_known_errors
def worker() -> None:
    """Run the workers only, against the configured servers, until interrupted."""
    up()


def settings() -> None:
    """List every setting, its value and its environment variable."""
    current = read_settings()
    OUT.print(Text(f"file: {settings_file()}", style="dim"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("variable", "value", "meaning"):
        table.add_column(name, overflow="fold")
    for name in Settings.model_fields:
        value = getattr(current, name)
        table.add_row(f"INQUEST_{name.upper()}", Text(str(value)), Text(_meaning(name)))
    OUT.print(table)


@handle_known_errors
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Lines to show.")] = 20,
    service: Annotated[str | None, typer.Option(help="Only those about this service.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those opened in this time: 30m, 12h, 7d.")] = None,
    replays: Annotated[bool, typer.Option("--replays", help="Replays and evaluations in place of live ones.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """List the latest investigations, one a line; live ones unless `--replays` is given."""
    opened_after = None if since is None else datetime.now(UTC) - span_of(since)
    wanted = Wanted(service=service, opened_after=opened_after, live=not replays)
    with open_installation(read_settings()) as installation:
        rows = list_investigations(installation.engine, installation.tenant, limit=limit, wanted=wanted)
        waiting = asyncio.run(_unattended(installation)) if any(row.ended is None for row in rows) else ""
    for row in rows:
        line = json_line(row, waiting=bool(waiting)) if as_json else listing_line(row, OUT.width, waiting=bool(waiting))
        OUT.print(line, soft_wrap=True, highlight=False)
    if waiting:
        ERR.print(Text(waiting, style="yellow"))
    if not rows and not as_json:
        other = "live ones: inquest list" if replays else "replays: inquest list --replays"
        ERR.print(Text(f"there are none; {other}", style="dim"))


async def _unattended(installation: Installation) -> str:
    """Why what is open does not go on; empty when it does."""
    try:
        queues = await unattended(await installation.client(), installation.source_names())
    except (TemporalUnreachableError, RPCError):
        return f"Temporal at {installation.stack.temporal_address} does not answer: see inquest doctor"
    return f"no worker listens on {', '.join(queues)}: run inquest up" if queues else ""


@handle_known_errors
def show(
    investigation_id: Annotated[str, typer.Argument(help="Id, or the beginning of one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document: the report.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Print the whole report, not one screen of it.")] = False,
) -> None:
    """Show the report of an earlier investigation."""
    with open_installation(read_settings()) as installation:
        report = installation.ledger(find_investigation(installation, investigation_id)).report()
    if report is None:
        ERR.print(Text("there is no report yet: it is still being investigated", style="yellow"))
        raise typer.Exit(1)
    if as_json:
        sys.stdout.write(report.model_dump_json() + "\n")
    else:
        print_report(OUT, report, full=full)


@handle_known_errors
def evidence(
    investigation_id: Annotated[str, typer.Argument(help="Id, or the beginning of one.")],
    probe: Annotated[str | None, typer.Argument(help="Key of one probe: show its answer.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of the answer to show.")] = 50,
) -> None:
    """List the queries of an investigation, or show the stored answer to one."""
    with open_installation(read_settings()) as installation:
        ledger = installation.ledger(find_investigation(installation, investigation_id))
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


@handle_known_errors
def history(
    investigation_id: Annotated[str, typer.Argument(help="Id, or the beginning of one.")],
) -> None:
    """Print what Temporal wrote down of a closed investigation, decrypted, as JSON that its tools replay."""
    with open_installation(read_settings()) as installation:
        content = installation.ledger(find_investigation(installation, investigation_id)).history()
        if content is None:
            ERR.print(Text("it is not kept yet: inquest up keeps it soon after the end", style="yellow"))
            raise typer.Exit(1)
        sys.stdout.write(asyncio.run(readable_history(content, EncryptingCodec(installation.store.keys, texts=True))))
        sys.stdout.write("\n")


def _meaning(name: str) -> str:
    return one_line(Settings.model_fields[name].description or "", 200)


def _check(bundle: Bundle, settings: Settings) -> None:
    """Files that were changed or damaged are named before anything starts."""
    bundle.verify()
    backend = backend_over(bundle, settings)
    try:
        backend.check()
    finally:
        backend.close()


async def _investigate(installation: Installation, begin: Begin, *, quiet: bool) -> Report:
    client = await installation.client()
    earlier = await asyncio.to_thread(installation.incidents().open_investigations)
    if earlier and not quiet:
        OUT.print(Text(f"also finishing {len(earlier)} earlier investigations", style="dim"))
    async with installation.workers(client):
        opened = await begin(installation, client)
        investigation_id = opened.request.investigation_id
        if opened.not_started:
            ERR.print(Text(f"recorded, but Temporal does not start it yet: {one_line(opened.not_started)}", "yellow"))
        ledger = installation.ledger(investigation_id)
        if not quiet:
            ui = installation.stack.ui_address
            where = f", watch it at {ui}/namespaces/{client.namespace}" if ui else ""
            OUT.print(Text(f"investigation {investigation_id}{where}", style="dim"))
        async for update in follow(client, ledger, investigation_id):
            if quiet:
                continue
            for item in update.probes:
                OUT.print(probe_line(item))
            for finding in update.findings[:FINDINGS_SHOWN]:
                OUT.print(finding_line(finding))
        report = await asyncio.to_thread(ledger.report)
        assert report is not None
        await _leave_nothing_behind(installation, client, investigation_id)
        return report


async def _leave_nothing_behind(installation: Installation, client: Client, investigation_id: InvestigationId) -> None:
    """Wait until the outcome is remembered and the workflow closed; whoever sweeps next does what takes too long."""
    handle = client.get_workflow_handle(workflow_id_of(investigation_id))
    with suppress(TimeoutError, RPCError, DBAPIError, WorkflowFailureError):
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await handle.result()
            await installation.sweeper(client).keep_history(investigation_id)


async def _serve(installation: Installation) -> None:
    client = await installation.client()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(installation.all_workers(client))
        await stack.enter_async_context(installation.upkeep(client))
        still_open = await asyncio.to_thread(installation.incidents().open_investigations)
        OUT.print(Text(f"workers are running, {len(still_open)} open investigations go on"))
        if installation.stack.ui_address:
            OUT.print(Text(f"Temporal's page: {installation.stack.ui_address} (inquest codec decrypts it)"))
        await asyncio.Event().wait()


def write_report(report: Report, folder: Path) -> Path | None:
    """Write the report as Markdown and as a page; a form that cannot be drawn is reported and costs nothing else.

    Returns:
        The page; None when it could not be drawn.
    """
    page = folder / f"{report.run.investigation_id}.html"
    texts = {page.with_suffix(".md"): _drawn(render_markdown, report), page: _drawn(render_page, report)}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, text in texts.items():
            if text is not None:
                path.touch(mode=0o600)
                path.write_text(text)
    except OSError as error:
        ERR.print(Text(f"error: cannot write the report to {folder} ({error.strerror}): use --out", style="red"))
        raise typer.Exit(1) from error
    return page if texts[page] is not None else None


def _drawn(render: Callable[[Report], str], report: Report) -> str | None:
    try:
        return render(report)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect of ours, and the report is stored
        what = f"{type(error).__name__}: {one_line(str(error))}"
        again = f"inquest show --json {report.run.investigation_id}"
        ERR.print(Text(f"error: the report cannot be drawn ({what}); it is stored: {again}", style="red"))
        return None
