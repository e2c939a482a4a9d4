"""The base of every contract, and the enum that tolerates tomorrow's members."""

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict

Instant = AwareDatetime
"""A moment with a time zone; a naive datetime is rejected."""


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
