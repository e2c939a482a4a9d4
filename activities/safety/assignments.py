"""Credentials that are named by what stands before them: assignments, fields of XML and YAML, key blocks."""

import re
from collections.abc import Iterator
from functools import cache

from activities.safety.commands import command_rules
from activities.safety.headers import header_rules
from activities.safety.naming import LONG, SHORT, naming_of
from activities.safety.prose import prose_rules
from activities.safety.rule import TOKEN, Rule, Span, whole
from activities.safety.values import is_credential, no_pure_word, strength, value_at

_PATH = re.compile(r"://[^\s?#&=]*/[\w.-]*\Z")
_ARN = re.compile(r"\barn:[\w:/-]*\Z")
_SEPARATOR = r"(?:\\{0,7}[\"'`]|%22|%27|&quot;|&#34;)?\]?[ \t]{0,4}(?P<sep>=>|:=|==?|:|%3[AaDd])"
_ASSIGNED = re.compile(rf"(?:{LONG}|{SHORT})[A-Za-z0-9_.\-]{{0,40}}{_SEPARATOR}", re.IGNORECASE)
_ASSIGNED_HINT = (
    rf"(?i)(?:{LONG}|\b(?:{SHORT})|[_.-](?:{SHORT})|[a-z](?:pass|pwd|pin|sig|otp))[A-Za-z0-9_.\-]*"
    r"(?:\\*[\"'`]|%22|%27|&quot;|&#34;)?\]?[ \t]*(?:=|:|%3)"
)
_KEY_BEFORE = re.compile(r"[A-Za-z0-9_.\-ñÑ]{1,120}\Z")


def _assigned(match: re.Match[str]) -> Iterator[Span]:
    text, separator = match.string, match["sep"]
    head = text[max(0, match.start() - 80) : match.start("sep")].rstrip(" \t")
    head = re.sub(r"(?<=[\"'])\]\Z", "", head)
    head = re.sub(r"(?:\\{0,7}[\"'`]|%22|%27|&quot;|&#34;)\Z", "", head)
    named = None if _ARN.search(head) or _PATH.search(head) else _KEY_BEFORE.search(head)
    key = named.group() if named else ""
    if re.search(r"%(?:22|26|27|20|3[fF])\w*\Z", head):
        key = re.split(r"(?i)(?:22|26|27|20|3f)(?=[a-z])", key)[-1]
    naming = naming_of(key)
    if not naming:
        return
    start, end, quoted = value_at(text, match.end())
    loose = separator in (":", "=>") and not quoted
    if start < end and is_credential(text[start:end], naming, quoted=quoted, key=key, loose=loose):
        yield Span(start, end, "secret")


_XML = re.compile(
    (
        rf"<(?:[A-Za-z][\w.-]{{0,20}}:)?(?P<key>[\w.-]{{0,40}}(?:{LONG}|{SHORT})[\w.-]{{0,40}})(?:\s[^<>]{{0,200}})?>"
        rf"(?:<!\[CDATA\[)?(?P<secret>[^<>\]\x00]{{1,1024}})"
    ),
    re.IGNORECASE,
)
_XML_PAIR = re.compile(
    (
        rf"\b(?:key|name|id)=\\?[\"'](?P<key>[\w.:-]{{0,40}}(?:{LONG}|{SHORT})[\w.-]{{0,40}})\\?[\"']\s{{1,4}}(?:valu"
        rf"e|val|connectionString)=\\?[\"'](?P<secret>[^\"'\\<>]{{1,1024}})"
    ),
    re.IGNORECASE,
)


def _keyed(match: re.Match[str]) -> Iterator[Span]:
    naming = naming_of(match["key"])
    value = match["secret"]
    open_ended = match.group().startswith("<") and match.string[match.end() : match.end() + 1] not in ("<", "]")
    if open_ended and " " in value.strip():
        return
    if naming and value.strip() and is_credential(value, naming, quoted=True, key=match["key"], loose=False):
        lead = len(value) - len(value.lstrip())
        yield Span(match.start("secret") + lead, match.start("secret") + len(value.rstrip()), "secret")


_MNEMONIC = re.compile(
    (
        r"\b(?:seed|mnemonic|recovery|wallet|backup)(?:[ _-](?:phrase|words|mnemonic))?\"?\s{0,3}[:=]\s{0,3}\"?(?P<sec"
        r"ret>[a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,23})"
    ),
    re.IGNORECASE,
)
_VARIABLE = re.compile(
    (
        rf"variable\s{{1,4}}\"(?P<key>[\w.-]{{0,40}}(?:{LONG}|{SHORT})[\w.-]{{0,40}})\"\s{{0,4}}\{{[^}}]{{0,400}}?def"
        rf"ault\s{{0,8}}=\s{{0,4}}\"(?P<secret>[^\"\r\n]{{1,1024}})"
    ),
    re.IGNORECASE,
)
_NAME_VALUE = re.compile(
    (
        rf"[\"'](?:name|key|k|id)\\{{0,3}}[\"']\s{{0,4}}:\s{{0,4}}\\{{0,3}}[\"'](?P<key>[\w.-]{{0,40}}(?:{LONG}"
        rf"|{SHORT})[\w.-]{{0,40}})\\{{0,3}}[\"']\s{{0,4}},\s{{0,4}}\\{{0,3}}[\"'](?:value"
        rf"|val|v)\\{{0,3}}[\"']\s{{0,4}}:\s{{0,4}}\\{{0,3}}[\"'](?P<secret>[^\"'\\\r\n]{{1,1024}})"
    ),
    re.IGNORECASE,
)
_YAML_VALUE = re.compile(
    (
        rf"name:\s{{1,4}}[\"']?(?P<key>[\w.-]{{0,40}}(?:{LONG}|{SHORT})[\w.-]{{0,40}})[\"']?\s{{0,4}}\r?\n\s{{0,40}}v"
        rf"alue:\s{{1,4}}[\"']?(?P<secret>[^\s\"']{{1,1024}})"
    ),
    re.IGNORECASE,
)
_TABLE_ROW = re.compile(
    (
        rf"[|│]\s{{0,20}}(?P<key>[\w. -]{{0,40}}(?:{LONG}|{SHORT})[\w. -]{{0,40}}?)\s{{0,40}}["
        rf"|│]\s{{0,20}}(?P<secret>[^\s|│]{{1,512}})\s{{0,80}}(?=[|│])"
    ),
    re.IGNORECASE,
)
_JWK = re.compile(r"\\{0,3}\"(?:d|dp|dq|qi|k)\\{0,3}\"\s{0,3}:\s{0,3}\\{0,3}\"(?P<secret>[A-Za-z0-9_-]{20,2048})")
_PAIR = re.compile(
    (
        rf"[\"'](?P<key>[\w.-]{{0,40}}(?:{LONG}|{SHORT})[\w.-]{{0,40}})[\"']\s{{0,20}},\s{{0,20}}[\"'](?P<secret>[^\""
        rf"'\r\n]{{1,1024}})[\"']"
    ),
    re.IGNORECASE,
)
_DOCKER_AUTH = re.compile(
    r"\\?\"(?:auth|_auth|identitytoken|registrytoken)\\?\"\s{0,4}:\s{0,4}\\?\"(?P<secret>[A-Za-z0-9+/=_.-]{12,4096"
    r"})|\b_auth\s?=\s?(?P<bare>[A-Za-z0-9+/=_-]{12,4096})"
)
_SQL = re.compile(
    r"\b(?:identified\s{1,4}(?:with\s{1,4}\w{1,40}\s{1,4})?(?:by|as)|(?:encrypted\s{1,4})?password"
    r"|set\s{1,4}password(?:\s{1,4}for\s{1,4}\S{1,80})?\s{0,4}=?"
    r"|old_password|password\s{0,2}\()\s{0,4}\(?\s{0,4}\\{0,3}'(?P<secret>[^'\r\n]{1,512})'",
    re.IGNORECASE,
)
_BLOCK = re.compile(
    r"-----BEGIN[ +][A-Z0-9 +]{0,60}(?:PRIVATE[ +]KEY|PGP[ +]MESSAGE|SECRET[ +]KEY)(?:[ +]BLOCK)?-----"
    r"[\s\S]{0,65536}?(?:-----END[ +][A-Z0-9 +]{0,60}-----|\Z)"
)
_PUTTY = re.compile(r"PuTTY-User-Key-File-\d: [\s\S]{0,8192}?(?:Private-MAC: [0-9a-f]{40,64}|\Z)")
_KEY_ENCODED = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=\r\n]{40,65536}")
_AZURE_PART = re.compile(
    r"\b(?:AccountKey|SharedAccessKey|SharedSecretValue|AccessKey|sig|SharedAccessSignature)=(?P<secret>[A-Za-z0-9"
    r"+/%=]{20,512})"
)
_PRESIGNED = re.compile(
    r"(?:X-Amz-(?:Signature|Security-Token|Credential)|X-Goog-Signature|Signature"
    r"|X-Amz-Signature)(?:=|%3[dD])(?P<secret>[A-Za-z0-9%+/=_.-]{16,2048})"
)
_GOOGLE_LOGIN = re.compile(
    r"\b(?:oauth_token|oauth_signature|access_token|id_token|refresh_token|client_secret"
    r"|client_assertion|code_verifier|assertion)(?:=|%3[dD])(?P<secret>[^\s&\"'<>;,]{6,4096})"
)


def _jwk(match: re.Match[str]) -> Iterator[Span]:
    """The private members of a JSON Web Key (RFC 7517)."""
    if "kty" in match.string and not TOKEN.search(match["secret"]):
        yield Span(match.start("secret"), match.end("secret"), "private-key")


def _docker_auth(match: re.Match[str]) -> Iterator[Span]:
    group = "secret" if match["secret"] else "bare"
    value = match[group]
    if not TOKEN.search(value) and (strength(value) >= 2 or value.endswith("=")):
        yield Span(match.start(group), match.end(group), "secret")


@cache
def assignment_rules() -> tuple[Rule, ...]:
    """The rules about how credentials are written down, the widest first."""
    simple = whole("secret", no_pure_word)
    return (
        Rule(name="private-key", pattern=_BLOCK, find=whole("private-key"), hint=r"-----BEGIN[ +]"),
        Rule(name="private-key", pattern=_PUTTY, find=whole("private-key"), hint=r"PuTTY-User-Key-File-"),
        Rule(name="private-key", pattern=_KEY_ENCODED, find=whole("private-key"), hint=r"LS0tLS1CRUdJTi"),
        *header_rules(),
        Rule(name="assigned", pattern=_ASSIGNED, find=_assigned, hint=_ASSIGNED_HINT),
        Rule(
            name="xml",
            pattern=_XML,
            find=_keyed,
            hint=(
                r"(?i)(?:passw|pass|pwd|pw|psk|secret|token|cred|jwt|key|wort|geheim"
                r"|contrase|clave|sig|sess|sid|[cx]srf|pin|otp|cv|mdp|cookie)[\w.-]*>"
            ),
        ),
        Rule(
            name="xml-pair",
            pattern=_XML_PAIR,
            find=_keyed,
            hint=r"(?i)=\\?[\"'][\w.:-]+\\?[\"']\s+(?:value|val|connectionstring)=",
        ),
        *command_rules(),
        Rule(name="pair", pattern=_PAIR, find=_keyed, hint=r"(?i)[\"']\s*,\s*[\"'][^\"'\r\n]+[\"']\s*[),\]]"),
        *(
            Rule(name="pair", pattern=pattern, find=_keyed, hint=hint)
            for pattern, hint in (
                (_YAML_VALUE, r"\n\s*value:\s"),
                (_TABLE_ROW, rf"(?i)(?:{LONG}|{SHORT})[\w. -]*(?:\||│)"),
                (_VARIABLE, r"variable\s+\"[\w.-]+\"\s*\{"),
                (_NAME_VALUE, rf"(?i)(?:{LONG}|{SHORT})[\w.-]*\\*[\"']\s*,\s*\\*[\"'](?:value|val|v)\\*[\"']"),
            )
        ),
        Rule(name="key", pattern=_JWK, find=_jwk, hint=r"\"kty\\*\""),
        Rule(
            name="seed",
            pattern=_MNEMONIC,
            find=whole("secret"),
            hint=r"(?i)(?:seed|mnemonic|recovery|wallet|backup)[^:=]*[:=][^:=]*[a-z]+ [a-z]+ [a-z]+ [a-z]+ [a-z]+ ",
        ),
        Rule(
            name="docker",
            pattern=_DOCKER_AUTH,
            find=_docker_auth,
            hint=r"(?:auth|registrytoken|identitytoken)[\\\" ]*[:=]",
        ),
        Rule(name="sql", pattern=_SQL, find=simple, hint=r"(?i)(?:identified|password)[^\r\n]*'"),
        *(Rule(name="cloud", pattern=pattern, find=simple) for pattern in (_AZURE_PART, _PRESIGNED, _GOOGLE_LOGIN)),
        *prose_rules(),
    )
