"""What every command of `inquest` does alike: settings, known errors, interrupts, naming an investigation."""

import asyncio
import difflib
import getpass
import os
import signal
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec, TypeVar
from uuid import UUID

import typer
from inquest.exceptions import InvestigationEndedError
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from activities.inference.models_file import ModelsFileError
from activities.inference.served import UnreadableWeightsError
from activities.memory.admissions import UnknownAdmissionError
from activities.memory.knowledge.exceptions import DocumentError, EmbedderError
from activities.memory.listing import list_investigations
from activities.telemetry.environment import EnvironmentFileError
from activities.telemetry.recorded import BundleError
from activities.topology.exceptions import GraphServerError
from infra.database import DatabaseError
from infra.embedded_model import EmbeddedModelError
from infra.keys import KeyFileError
from infra.settings import Settings
from infra.stack import StackError
from workers.connect import TemporalSetupError, TemporalUnreachableError
from workers.installation import Installation
from workers.log import configure_logging
from workers.processes import WorkerProcessError
from workers.rendering.plain_text import one_line
from workflows.contracts.identifiers import InvestigationId

LONGEST_MESSAGE = 2_000
OUT, ERR = Console(soft_wrap=False), Console(stderr=True, soft_wrap=False)
Given = ParamSpec("Given")
Returned = TypeVar("Returned")

_KNOWN_ERRORS = (
    BundleError,
    DatabaseError,
    DocumentError,
    EmbeddedModelError,
    EmbedderError,
    EnvironmentFileError,
    GraphServerError,
    InvestigationEndedError,
    KeyFileError,
    ModelsFileError,
    StackError,
    TemporalSetupError,
    TemporalUnreachableError,
    UnknownAdmissionError,
    UnreadableWeightsError,
    WorkerProcessError,
)


def handle_known_errors(command: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Known errors end the command with one line that says what to do, never with a stack trace."""

    @wraps(command)
    def wrapped(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        try:
            return command(*args, **kwargs)
        except _KNOWN_ERRORS as error:
            ERR.print(Text.assemble(("error: ", "red bold"), one_line(str(error), LONGEST_MESSAGE)))
            raise typer.Exit(1) from error
        except DBAPIError as error:
            ERR.print(Text.assemble(("error: ", "red bold"), f"the database rejected it: {one_line(str(error.orig))}"))
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            ERR.print(Text("interrupted: what was begun stays open, and inquest up finishes it", style="yellow"))
            raise typer.Exit(130) from None

    return wrapped


def read_settings() -> Settings:
    unknown = unknown_variables()
    for name in unknown:
        near = difflib.get_close_matches(name, _variables(), n=1)
        meant = f"did you mean {near[0]}?" if near else "see inquest settings"
        ERR.print(Text(f"error: there is no setting {one_line(name, 80)}: {meant}", style="red"))
    if unknown:
        raise typer.Exit(2)
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"])
            ERR.print(Text(f"error: setting {name}: {problem['msg']} (see inquest settings)", style="red"))
        raise typer.Exit(2) from error
    configure_logging(settings.log_level)
    return settings


def _variables() -> list[str]:
    return [f"INQUEST_{name.upper()}" for name in Settings.model_fields]


def unknown_variables() -> list[str]:
    """Environment variables that look like settings and are none."""
    known = set(_variables())
    return sorted(name for name in os.environ if name.upper().startswith("INQUEST_") and name.upper() not in known)


def find_investigation(installation: Installation, prefix: str) -> InvestigationId:
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


def invoked_by() -> str:
    """The login name of whoever runs the command; empty where there is none."""
    try:
        return getpass.getuser()[:200]
    except (OSError, KeyError):  # a container's user may have no name
        return ""


def zoned(moment: datetime | None) -> datetime | None:
    """What has no zone is in UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def run(work: Coroutine[None, None, Returned]) -> Returned:
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
