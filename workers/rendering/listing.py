"""One investigation a line."""

import json
import re
from datetime import timedelta

import typer
from rich.text import Text

from activities.memory.listing import InvestigationRow
from workers.rendering.plain_text import one_line

WIDTH = 80
_SPAN = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _state(row: InvestigationRow, *, waiting: bool) -> str:
    return row.ended or ("waiting" if waiting else "open")


def listing_line(row: InvestigationRow, width: int, *, waiting: bool = False) -> Text:
    """Id, when, state and verdict (else the alert), on one line of the terminal, 80 columns at least.

    Args:
        row: the investigation.
        width: of the terminal, in columns.
        waiting: whether what is open waits for a worker.
    """
    state = _state(row, waiting=waiting)
    head = f"{row.investigation_id[:18]}  {row.opened_at:%m-%d %H:%M}  {state:<9} "
    outcome = one_line(row.sentence or row.title, max(WIDTH, width) - len(head))
    return Text.assemble((head, "dim"), outcome)


def json_line(row: InvestigationRow, *, waiting: bool = False) -> Text:
    """The same for programs."""
    return Text(
        json.dumps(
            {
                "investigation_id": row.investigation_id,
                "incident_id": row.incident_id,
                "opened_at": row.opened_at.isoformat(),
                "state": _state(row, waiting=waiting),
                "service": row.service,
                "severity": row.severity,
                "title": row.title,
                "verdict": row.sentence,
            }
        )
    )


def span_of(text: str) -> timedelta:
    """`30m`, `12h` or `7d` as a span of time.

    Raises:
        typer.BadParameter: it is none.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no span of time: write for instance 30m, 12h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
