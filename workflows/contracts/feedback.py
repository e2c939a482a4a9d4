"""What a person says of an investigation's verdict afterwards."""

from typing import Annotated

from pydantic import Field

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
