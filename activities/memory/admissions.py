"""Which models somebody admitted, and which admissions were taken back. Nothing is changed or deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from activities.memory.tables import MODEL_ADMISSION, MODEL_REVOCATION
from workflows.contracts.model import ModelAdmission

MOST = 1_000
"""Admissions that are listed, the latest ones."""


class UnknownAdmissionError(Exception):
    """There is no admission of this id, or it was taken back before."""


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """That an admission does not count any more."""

    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class KnownAdmission:
    """An admission and what became of it."""

    admission: ModelAdmission
    revoked: Revocation | None = None


class Admissions:
    """The admitted models of one tenant."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine, self._tenant = engine, tenant

    def admit(self, admission: ModelAdmission) -> None:
        """Keep an admission."""
        row = {
            "tenant": self._tenant,
            "admission_id": admission.admission_id,
            "model": admission.served.model,
            "body": admission.model_dump(mode="json"),
            "admitted_at": admission.admitted_at,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(MODEL_ADMISSION).values(row))

    def revoke(self, admission_id: str, revocation: Revocation) -> None:
        """Take an admission back.

        Raises:
            UnknownAdmissionError: there is none, or it was taken back before.
        """
        if not any(item.admission.admission_id == admission_id and item.revoked is None for item in self.known()):
            raise UnknownAdmissionError(f"no admission {admission_id} counts now: see inquest model admitted")
        row = {
            "tenant": self._tenant,
            "admission_id": admission_id,
            "revoked_by": revocation.by,
            "reason": revocation.reason,
            "revoked_at": revocation.at,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(MODEL_REVOCATION).values(row).on_conflict_do_nothing())

    def known(self) -> list[KnownAdmission]:
        """All of them, the latest first."""
        revoked = MODEL_REVOCATION.c
        query = (
            select(MODEL_ADMISSION.c.body, revoked.revoked_by, revoked.revoked_at, revoked.reason)
            .join(
                MODEL_REVOCATION,
                (revoked.tenant == MODEL_ADMISSION.c.tenant) & (revoked.admission_id == MODEL_ADMISSION.c.admission_id),
                isouter=True,
            )
            .where(MODEL_ADMISSION.c.tenant == self._tenant)
            .order_by(MODEL_ADMISSION.c.admitted_at.desc(), MODEL_ADMISSION.c.admission_id)
            .limit(MOST)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            KnownAdmission(
                admission=ModelAdmission.model_validate(row.body),
                revoked=None
                if row.revoked_at is None
                else Revocation(by=row.revoked_by, at=row.revoked_at, reason=row.reason),
            )
            for row in rows
        ]

    def valid(self) -> Sequence[ModelAdmission]:
        """Those that count now, the latest first."""
        return [item.admission for item in self.known() if item.revoked is None]
