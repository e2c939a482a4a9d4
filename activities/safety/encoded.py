"""Credentials that are written in another form: in base64, or broken over two lines."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from activities.safety.formats import format_rules
from activities.safety.rule import Rule, Span

_STEMS = (
    "password",
    "Password",
    "PASSWORD",
    "passwd",
    "secret",
    "Secret",
    "SECRET",
    "token",
    "Token",
    "TOKEN",
    "api_key",
    "apikey",
    "apiKey",
    "API_KEY",
    "access_key",
    "Authorization",
    "Bearer ",
    "AKIA",
    "ghp_",
    "glpat-",
    "xoxb-",
    "hvs.",
    "sk_live",
    "-----BEGIN",
    "://",
)
"""What a credential's text holds and whose base64 form is looked for."""

_RUN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,65536}+={0,2}")
"""A run of characters of base64, taken as a whole: looking at each part of it would take quadratic time."""


def _forms(stem: str) -> Iterator[str]:
    """The part of a text's base64 that does not depend on what stands around it, for each of the three positions."""
    for lead in range(3):
        written = base64.b64encode(b"\x00" * lead + stem.encode()).decode().rstrip("=")
        first = -(-8 * lead // 6)
        last = 8 * (lead + len(stem)) // 6
        yield written[first:last]


@cache
def _encoded_stems() -> str:
    forms = sorted({form for stem in _STEMS for form in _forms(stem) if len(form) >= 3})
    return "|".join(re.escape(form) for form in forms if len(form) >= 4)


def decoded(text: str) -> str | None:
    """What a base64 text says, when it is one of printable characters."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        content = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    printable = sum(char.isprintable() or char in "\r\n\t" for char in content)
    return content if content and printable >= 0.95 * len(content) else None


def base64_rule(spans_of: Callable[[str], Iterable[Span]]) -> Rule:
    """Base64 whose content holds a credential.

    Args:
        spans_of: finds credentials in plain text.
    """

    stems = re.compile(_encoded_stems())

    def find(match: re.Match[str]) -> Iterator[Span]:
        if stems.search(match.group()):
            content = decoded(match.group())
            if content is not None and any(True for _ in spans_of(content)):
                yield Span(match.start(), match.end(), "secret")

    return Rule(name="base64", pattern=_RUN, find=find, hint=_encoded_stems())


_BREAK = re.compile(r"(?<=[A-Za-z0-9+/_=.-])[ \t]{0,4}\\?(?:\r?\n|\\n)[ \t>|#*]{0,16}(?=[A-Za-z0-9+/_=.-])")


_SIDE = 400
"""Characters on each side of a line's end that are looked at."""


@dataclass(frozen=True)
class LineEnd:
    """The end of one line and the beginning of the next as if no line ended between them."""

    joined: str
    start: int
    """Where in the text the left side begins."""

    end: int
    """Where the line ends."""

    resumes: int
    """Where the next one begins to say something."""

    def spans(self, candidates: Iterable[int]) -> Iterator[Span]:
        """Credentials of a documented format that go on in the next line, where one line alone is not enough.

        Args:
            candidates: the rules that may apply, by number; formats come first.
        """
        left = self.end - self.start
        rules = format_rules()
        for rule in (rules[number] for number in candidates if number < len(rules)):
            for match in rule.pattern.finditer(self.joined):
                if match.start() < left < match.end() and not rule.pattern.match(self.joined[:left], match.start()):
                    yield Span(self.start + match.start(), self.resumes + match.end() - left, rule.name)


def line_ends(text: str) -> list[LineEnd]:
    """Every end of a line at which a token may go on in the next one."""
    found = []
    for item in _BREAK.finditer(text):
        start = max(text.rfind("\n", 0, item.start()) + 1, item.start() - _SIDE)
        stop = text.find("\n", item.end(), item.end() + _SIDE)
        right = text[item.end() : stop if stop >= 0 else item.end() + _SIDE]
        found.append(LineEnd(text[start : item.start()] + right, start, item.start(), item.end()))
    return found
