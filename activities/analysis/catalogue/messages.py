"""The kind of fault that an error text names, by a documented list of well-known messages (`messages.toml`)."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from activities.analysis.parameters import LIMITS
from workflows.contracts.hypothesis import FaultKind


@dataclass(frozen=True)
class Message:
    """A well-known message."""

    kind: FaultKind
    pattern: re.Pattern[str]
    about_peer: bool
    """Whether the program that writes it speaks of something it calls, and not of itself."""


@lru_cache(maxsize=65_536)
def message_in(text: str) -> Message | None:
    """The well-known message in a log line or in the text of a condition; None when there is none."""
    start = text[: LIMITS.message_length]
    return next((message for message in _messages() if message.pattern.search(start)), None)


def kind_of_text(text: str) -> FaultKind | None:
    """The kind of fault that a text names, of whomever it speaks; None when it names none."""
    found = message_in(text)
    return None if found is None else found.kind


def own_kind_of_text(text: str) -> FaultKind | None:
    """The kind of fault that a text names of the program that writes it; None when it names none."""
    found = message_in(text)
    return None if found is None or found.about_peer else found.kind


@cache
def _messages() -> tuple[Message, ...]:
    """In the file's order: what is more specific comes first."""
    document = tomllib.loads(files(__package__).joinpath("messages.toml").read_text())
    return tuple(
        Message(
            kind=FaultKind(entry["kind"]),
            pattern=re.compile(entry["pattern"], re.IGNORECASE),
            about_peer=entry.get("about") == "peer",
        )
        for entry in document["message"]
    )
