"""Credentials in HTTP headers, cookies and URLs."""

import re
from collections.abc import Iterator

from activities.safety.naming import Naming, names_credential
from activities.safety.rule import TOKEN, Rule, Span, whole
from activities.safety.values import NOT_A_VALUE, is_credential, no_pure_word, strength
from activities.safety.words import words

_HEADER = re.compile(
    r"(?:authorization|x-api-key|x-auth-token|x-auth-key|x-vault-token|x-amz-security-token"
    r"|x-goog-api-key|x-gitlab-token|private-token|job-token"
    r"|api-key|apikey|x-access-token|x-csrf-token|x-xsrf-token|ocp-apim-subscription-key"
    r"|x-functions-key|dd-api-key|x-honeycomb-team"
    r"|x-sf-token)(?:\\{0,7}[\"'`])?[ \t]{0,4}[:=][ \t]{0,4}",
    re.IGNORECASE,
)
_SCHEME = re.compile(
    r"\\{0,7}[\"'`\[]{0,3}(?P<scheme>basic|bearer|digest|negotiate|ntlm|kerberos"
    r"|token|apikey|api-key|key|hawk|hoba|mutual|scram-sha-(?:1|256)"
    r"|vapid|dpop|gnap|privatetoken|aws4-hmac-sha256|aws|sharedkey(?:lite)?|sharedaccesssignature"
    r"|splunk|geniekey|ssws|oauth|googlelogin|jwt"
    r"|concealed|bot|client-id|snowflake|x-api-key|macaroon|nextcloud|acs|mac|credential)[ \t]{1,4}",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"(?P<name>[A-Za-z_]+)[ \t]{0,2}=[ \t]{0,2}(?:\\{0,3}\"(?P<quoted>[^\"\\\r\n]{0,1024})"
    r"|(?P<bare>[^\s,;\"\\]{1,1024}))"
)
_PUBLIC_PARAMETERS = words("public_parameters")
_OPAQUE = re.compile(r"[A-Za-z0-9+/._~=%$:|@!#^*-]{6,8192}")


def _header(match: re.Match[str]) -> Iterator[Span]:
    """The credentials of an authorization header, whatever the scheme; what names realm and user stays."""
    text = match.string
    scheme = _SCHEME.match(text, match.end())
    begin = scheme.end() if scheme else match.end()
    yield from _credentials_from(text, begin, scheme["scheme"].lower() if scheme else "")


LONGEST_HEADER = 8_192
_NEXT_HEADER = re.compile(r"[\r\n]|\\[rn]|(?i:cookie2?|authorization|bearer|digest)(?:\\{0,3}[\"'])?[ \t]{0,4}[:=]")


def _header_end(text: str, begin: int) -> int:
    """Where a header's value ends: with the line, or where the next one begins, so that no text is looked at twice."""
    limit = begin + LONGEST_HEADER
    following = _NEXT_HEADER.search(text, begin, limit)
    return following.start() if following else min(len(text), limit)


def _credentials_from(text: str, begin: int, scheme: str) -> Iterator[Span]:
    end = _header_end(text, begin)
    parameters = list(_PARAMETER.finditer(text, begin, end))
    if parameters and parameters[0].start() - begin <= 2 and (scheme not in ("basic", "bearer", "negotiate", "ntlm")):
        for parameter in parameters:
            group = "quoted" if parameter["quoted"] is not None else "bare"
            value = parameter[group]
            if parameter["name"].lower() not in _PUBLIC_PARAMETERS and value and not TOKEN.search(value):
                yield Span(parameter.start(group), parameter.end(group), "secret")
        return
    start = begin
    while start < end and text[start] in "\"'`[\\ ":
        start += 1
    if TOKEN.match(text, start):
        return
    found = _OPAQUE.match(text, start, end)
    sure = found is not None and (bool(scheme) or len(found.group()) >= 20 or strength(found.group()) >= 2)
    if found and sure and is_credential(found.group(), Naming.TOKEN, quoted=True, key="authorization", loose=True):
        stop = found.end()
        yield Span(start, stop - (1 if text[stop - 1 : stop] in ".:" else 0), "secret")


_BARE_SCHEME = re.compile(
    r"\b(?:bearer|basic|negotiate|ntlm|digest|splunk|geniekey|ssws|aws4-hmac-sha256"
    r"|sharedkey(?:lite)?|sharedaccesssignature|apikey|oauth)[ \t]{1,4}"
    r"(?=[A-Za-z0-9+/._~=-]{8})",
    re.IGNORECASE,
)


def _bare_scheme(match: re.Match[str]) -> Iterator[Span]:
    """A scheme without its header: only what does not read as a word is a credential."""
    text, begin = match.string, match.end()
    found = _OPAQUE.match(text, begin)
    if found is None:
        return
    value = found.group()
    parameters = _PARAMETER.match(text, begin)
    if parameters and parameters.end() - begin > len(parameters["name"]) + 2:
        name = parameters["name"].lower()
        if names_credential(name) or name in ("username", "credential", "id", "mac", "response", "hash", "keyid"):
            yield from _credentials_from(text, begin, match.group().strip().lower())
        return
    mixed = (
        any(char.isdigit() for char in value) or (value.lower() != value and len(value) >= 16) or value.endswith("=")
    )
    if len(value) >= 8 and mixed and not TOKEN.search(value):
        yield Span(begin, begin + len(value.rstrip(".:")), "secret")


_COOKIE = re.compile(
    (
        r"(?:\b(?:set-)?cookie2?(?:\\{0,7}[\"'`])?[ \t]{0,4}[:=][ \t]{0,4}|\scurl\s[^\r\n]{0,300}(?:--cookie"
        r"|-b)[ =][\"']?|\A(?:\S{1,40}\s)?curl\s[^\r\n]{0,300}(?:--cookie|-b)[ =][\"']?)"
    ),
    re.IGNORECASE,
)
_CRUMB = re.compile(r"(?P<name>[^\s=;,\"'\\]{1,128})=(?P<value>\"[^\"\r\n]{0,4096}\"|[^\s;,\"'\\]{1,4096})")
_ATTRIBUTES = words("cookie_attributes")


def _cookie(match: re.Match[str]) -> Iterator[Span]:
    text = match.string
    for crumb in _CRUMB.finditer(text, match.end(), _header_end(text, match.end())):
        if crumb["name"].lower() not in _ATTRIBUTES and not TOKEN.search(crumb["value"]):
            yield Span(crumb.start("value"), crumb.end("value"), "secret")


_URL = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{1,30}:(?://|%2[fF]%2[fF])(?P<user>[^\s:/@\"'<>]{0,256}):(?P<secret>[^\s\"'<>\x00]{1,5"
    r"12})@(?=[\w.\[{$<-])"
)
_PORT = re.compile(r"\d{1,5}(?:[/?#,]|\Z)")


def _url(match: re.Match[str]) -> Iterator[Span]:
    """The password of a URL: up to the last @ before the host, whatever characters it has."""
    secret = match["secret"]
    if _PORT.match(secret) or TOKEN.search(secret) or NOT_A_VALUE.match(secret):
        return
    # A second address after a comma has credentials of its own.
    length = len(secret)
    another = re.search(r"@[\w.\[\]:-]+(?:[/?][^\s@]*)?[\s,;]+[a-z][a-z0-9+.-]*://", secret, re.IGNORECASE)
    if another:
        length = another.start()
    yield Span(match.start("secret"), match.start("secret") + length, "secret")


_URL_TOKEN = re.compile(r"\b(?:https?|git|ssh)://(?P<secret>[A-Za-z0-9_-]{20,255})@(?=[\w.<-])")


def header_rules() -> tuple[Rule, ...]:
    """Headers, bare authentication schemes, cookies, URLs."""
    simple = whole("secret", no_pure_word)
    return (
        Rule(name="header", pattern=_HEADER, find=_header),
        Rule(name="scheme", pattern=_BARE_SCHEME, find=_bare_scheme),
        Rule(name="cookie", pattern=_COOKIE, find=_cookie),
        Rule(name="url", pattern=_URL, find=_url, hint=r":(?://|%2[fF]%2[fF])[^\s:/@\"'<>]*:[^\s]+@"),
        Rule(name="url-token", pattern=_URL_TOKEN, find=simple),
    )
