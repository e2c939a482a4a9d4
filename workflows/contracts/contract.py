"""The base of every contract, and the enum that tolerates tomorrow's members."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _plausible(moment: datetime) -> datetime:
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError(f"{moment.isoformat()} is no plausible moment (1990 to 2200)")
    return moment


Instant = Annotated[AwareDatetime, AfterValidator(_plausible)]
"""A moment with a time zone between 1990 and 2200; a naive datetime is rejected."""


class Contract(BaseModel):
    """An immutable value that crosses a boundary."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class OpenEnum(StrEnum):
    """An enum read from outside: a member this version does not know is `unknown`, not an error.

    Every subclass declares `UNKNOWN = "unknown"`.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls("unknown") if isinstance(value, str) and value != "unknown" else None
