"""Changes as rows, their targets named as everything else is."""

from collections.abc import Iterable, Sequence

import polars as pl

from activities.answers import COLUMNS
from activities.telemetry.backend import Answer, answered
from activities.telemetry.entities import Resolver
from workflows.contracts.change import Change
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe


def answered_in_part(rows: pl.DataFrame, probe: ChangeProbe, problems: Sequence[str]) -> Answer:
    """The latest changes, as an answer that says what is missing from it."""
    latest = rows.sort("ts", "id", descending=True).head(probe.max_rows).sort("ts", "id")
    found = answered(latest, probe.window, total=rows.height)
    if not problems:
        return found
    detail = "; ".join(problems)[:900]
    return Answer(status=ObservationStatus.TRUNCATED, rows=found.rows, coverage=found.coverage, detail=detail)


def change_rows(changes: Iterable[Change], resolver: Resolver) -> pl.DataFrame:
    """A `changes` answer; a service named by somebody else becomes the entity that the sources know by that name."""
    rows = []
    for change in changes:
        target = change.target or ""
        kind, _, name = target.partition(":")
        if kind == "service":
            target = resolver.entity({"service": name}) or target
        rows.append(
            (change.id, change.at, change.kind.value, target, change.title, change.detail, change.revision or "")
        )
    return pl.DataFrame(sorted(rows, key=repr), schema=COLUMNS["changes"], orient="row")
