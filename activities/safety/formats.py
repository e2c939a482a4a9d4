"""Credentials that are recognised by their shape alone; the list is data."""

import re
import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from activities.safety.rule import Rule, whole

_BOUNDARY = r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))"
"""No letter or digit comes before, except of an encoded character."""


class Format(BaseModel):
    """One documented format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pattern: str
    source: str
    bounded: bool = True


@cache
def formats() -> tuple[Format, ...]:
    """Every documented format, in the order of the file."""
    text = (Path(__file__).parent / "formats.toml").read_text()
    return tuple(TypeAdapter(list[Format]).validate_python(tomllib.loads(text)["format"]))


def _varied(text: str) -> bool:
    """Whether it is no placeholder: `xxxx...` and `0000...` are."""
    return len(set(text[-16:])) > 2


@cache
def format_rules() -> tuple[Rule, ...]:
    """One rule a format."""
    return tuple(
        Rule(
            name=item.name,
            pattern=re.compile((_BOUNDARY if item.bounded else "") + item.pattern, re.ASCII),
            find=whole(item.name, _varied),
        )
        for item in formats()
    )
