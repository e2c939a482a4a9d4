"""Credentials in sentences of four languages."""

import re
from collections.abc import Iterator

from activities.safety.rule import TOKEN, Rule, Span
from activities.safety.values import CALL, DIAGNOSIS, NOT_A_VALUE, is_reference, strength

_NOUN = (
    r"(?:password|passphrase|passcode|passwd|pwd|pin|secret|(?:api|access|auth"
    r"|zugangs?|zugriffs)?[ -]?token|cl(?:é|e)(?: api| secr(?:è|e)te)?|api[ -]?key"
    r"|access[ -]?key|secret[ -]?key|credentials?|passwort|kennwort|pin-code"
    r"|mot de passe|contrase(?:ñ|n)a|clave|code secret|geheimnis|schlüssel|palabra clave|jeton)"
)
_PROSE = re.compile(
    rf"(?<![\w:/.-]){_NOUN}(?P<between>(?:\s{{1,3}}[^\s:=\"'`]{{1,24}}){{0,8}}?(?:\s{{0,3}}[:=]\s{{0,3}}|\s{{1,3}}))"
    r"(?P<open>[\"'`“«„\u2018]?)(?P<secret>[^\s\"'`”»“\u2019]{4,512})",
    re.IGNORECASE,
)
_PROSE_HINT = (
    r"(?i)(?:passw|passphrase|passcode|pwd|\bpin|secret|token|key|credential"
    r"|kennwort|mot de passe|contrase|clave|geheimnis|schl|jeton|\bcl(?:é|e)\s)"
    r"[^\r\n:=]*\s"
)
_PASSWORD_NOUN = re.compile(r"(?i)pass|pwd|kennwort|mot|contrase|clave")
_PIN = re.compile(r"(?i)pin|passcode|code|otp")
_SAYS = re.compile(
    r"(?i)(?:\b(?:is|was|are|were|to|ist|war|lautet|auf|est|était|à|es|era|fue"
    r"|used|with|now|gesetzt|en)\s{0,3}[:=]?|[:=])\s{0,3}\Z"
)
"""What stands right before the value in a sentence that says it."""

_SENTENCE_END = re.compile(r"(?<![:\s])\s{0,2}(?:[\r\n]|\\n)|(?<=[\w)])[.!?]\s")
_SAID = re.compile(r"\s{0,3}[:=]?\s{0,4}(?P<open>(?:[\"'`“„\u2018]|«\s?)?)(?P<value>[^\s\"'`”»“\u2019]{2,512})")


def _prose(match: re.Match[str]) -> Iterator[Span]:
    """What a sentence says a password is; a plain word after "is" says how it is, and stays."""
    text, begin = match.string, match.start("between")
    stop = _SENTENCE_END.search(text, begin, begin + 240)
    end = stop.start() if stop else min(len(text), begin + 240)
    noun, position = match.group(), begin
    for _ in range(10):
        word = _SAID.match(text, position, end)
        if word is None:
            return
        position = word.end()
        value = word["value"].rstrip(".,;:!?)")
        if _may_be_said(value) and _is_said(noun, value, text[begin : word.start("open")], quoted=bool(word["open"])):
            yield Span(word.start("value"), word.start("value") + len(value), "secret")
            return


def _may_be_said(value: str) -> bool:
    known = len(value) < 4 or TOKEN.search(value) or value.lower() in DIAGNOSIS or NOT_A_VALUE.match(value)
    code = is_reference(value) or CALL.match(value) or "://" in value or "=" in value.rstrip("=")
    return not known and not code


def _is_said(noun: str, value: str, between: str, *, quoted: bool) -> bool:
    """Whether a sentence with `noun` and then `between` says that the credential is `value`."""
    if value.isdigit() and not _PIN.match(noun):
        return False
    if not between.strip():
        return (
            (quoted and bool(_PASSWORD_NOUN.match(noun)))
            or (strength(value) >= 3 and len(value) >= 8)
            or (strength(value) >= 2 and len(value) >= 24)
        )
    least = 1 if _PASSWORD_NOUN.match(noun) else 2
    return bool(_SAYS.search(between)) and (quoted or strength(value) >= least)


def prose_rules() -> tuple[Rule, ...]:
    """Sentences."""
    return (Rule(name="sentence", pattern=_PROSE, find=_prose, hint=_PROSE_HINT),)
