"""One turn of the deliberation: what was chosen next, by whom and why."""

from typing import Annotated, Literal

from pydantic import Field

from workflows.contracts.contract import Contract
from workflows.contracts.identifiers import ProbeKey
from workflows.contracts.model import ChangeOpinion, ModelCall, ModelProblem, Opinion

MOST_CHOSEN = 5_000
MOST_CALLS, MOST_OPINIONS = 50, 50


class ChosenProbe(Contract):
    """A query that one more look runs."""

    probe_key: ProbeKey
    gain: Annotated[float, Field(ge=0)]
    """Bits that it was expected to tell about which entity is the root cause."""

    by: Literal["gain", "model"] = "gain"
    """Who chose it: the calculation or the model."""


class Turn(Contract):
    """What was decided after one ranking."""

    round: Annotated[int, Field(ge=0)]
    """The round whose ranking was looked at."""

    chosen: Annotated[tuple[ChosenProbe, ...], Field(max_length=MOST_CHOSEN)] = ()
    """The queries of the next round, the most telling first; none ends the deliberation."""

    left: Annotated[int, Field(ge=0)] = 0
    """Queries of the plan that stay open."""

    calls: Annotated[tuple[ModelCall, ...], Field(max_length=MOST_CALLS)] = ()
    """Questions to a language model, in order; empty without one."""

    opinions: Annotated[tuple[Opinion, ...], Field(max_length=MOST_OPINIONS)] = ()
    """What it thinks of suspects."""

    changes: Annotated[tuple[ChangeOpinion, ...], Field(max_length=MOST_OPINIONS)] = ()
    """What it thinks of candidate changes, those that it could not tell included."""

    problem: ModelProblem | None = None
    """Why it had no say in this turn."""
