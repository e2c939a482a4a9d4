"""`inquest feedback`: a person says whether a verdict was right."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from activities.memory.proposals import from_feedback, propose
from workers.installation import open_installation
from workers.invocation import OUT, find_investigation, handle_known_errors, invoked_by, read_settings
from workflows.contracts.feedback import Feedback, Judgement
from workflows.contracts.hypothesis import FaultKind

JUDGEMENTS = tuple(item.value for item in Judgement if item is not Judgement.UNKNOWN)
KINDS = tuple(item.value for item in FaultKind)


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
    if judgement not in JUDGEMENTS:
        raise typer.BadParameter(f"say one of {', '.join(JUDGEMENTS)}")
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind} is no kind of fault: give one of {', '.join(KINDS)}")
    if cause is not None and ":" not in cause:
        raise typer.BadParameter("write the cause as kind:name, for instance service:checkout")
    try:
        given = Feedback.model_validate(
            {
                "judgement": judgement,
                "cause": cause,
                "fault_kind": kind,
                "change_id": change,
                "said": note,
                "author": invoked_by(),
                "given_at": datetime.now(UTC),
            }
        )
    except ValidationError as error:
        raise typer.BadParameter("; ".join(item["msg"] for item in error.errors())) from error
    with open_installation(read_settings()) as installation:
        whole = find_investigation(installation, investigation_id)
        report = installation.ledger(whole).report()
        if report is None:
            raise typer.BadParameter("it has no report yet: there is nothing to judge")
        installation.store.feedback(installation.tenant).give(whole, given)
        proposals = from_feedback(given, investigation_id=whole, suspect=report.findings.verdict.entity)
        proposed = propose(installation.store.facts(installation.tenant), proposals, at=given.given_at)
    OUT.print(f"kept: {judgement}")
    if proposed:
        OUT.print(Text("the note is proposed as a fact: inquest fact list, accept", style="dim"))
