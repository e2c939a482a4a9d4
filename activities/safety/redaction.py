"""Secrets and personal data are cut out at every entrance, before the first write.

Rules are precise patterns, each behind a cheap literal test, so that ordinary text costs almost nothing. Card and
account numbers must also pass their check digits: a request id that merely looks like one stays. The marker says
what was cut, so that a reader can tell that something was there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

REDACTION_VERSION = "1"
"""Changes whenever a rule does; stored with every row that was redacted."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that must not travel."""

    name: str
    hints: tuple[str, ...]
    """Lower-case literals, one of which every match contains; empty when there is none."""

    pattern: re.Pattern[str]
    """Group `secret`, when there is one, is what is cut; otherwise the whole match."""

    accept: Callable[[str], bool] = lambda _text: True


def _luhn(text: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    digits = [int(char) for char in text if char.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    """The check digits of account numbers (ISO 13616)."""
    compact = text.replace(" ", "").upper()
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


def _rule(name: str, hints: Sequence[str], pattern: str, accept: Callable[[str], bool] = lambda _text: True) -> Rule:
    return Rule(name=name, hints=tuple(hints), pattern=re.compile(pattern), accept=accept)


RULES: tuple[Rule, ...] = (
    _rule(
        "private-key",
        ("-----begin",),
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]{0,16384}?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
    ),
    _rule("jwt", ("eyj",), r"\beyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,8192}(?:\.[A-Za-z0-9_-]{0,4096})?"),
    _rule("aws-key", ("akia", "asia"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    _rule(
        "github-token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b",
    ),
    _rule("gitlab-token", ("glpat-",), r"\bglpat-[A-Za-z0-9_-]{20,64}\b"),
    _rule("slack-token", ("xox",), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}\b"),
    _rule(
        "slack-webhook",
        ("hooks.slack.com",),
        r"hooks\.slack\.com/(?P<secret>(?:services|workflows)/[A-Za-z0-9/]{20,120})",
    ),
    _rule("stripe-key", ("sk_live", "rk_live", "sk_test"), r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,128}\b"),
    _rule("google-key", ("aiza",), r"\bAIza[A-Za-z0-9_-]{35}\b"),
    _rule("model-key", ("sk-",), r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{24,200}\b"),
    _rule("vault-token", ("hvs.", "hvb."), r"\bhv[sb]\.[A-Za-z0-9_-]{24,300}\b"),
    _rule("url-password", ("://",), r"://[^\s:/@\"']{0,128}:(?P<secret>[^\s@/\"']{1,256})@"),
    _rule(
        "authorization",
        ("authorization", "bearer", "basic "),
        r"(?i)\b(?:bearer|basic)\s{1,4}(?P<secret>[A-Za-z0-9+/._~=-]{12,4096})",
    ),
    _rule(
        "assigned-secret",
        (
            "passw",
            "pwd",
            "secret",
            "token",
            "api_key",
            "apikey",
            "api-key",
            "access_key",
            "private_key",
            "credential",
        ),
        r"(?i)[\"']?[a-z0-9_.-]{0,40}(?:passw(?:or)?d|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)s?[a-z0-9_-]{0,20}[\"']?"
        r"\s{0,4}(?:=>|[=:])\s{0,4}(?:\"(?P<quoted>[^\"\r\n]{1,512})\"|'(?P<single>[^'\r\n]{1,512})'|(?P<secret>[^\s,;&\"'}\])<]{4,512}))",
    ),
    _rule(
        "email",
        ("@",),
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,5}\.[A-Za-z]{2,24}\b",
    ),
    _rule("card", (), r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)", _luhn),
    _rule("iban", (), r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b", _iban),
    _rule("us-ssn", (), r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])"),
)
_SECRET_GROUPS = ("secret", "quoted", "single")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_HAS_LONG_NUMBER = re.compile(r"\d[\d -]{8}")


def redact(text: str) -> str:
    """`text` with every secret and personal datum replaced by `[redacted:<what>]`.

    What no store can hold (NUL, lone surrogates) becomes the replacement character. Redacting twice changes nothing.
    """
    text = storable(text)
    lowered = text.lower()
    numeric = _HAS_LONG_NUMBER.search(text) is not None
    for rule in RULES:
        if any(hint in lowered for hint in rule.hints) or (not rule.hints and (numeric or rule.name == "iban")):
            text = rule.pattern.sub(lambda match, rule=rule: _cut(rule, match), text)  # type: ignore[misc]
    return text


def storable(text: str) -> str:
    """`text` with NUL and lone surrogates replaced: neither JSON in Postgres nor UTF-8 can hold them."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def redact_mapping(values: Mapping[str, str]) -> dict[str, str]:
    """Every value redacted; a key that names a secret costs its value whatever it looks like."""
    return {redact(key): _redact_pair(key, value) for key, value in values.items()}


def _redact_pair(key: str, value: str) -> str:
    marker = "[redacted:assigned-secret]"
    names_secret = redact(f"{key}=probe-value") == f"{key}={marker}"
    return marker if names_secret and value else redact(value)


def _cut(rule: Rule, match: re.Match[str]) -> str:
    whole = match.group(0)
    group = next((name for name in _SECRET_GROUPS if name in rule.pattern.groupindex and match.group(name)), None)
    secret = match.group(group) if group else whole
    if secret.startswith("[redacted:") or not rule.accept(secret):
        return whole
    marker = f"[redacted:{rule.name}]"
    if group is None:
        return marker
    start, end = match.start(group) - match.start(), match.end(group) - match.start()
    return whole[:start] + marker + whole[end:]
