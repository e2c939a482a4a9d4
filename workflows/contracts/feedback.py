"""What a person says of an investigation's verdict afterwards."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, ValidationError

from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityName


class Judgement(OpenEnum):
    RIGHT = "right"
    WRONG = "wrong"
    PARTLY = "partly"
    """The cause is right and something else of the verdict is not, or it was one of several."""

    UNKNOWN = "unknown"


class Feedback(Contract):
    """One person's word; of several, the last one counts."""

    judgement: Judgement
    cause: EntityName | None = None
    """The root cause, where the verdict was wrong about it."""

    fault_kind: FaultKind = FaultKind.UNKNOWN
    change_id: Annotated[str, Field(max_length=300)] = ""
    """The change that brought it in."""

    said: Annotated[str, Field(max_length=4_000)] = ""
    author: Annotated[str, Field(max_length=200)] = ""
    given_at: Instant


JUDGEMENTS = tuple(item.value for item in Judgement if item is not Judgement.UNKNOWN)
KINDS = tuple(item.value for item in FaultKind)


def feedback_of(
    judgement: str,
    *,
    cause: str | None = None,
    kind: str = FaultKind.UNKNOWN.value,
    change: str = "",
    note: str = "",
    author: str = "",
    given_at: datetime,
) -> Feedback:
    """What a person says, from words.

    Args:
        judgement: `right`, `wrong` or `partly`.
        cause: the root cause, as `kind:name`.
        kind: what was wrong with it.
        change: id of the change that brought it in.
        note: how this is known.
        author: who says so.
        given_at: when.

    Raises:
        ValueError: one of them is none; the message says what to give.
    """
    if judgement not in JUDGEMENTS:
        raise ValueError(f"say one of {', '.join(JUDGEMENTS)}")
    if kind not in KINDS:
        raise ValueError(f"{kind[:40]} is no kind of fault: give one of {', '.join(KINDS)}")
    if cause is not None and not all(cause.partition(":")[::2]):
        raise ValueError("write the cause as kind:name, for instance service:checkout")
    try:
        return Feedback.model_validate(
            {
                "judgement": judgement,
                "cause": cause,
                "fault_kind": kind,
                "change_id": change,
                "said": note,
                "author": author,
                "given_at": given_at,
            }
        )
    except ValidationError as error:
        raise ValueError("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())) from error
