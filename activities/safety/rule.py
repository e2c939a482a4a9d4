"""What a redaction rule is: a pattern that finds candidates, and code that says which part of one must not travel."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

TOKEN = re.compile(r"\[[a-z]+(?:-[a-z0-9]+){0,4}:[a-z2-7]{6}\]|\[redacted:[a-z-]{1,40}\]")
"""What stands in place of something that was redacted: by this version and by earlier ones."""


@dataclass(frozen=True)
class Span:
    """A part of a text that must not travel."""

    start: int
    end: int
    kind: str
    """What it is, as it is shown: `secret`, `email`, `card`, ..."""


Find = Callable[[re.Match[str]], Iterable[Span]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One way in which something that must not travel is written."""

    name: str
    pattern: re.Pattern[str]
    find: Find
    hint: str = ""
    """A simpler pattern over bytes that every match contains, for the prefilter; empty: made from `pattern`."""

    group: str = ""
    """Rules of one group are one pattern of the prefilter: many patterns of digits are far quicker together."""


def whole(kind: str, accept: Callable[[str], bool] = lambda _text: True) -> Find:
    """The group `secret` of the match, or all of it, when `accept` agrees."""

    def find(match: re.Match[str]) -> Iterable[Span]:
        group = "secret" if "secret" in match.re.groupindex else 0
        text = match.group(group)
        if text and not TOKEN.search(text) and accept(text):
            yield Span(match.start(group), match.end(group), kind)

    return find
