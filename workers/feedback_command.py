"""`inquest feedback`: a person says whether a verdict was right."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from activities.memory.proposals import NotJudgedError, keep_feedback
from workers.installation import open_installation
from workers.invocation import OUT, find_investigation, handle_known_errors, invoked_by, read_settings
from workflows.contracts.feedback import feedback_of
from workflows.contracts.hypothesis import FaultKind


@handle_known_errors
def feedback(
    investigation_id: Annotated[str, typer.Argument(help="Id, or the beginning of one.")],
    judgement: Annotated[str, typer.Argument(help="right, wrong or partly.")],
    *,
    cause: Annotated[str | None, typer.Option(help="The root cause, as kind:name.")] = None,
    kind: Annotated[str, typer.Option(help="What was wrong with it.")] = FaultKind.UNKNOWN.value,
    change: Annotated[str, typer.Option(help="Id of the change that brought it in.")] = "",
    note: Annotated[str, typer.Option(help="How this is known.")] = "",
) -> None:
    """Say whether a verdict was right; later investigations that recall it say so."""
    try:
        given = feedback_of(
            judgement,
            cause=cause,
            kind=kind,
            change=change,
            note=note,
            author=invoked_by(),
            given_at=datetime.now(UTC),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with open_installation(read_settings()) as installation:
        whole = find_investigation(installation, investigation_id)
        try:
            proposed = keep_feedback(installation.store, installation.tenant, whole, given)
        except NotJudgedError as error:
            raise typer.BadParameter(str(error)) from error
    OUT.print(f"kept: {judgement}")
    if proposed:
        OUT.print(Text("the note is proposed as a fact: inquest fact list, accept", style="dim"))
