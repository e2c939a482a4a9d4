"""What endpoints of language models do, request by request over all processes: for people's own monitoring."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select

from activities.memory.tables import MODEL_REQUEST
from activities.memory.uuid7 import uuid7
from workflows.contracts.model import ModelCall, ModelProblem

ANSWERED = "answered"
MOST = 100_000
"""Requests that are read at once, the latest ones."""


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """One request to an endpoint."""

    request_id: str
    endpoint: str
    model: str
    outcome: str
    """`answered`, or the problem."""

    seconds: float
    """Until the answer was whole; 0 where there is none."""

    first_token_seconds: float
    """Until its first words; 0 where all of it came at once."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, kw_only=True)
class ServiceLevel:
    """How well one endpoint's model did in some time. Times are in seconds, None where nothing was timed."""

    endpoint: str
    model: str
    requests: int
    unreachable: int
    invalid: int
    """Answers of another shape than was asked for."""

    failed: int
    """Everything that was not answered, the unreachable and invalid ones included."""

    mean: float | None
    p95: float | None
    first_token: float | None
    """Mean."""

    prompt_tokens: int
    completion_tokens: int


def request_rows(calls: Sequence[ModelCall], *, at: datetime) -> list[dict[str, object]]:
    """Rows of requests, without whose they are."""
    return [
        {
            "request_id": uuid7(),
            "endpoint": call.identity.endpoint,
            "model": call.identity.model,
            "outcome": ANSWERED if call.problem is None else call.problem.value,
            "seconds": call.seconds,
            "first_token_seconds": call.first_token_seconds,
            "prompt_tokens": call.prompt_tokens,
            "completion_tokens": call.completion_tokens,
            "requested_at": at,
        }
        for call in calls
    ]


class ModelService:
    """One tenant's requests to endpoints."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine, self._tenant = engine, tenant

    def requests(self, *, since: datetime) -> list[ModelRequest]:
        """The latest requests since then."""
        columns = [MODEL_REQUEST.c[name] for name in ModelRequest.__dataclass_fields__]
        query = (
            select(*columns)
            .where(MODEL_REQUEST.c.tenant == self._tenant, MODEL_REQUEST.c.requested_at >= since)
            .order_by(MODEL_REQUEST.c.requested_at.desc())
            .limit(MOST)
        )
        with self._engine.connect() as connection:
            return [ModelRequest(**row._mapping) for row in connection.execute(query)]

    def levels(self, *, since: datetime) -> list[ServiceLevel]:
        """What each endpoint's model did since then."""
        row = MODEL_REQUEST.c
        timed, first = row.seconds > 0, row.first_token_seconds > 0
        query = (
            select(
                row.endpoint,
                row.model,
                func.count().label("requests"),
                func.count().filter(row.outcome == ModelProblem.UNREACHABLE.value).label("unreachable"),
                func.count().filter(row.outcome == ModelProblem.INVALID.value).label("invalid"),
                func.count().filter(row.outcome != ANSWERED).label("failed"),
                func.avg(row.seconds).filter(timed).label("mean"),
                func.percentile_cont(0.95).within_group(row.seconds).filter(timed).label("p95"),
                func.avg(row.first_token_seconds).filter(first).label("first_token"),
                func.sum(row.prompt_tokens).label("prompt_tokens"),
                func.sum(row.completion_tokens).label("completion_tokens"),
            )
            .where(row.tenant == self._tenant, row.requested_at >= since)
            .group_by(row.endpoint, row.model)
            .order_by(row.endpoint, row.model)
            .limit(MOST)
        )
        with self._engine.connect() as connection:
            return [ServiceLevel(**found._mapping) for found in connection.execute(query)]
