"""What goes into and comes out of the evaluation workflow and its steps."""

from datetime import timedelta
from typing import Annotated, NewType

from pydantic import Field

from workflows.contracts.contract import Contract
from workflows.contracts.identifiers import DEFAULT_TENANT, Tenant

EvaluationId = NewType("EvaluationId", str)
"""UUIDv7 of one replay of a suite."""

MOST_CASES = 5_000
"""Cases times repeats of one evaluation; three events each keep its history small."""


class EvaluationRequest(Contract):
    """The workflow's input: how much there is to do. What the cases are is in the store."""

    tenant: Tenant = DEFAULT_TENANT
    evaluation_id: EvaluationId
    suite: Annotated[str, Field(min_length=1, max_length=512)]
    cases: Annotated[int, Field(ge=1, le=MOST_CASES)]
    repeat: Annotated[int, Field(ge=1, le=100)] = 1
    jobs: Annotated[int, Field(ge=1, le=64)] = 1
    """Cases that are replayed at once."""

    heartbeat_timeout: timedelta = timedelta(seconds=10)
    retry_interval: timedelta = timedelta(seconds=1)


class CaseInput(Contract):
    """One case in one repeat."""

    tenant: Tenant = DEFAULT_TENANT
    evaluation_id: EvaluationId
    number: int
    repeat: int


class CaseOutcome(Contract):
    """Whether it came to a report; the report is in the store."""

    failed: bool
    brief: str = ""


class EvaluationProgress(Contract):
    """How far it is."""

    planned: int
    finished: int
    failed: int


def evaluation_workflow_id(evaluation_id: EvaluationId) -> str:
    """The Temporal workflow id of an evaluation."""
    return f"eval-{evaluation_id}"
