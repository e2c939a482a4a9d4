"""Evaluations and their outcomes: append-only, so that a case that is finished stays finished."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from activities.memory.tables import EVALUATION, EVALUATION_END, OUTCOME
from workflows.contracts.evaluation import EvaluationId
from workflows.contracts.identifiers import Tenant

MOST_OUTCOMES = 100_000


@dataclass(frozen=True, kw_only=True)
class StoredOutcome:
    """What became of one case in one repeat."""

    number: int
    repeat: int
    failed: bool
    body: dict[str, JsonValue]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far an evaluation is."""

    finished: int
    failed: int


class Evaluations:
    """One tenant's evaluations."""

    def __init__(self, engine: Engine, tenant: Tenant) -> None:
        self._engine = engine
        self._tenant = tenant

    def begin(
        self,
        evaluation_id: EvaluationId,
        *,
        plan_key: str,
        plan: dict[str, JsonValue],
        engine_version: str,
        at: datetime,
    ) -> None:
        """Record what will be done, before it begins."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(EVALUATION).values(
                    tenant=self._tenant,
                    evaluation_id=evaluation_id,
                    plan_key=plan_key,
                    plan=plan,
                    engine_version=engine_version,
                    started_at=at,
                )
            )

    def unfinished(self, plan_key: str, engine_version: str) -> EvaluationId | None:
        """The latest evaluation of that plan and engine that has not ended."""
        query = (
            select(EVALUATION.c.evaluation_id)
            .outerjoin(
                EVALUATION_END,
                (EVALUATION_END.c.tenant == EVALUATION.c.tenant)
                & (EVALUATION_END.c.evaluation_id == EVALUATION.c.evaluation_id),
            )
            .where(
                EVALUATION.c.tenant == self._tenant,
                EVALUATION.c.plan_key == plan_key,
                EVALUATION.c.engine_version == engine_version,
                EVALUATION_END.c.evaluation_id.is_(None),
            )
            .order_by(EVALUATION.c.started_at.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            found = connection.scalar(query)
        return None if found is None else EvaluationId(str(found))

    def plan(self, evaluation_id: EvaluationId) -> dict[str, JsonValue]:
        """What `begin` recorded.

        Raises:
            LookupError: there is no such evaluation.
        """
        query = select(EVALUATION.c.plan).where(
            EVALUATION.c.tenant == self._tenant, EVALUATION.c.evaluation_id == evaluation_id
        )
        with self._engine.connect() as connection:
            found: dict[str, JsonValue] | None = connection.scalar(query)
        if found is None:
            raise LookupError(f"there is no evaluation {evaluation_id}")
        return found

    def started_at(self, evaluation_id: EvaluationId) -> datetime:
        """When it began."""
        query = select(EVALUATION.c.started_at).where(
            EVALUATION.c.tenant == self._tenant, EVALUATION.c.evaluation_id == evaluation_id
        )
        with self._engine.connect() as connection:
            found: datetime = connection.execute(query).scalar_one()
        return found

    def finish(
        self,
        evaluation_id: EvaluationId,
        *,
        number: int,
        repeat: int,
        failed: bool,
        body: dict[str, JsonValue],
        at: datetime,
    ) -> None:
        """Store an outcome; the first one stays."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(OUTCOME)
                .values(
                    tenant=self._tenant,
                    evaluation_id=evaluation_id,
                    number=number,
                    repeat=repeat,
                    failed=failed,
                    body=body,
                    finished_at=at,
                )
                .on_conflict_do_nothing()
            )

    def finished(self, evaluation_id: EvaluationId, *, number: int, repeat: int) -> bool:
        """Whether that case has its outcome."""
        query = select(OUTCOME.c.number).where(
            OUTCOME.c.tenant == self._tenant,
            OUTCOME.c.evaluation_id == evaluation_id,
            OUTCOME.c.number == number,
            OUTCOME.c.repeat == repeat,
        )
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def outcomes(self, evaluation_id: EvaluationId) -> list[StoredOutcome]:
        """All there are, by case and repeat."""
        query = (
            select(OUTCOME)
            .where(OUTCOME.c.tenant == self._tenant, OUTCOME.c.evaluation_id == evaluation_id)
            .order_by(OUTCOME.c.number, OUTCOME.c.repeat)
            .limit(MOST_OUTCOMES)
        )
        with self._engine.connect() as connection:
            return [
                StoredOutcome(number=row.number, repeat=row.repeat, failed=row.failed, body=row.body)
                for row in connection.execute(query)
            ]

    def standing(self, evaluation_id: EvaluationId) -> Standing:
        """How many outcomes there are."""
        query = select(func.count(), func.count().filter(OUTCOME.c.failed)).where(
            OUTCOME.c.tenant == self._tenant, OUTCOME.c.evaluation_id == evaluation_id
        )
        with self._engine.connect() as connection:
            finished, failed = connection.execute(query).one()
        return Standing(finished=finished, failed=failed)

    def end(self, evaluation_id: EvaluationId, *, at: datetime) -> None:
        """Every case has its outcome."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(EVALUATION_END)
                .values(tenant=self._tenant, evaluation_id=evaluation_id, ended_at=at)
                .on_conflict_do_nothing()
            )
