"""The base of every contract, and the enum that tolerates tomorrow's members."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, model_validator

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


class EvolvedContract(Contract):
    """A contract some of whose fields earlier versions wrote under other names."""

    earlier_names: ClassVar[Mapping[str, str]]
    """Today's name by the earlier one."""

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_names(cls, value: object) -> object:
        if not isinstance(value, dict) or cls.earlier_names.keys().isdisjoint(value):
            return value
        return {cls.earlier_names.get(name, name): item for name, item in value.items()}


class OpenEnum(StrEnum):
    """An enum read from outside: a member this version does not know is `unknown`, not an error.

    Every subclass declares `UNKNOWN = "unknown"`.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls("unknown") if isinstance(value, str) and value != "unknown" else None
