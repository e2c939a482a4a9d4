"""Secrets and personal data are replaced by pseudonyms at every entrance, before the first write.

One pass of all patterns (`scanner.py`) finds the few texts that may hold something; rules look closely at those: by
documented formats (`formats.toml`), by what stands before a value (`assignments.py`), by check digits and fields
(`personal.py`) and in other notations (`encoded.py`). What was found becomes `[what:xxxxxx]`: the same thing becomes
the same pseudonym, so that lines can still be correlated, and without the key nobody can compute which thing it was.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from activities.safety.assignments import assignment_rules
from activities.safety.encoded import base64_rule, line_ends
from activities.safety.formats import format_rules
from activities.safety.personal import AddressPolicy, personal_rules
from activities.safety.rule import TOKEN, Rule, Span
from activities.safety.scanner import Scanner
from activities.safety.values import spans_of_field

REDACTION_VERSION = "2"
"""Changes whenever a rule does; stored with every row that was redacted."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SUFFIX = re.compile(r":[a-z2-7]{6}\]")
_SEPARATORS = re.compile(r"[\s().\-/]")


def storable(text: str) -> str:
    """`text` with NUL and lone surrogates replaced: neither JSON in Postgres nor UTF-8 can hold them."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _all_storable(texts: Sequence[str]) -> list[str]:
    joined = "".join(texts)
    if joined.isascii() and "\x00" not in joined:
        return list(texts)
    return [storable(text) for text in texts]


def without_pseudonyms(text: str) -> str:
    """`[email:k3f9qa]` as `[email]`: for log templates, which say what kind of thing stands in a place."""
    return _SUFFIX.sub("]", text) if "[" in text else text


@dataclass(frozen=True)
class RuleSet:
    """The compiled rules of one address policy; costly to make, shared by all redactors of a process."""

    policy: AddressPolicy

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule; of two that find something at the same place, the one that comes first says what it is."""
        return (*self._plain, base64_rule(self._in_plain))

    @cached_property
    def _plain(self) -> tuple[Rule, ...]:
        return (*format_rules(), *assignment_rules(), *personal_rules(self.policy))

    @cached_property
    def scanner(self) -> Scanner:
        """The prefilter over all of them."""
        return Scanner(self.rules)

    def _in_plain(self, text: str) -> Iterable[Span]:
        credentials = (*format_rules(), *assignment_rules())
        return chain.from_iterable(rule.find(match) for rule in credentials for match in rule.pattern.finditer(text))

    def spans(self, text: str, candidates: Iterable[int], over_lines: Iterable[Span] = ()) -> list[Span]:
        """What must not travel in `text`, by place, without overlaps.

        Args:
            text: as it will be stored.
            candidates: the rules that may apply.
            over_lines: what was found to go on in another line.
        """
        found: list[tuple[int, Span]] = []
        for number in candidates:
            rule = self.rules[number]
            found += [(number, span) for match in rule.pattern.finditer(text) for span in rule.find(match)]
        found += [(0, span) for span in over_lines]
        if not found:
            return []
        redacted = [match.span() for match in TOKEN.finditer(text)] if "[" in text else []
        kept = [
            (number, span)
            for number, span in found
            if not any(begin < span.end and span.start < end for begin, end in redacted)
        ]
        return _united(kept)


def _united(found: list[tuple[int, Span]]) -> list[Span]:
    """Overlapping spans as one, named by the rule that comes first."""
    united: list[tuple[int, Span]] = []
    for number, span in sorted(found, key=lambda item: (item[1].start, -item[1].end, item[0])):
        if united and span.start < united[-1][1].end:
            known, last = united[-1]
            kind = span.kind if number < known else last.kind
            united[-1] = (min(number, known), Span(last.start, max(last.end, span.end), kind))
        else:
            united.append((number, span))
    return [span for _, span in united]


_RULE_SETS = {policy: RuleSet(policy) for policy in AddressPolicy}


class Redactor:
    """Redacts the texts of one environment: the same thing becomes the same pseudonym everywhere in it."""

    def __init__(self, key: bytes, scope: str, policy: AddressPolicy = AddressPolicy.PRIVATE) -> None:
        """Make pseudonyms that hold within `scope`.

        Args:
            key: the installation's secret; without it pseudonyms cannot be computed.
            scope: the environment; in another one the same thing has another pseudonym.
            policy: what becomes of IP addresses.
        """
        self._key = hmac.digest(key, f"pseudonyms\x1f{scope}".encode(), hashlib.sha256)
        self._rules = _RULE_SETS[policy]

    def redact(self, text: str) -> str:
        """`text` with every secret and personal datum replaced by its pseudonym.

        What no store can hold (NUL, lone surrogates) becomes the replacement character. Twice is once.
        """
        return self.redact_all([text])[0]

    def redact_all(self, texts: Sequence[str]) -> list[str]:
        """The same for many texts, in their order, in one pass."""
        clean = _all_storable(texts)
        found = self._rules.scanner.candidates(clean)
        ends = [(number, item) for number, text in enumerate(clean) if "\n" in text for item in line_ends(text)]
        over_lines: dict[int, list[Span]] = {}
        for place, candidates in self._rules.scanner.candidates([item.joined for _, item in ends]).items():
            number, item = ends[place]
            over_lines.setdefault(number, []).extend(item.spans(candidates))
        for number in sorted(found.keys() | over_lines.keys()):
            spans = self._rules.spans(clean[number], found.get(number, ()), over_lines.get(number, ()))
            clean[number] = self._replaced(clean[number], spans)
        return clean

    def redact_mapping(self, values: Mapping[str, str]) -> dict[str, str]:
        """Every value redacted; a key that names a secret costs its value whatever it looks like."""
        return {self.redact(key): self._field(storable(key), storable(value)) for key, value in values.items()}

    def _field(self, key: str, value: str) -> str:
        whole = list(spans_of_field(key, value))
        if whole:
            return self._replaced(value, whole)
        lead = f'"{key}": "'
        if '"' in value or "\\" in value or len(value) > 2_000:
            return self.redact(value)
        shown = self.redact(f'{lead}{value}"')
        return shown[len(lead) : -1] if shown.startswith(lead) and shown.endswith('"') else self.redact(value)

    def _replaced(self, text: str, spans: Iterable[Span]) -> str:
        parts, last = [], 0
        for span in spans:
            parts += [text[last : span.start], self.pseudonym(span.kind, text[span.start : span.end])]
            last = span.end
        return "".join([*parts, text[last:]])

    def pseudonym(self, kind: str, text: str) -> str:
        """What stands in place of `text`: `[kind:xxxxxx]`, equal for equal things however they are spelled."""
        if TOKEN.fullmatch(text):
            return text
        plain = _normalised(kind, text)
        mark = base64.b32encode(hmac.digest(self._key, plain.encode(errors="replace"), hashlib.sha256))[:6].decode()
        return f"[{kind}:{mark.lower()}]"


def _normalised(kind: str, text: str) -> str:
    if kind == "email":
        return re.sub(r"%40|&#64;|&#x40;|\\u0040|\s?[\[(]at[\])]\s?", "@", text).lower()
    if kind in ("card", "iban", "id", "phone"):
        return _SEPARATORS.sub("", text).upper()
    return " ".join(text.split())
