"""Credentials that are named by what stands before them: assignments, headers, command lines, URLs, sentences."""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import cache

from activities.safety.rule import TOKEN, Rule, Span, whole
from activities.safety.words import words


class Naming(IntEnum):
    """How surely a name says that its value is a credential."""

    NONE = 0
    TOKEN = 1
    """A token, a key, a signature: words that also name harmless things."""

    PASSWORD = 2


_WORD = re.compile(r"[A-Z]?[a-zñ]+|[A-Z]+(?![a-z])|\d+")
_PASSWORDS = words("passwords")
_TOKENS = words("tokens")
_KEYED = words("keyed")
_NEUTRAL = words("neutral")
_NOT_A_VALUE = re.compile(
    r"(?:[*•.\-_]{2,}|[xX]{3,}|<[^>]*>?|\$\{?[A-Za-z_][\w:.-]*\}?|\$\(.*|\{\{.*"
    r"|%\w+%|%[sdvrq]|![a-z]+|\(?(?:redacted|filtered|masked|hidden)\)?"
    r"|\[(?:redacted|filtered|masked|hidden|secret)\]?)\Z",
    re.IGNORECASE,
)
_DIAGNOSIS = words("diagnosis")
"""Words after "password:" that say what is wrong with one; such a word is what diagnoses, and stays."""

_REFERENCE = re.compile(
    r"(?:/[\w.-]+){2,}/?\Z|(?:arn|vault|file|secretref|projects?|ref\+\w+|awssm|op|env)[:/]", re.IGNORECASE
)
_CALL = re.compile(r"[A-Za-z_][\w.]*\([\w., ]*\Z|[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)+[\[(]?\Z")
_DOTTED = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)+\Z")
_OPEN_CALL = re.compile(r"[A-Za-z_][\w.]*[\[(]\Z")
_PATH = re.compile(r"://[^\s?#&=]*/[\w.-]*\Z")
_ARN = re.compile(r"\barn:[\w:/-]*\Z")


def naming_of(key: str) -> Naming:
    """What the name of a field says of its value: `db_password`, `apiKey`, `X-Auth-Token`; not `secretName`."""
    words = [word.lower() for word in _WORD.findall(key)][-8:]
    found = Naming.NONE
    for number, word in enumerate(words):
        joined = word + words[number + 1] if number + 1 < len(words) else ""
        if word in _PASSWORDS or joined in ("motde", "passphrase"):
            found = Naming.PASSWORD
        elif (
            word in _TOKENS or joined in _TOKENS or (word in ("key", "keys") and number and words[number - 1] in _KEYED)
        ):
            found = max(found, Naming.TOKEN)
        elif word in ("session", "sess") and joined[len(word) :] in ("id", "key"):
            return Naming.TOKEN if number + 2 >= len(words) else Naming.NONE
        elif (
            found and {word, word.removesuffix("s")} & _NEUTRAL and not (word == "key" and words[number - 1] in _KEYED)
        ):
            return Naming.NONE
    return found


def _bare(text: str, start: int, *, encoded: bool) -> int:
    pattern = _BARE_ENCODED if encoded else _BARE
    match = pattern.match(text, start)
    return match.end() if match else start


_BARE = re.compile(
    r"(?![\[{(][\w\"'{])(?:[^\s,;&\"'`<>|\\)\]}\x00]|\\(?![nrt\"'])|[)\]}](?=[^\s,;&\"'`<>|\\)\]}])){1,2048}"
)
_BARE_ENCODED = re.compile(r"(?:(?!%(?:22|26|27|2[cC]|0[aAdD]|20|3[bB]))[^\s,;&\"'`<>|]){1,2048}")
_QUOTE = re.compile(r"(?:[bBuUrRfF]?)(\"\"\"|'''|\\{0,7}[\"'`]|%22|%27|&quot;|&#39;|&#34;)")
_OPEN_LIST = re.compile(r"[\[({](?=[\"'])")
_LINE_END = re.compile(r"[\r\n]|\\[rn]")
_BLANKS = 8
LONGEST_VALUE = 4_096
"""Characters of a value that are looked at."""

_DUMPED = re.compile(r"(?:string|str|varchar)\(\d{1,6}\)\s{0,4}(?=[\"'])")
_BRACKETED = re.compile(r"\[[^\s,:;=\[\]{}()\"']+\]")
_NEXT_LINE = re.compile(r"[ \t]{0,8}(?:[|>][+-]?)?[ \t]{0,8}(?:\r?\n|\\n)[ \t>|#*/-]{0,16}")
_ANOTHER_KEY = re.compile(r"[\w.\-\"']+\s?(?:[:=](?=\s|$)|=)")


def value_at(text: str, position: int) -> tuple[int, int, bool]:
    """Where the value begins and ends that follows a separator, and whether it is quoted; (p, p, False) for none."""
    start = _value_start(text, position)
    if start < 0:
        return position, position, False
    quote = _QUOTE.match(text, start)
    if quote:
        return quote.end(), _quoted_end(text, quote.end(), quote[1]), True
    if TOKEN.match(text, start):
        return position, position, False
    separator = text[max(0, position - 3) : position].lower()
    return start, _bare(text, start, encoded=separator in ("%3d", "%3a")), False


def _value_start(text: str, position: int) -> int:
    """Where a value may begin: in this line or in the next, within brackets; -1 when the next line is another field."""
    start = position
    while start < len(text) and start - position < _BLANKS and text[start] in " \t":
        start += 1
    line = _NEXT_LINE.match(text, start)
    if line and line.end() < len(text):
        start = line.end()
        if _ANOTHER_KEY.match(text, start) and text[start] not in "\"'":
            return -1
    if _OPEN_LIST.match(text, start) or _BRACKETED.match(text, start):
        start += 1
    dumped = _DUMPED.match(text, start)
    return dumped.end() if dumped else start


def _quoted_end(text: str, begin: int, mark: str) -> int:
    """Where the quoted text ends that began at `begin`; without a closing quote, with the line."""
    end = text.find(mark, begin, begin + LONGEST_VALUE)
    while end >= 0:
        back = end - begin - len(text[begin:end].rstrip("\\"))
        if len(mark) > 1 or back % 2 == 0:
            return end
        end = text.find(mark, end + 1, begin + LONGEST_VALUE)
    line = _LINE_END.search(text, begin)
    return line.start() if line else min(len(text), begin + LONGEST_VALUE)


def _has_digits(value: str) -> bool:
    return any(char.isdigit() for char in value)


def is_credential(value: str, naming: Naming, *, quoted: bool, key: str, loose: bool) -> bool:
    """Whether a value is one, and not a word about one, a placeholder or a reference to where it is kept.

    Args:
        value: what follows the name.
        naming: what the name says.
        quoted: whether the value stands in quotes.
        key: the name.
        loose: whether only a colon or a blank stands between, as in sentences.
    """
    plain = value.strip().rstrip(".,;:!?")
    if not plain or TOKEN.search(value) or _NOT_A_VALUE.match(plain) or _is_diagnosis(plain, loose=loose):
        return False
    if naming is Naming.PASSWORD:
        code = _OPEN_CALL.match(plain) or _DOTTED.match(plain) or (loose and plain.isdigit() and len(plain) < 4)
        return quoted or not (code or _is_reference(plain))
    if _is_reference(plain) or _CALL.match(plain):
        return False
    if plain.replace(".", "").replace(",", "").isdigit():
        return len(plain) >= 6 and not key.lower().endswith("s")
    if loose and not quoted:
        return len(plain) >= 8 and (_has_digits(plain) or (len(plain) >= 20 and plain.lower() != plain))
    return len(plain) >= 4


def _is_diagnosis(plain: str, *, loose: bool) -> bool:
    """Whether a value begins with a word about credentials; quoted or assigned, it must be that word alone."""
    first = plain.split(maxsplit=1)[0].lower().rstrip(".,;:!?")
    return first in _DIAGNOSIS and (loose or " " not in plain)


def _is_reference(value: str) -> bool:
    return bool(_REFERENCE.match(value))


_LONG = (
    r"passw|passphrase|passcode|pwd|secret|token|credential|creds|jwt|kennwort"
    r"|geheimnis|contrase(?:ñ|n)a|signature|sess(?:ion)?[_-]?id"
    r"|sessid|csrf|xsrf|(?:api|access|private|account|shared|master|signing|encryption"
    r"|auth|license|session|client|ssh|storage"
    r"|consumer|hmac|aes|webhook|admin|subscription|deploy|service|app|application"
    r"|routing|integration|ingest|ingestion|write)[_-]?key"
)
_SHORT = r"pass|pw|psk|pin|sig|sid|otp|totp|cvv2?|cvc|mdp|clave|jwt|cookie"
_SEPARATOR = r"(?:\\{0,7}[\"'`]|%22|%27|&quot;|&#34;)?\]?[ \t]{0,4}(?P<sep>=>|:=|==?|:|%3[AaDd])"
_ASSIGNED = re.compile(rf"(?:{_LONG}|{_SHORT})[A-Za-z0-9_.\-]{{0,40}}{_SEPARATOR}", re.IGNORECASE)
_ASSIGNED_HINT = (
    rf"(?i)(?:{_LONG}|\b(?:{_SHORT})|[_.-](?:{_SHORT})|[a-z](?:pass|pwd|pin|sig|otp))[A-Za-z0-9_.\-]*"
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
    sure = found is not None and (bool(scheme) or len(found.group()) >= 20 or _strength(found.group()) >= 2)
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
    if _PORT.match(secret) or TOKEN.search(secret) or _NOT_A_VALUE.match(secret):
        return
    # A second address after a comma has credentials of its own.
    length = len(secret)
    another = re.search(r"@[\w.\[\]:-]+(?:[/?][^\s@]*)?[\s,;]+[a-z][a-z0-9+.-]*://", secret, re.IGNORECASE)
    if another:
        length = another.start()
    yield Span(match.start("secret"), match.start("secret") + length, "secret")


_URL_TOKEN = re.compile(r"\b(?:https?|git|ssh)://(?P<secret>[A-Za-z0-9_-]{20,255})@(?=[\w.<-])")

_XML = re.compile(
    (
        rf"<(?:[A-Za-z][\w.-]{{0,20}}:)?(?P<key>[\w.-]{{0,40}}(?:{_LONG}|{_SHORT})[\w.-]{{0,40}})(?:\s[^<>]{{0,200}})?>"
        rf"(?:<!\[CDATA\[)?(?P<secret>[^<>\]\x00]{{1,1024}})"
    ),
    re.IGNORECASE,
)
_XML_PAIR = re.compile(
    (
        rf"\b(?:key|name|id)=\\?[\"'](?P<key>[\w.:-]{{0,40}}(?:{_LONG}|{_SHORT})[\w.-]{{0,40}})\\?[\"']\s{{1,4}}(?:valu"
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


_ARGUMENT = (
    r"\\?(?:\"(?P<double>[^\"\r\n]{1,1024})\"|'(?P<single>[^'\r\n]{1,1024})'|(?P<bare>[^\s\"'`,\\\])}]{1,1024}))"
)


def _argument(kind: str, match: re.Match[str], *, password: bool) -> Iterator[Span]:
    for group in ("double", "single", "bare"):
        value = match[group]
        if value is not None:
            naming = Naming.PASSWORD if password else Naming.TOKEN
            if is_credential(value, naming, quoted=group != "bare", key="", loose=group == "bare" and not password):
                yield Span(match.start(group), match.end(group), kind)
            return


_OPTION = re.compile(
    (
        rf"(?:^|(?<=[\s\"'\[,]))--?(?P<key>[\w.-]{{0,40}}(?:{_LONG}|pass)[\w.-]{{0,20}})[\"']?,?[ \t]{{1,4}}(?!-)"
        rf"{_ARGUMENT}"
    ),
    re.IGNORECASE,
)


def _option(match: re.Match[str]) -> Iterator[Span]:
    naming = naming_of(match["key"])
    if naming:
        yield from _argument("secret", match, password=naming is Naming.PASSWORD)


def _command(commands: str, option: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{commands})\b[^\r\n|;&]{{0,400}}?\s{option}{_ARGUMENT}")


def _command_hint(commands: str) -> str:
    return rf"\b(?:{re.sub(r'.w[{][0-9,]+[}]', '', commands)})[^\r\n]*\s-[pwPAXask]"


def _command_secret(match: re.Match[str]) -> Iterator[Span]:
    yield from _argument("secret", match, password=True)


_COMMANDS = (
    (r"mysql\w{0,12}|mariadb\w{0,12}|sshpass|percona\w{0,20}|mongo\w{0,10}|mydumper|7z", r"-p ?(?!-)(?=\S)"),
    (
        r"docker|podman|helm|az|oc|buildah|skopeo|cf|ibmcloud|nexus|twine|ftp|lftp|smbclient|svn|rabbitmqadmin",
        r"-[pw] (?!-)",
    ),
    (r"sqlcmd|bcp|isql|tsql|osql", r"-P ?(?!-)"),
    (r"redis-cli|redis-benchmark|valkey-cli|keydb-cli", r"-a ?(?!-)"),
    (r"ldap\w{3,10}|kinit|keytool|snmpwalk|snmpget|ipmitool", r"-(?:w|P|A|X|storepass|keypass) (?!-)"),
)
"""Commands, and the option of each that a password follows."""

_USERPWD = re.compile(
    (
        r"\b(?:curl|http|https|xh|wget|ab|hey|wrk)\b[^\r\n|;]{0,400}?\s(?:-u|--user"
        r"|--proxy-user|-U|-a|--auth|-A)[= ]?\s{0,2}[\"']?[^\s:\"']{0,128}:(?P<secret>[^\s\"']{1,512})"
    ),
)
_ORACLE = re.compile(r"\bjdbc:oracle:\w{2,8}:[^\s/@]{1,128}/(?P<secret>[^\s@\"']{1,256})@")
_NET_USE = re.compile(r"\bnet use \S{1,200} (?:\\\\\S{1,300} )?(?P<secret>[^\s/\\][^\s]{0,255}) /user:", re.IGNORECASE)
_NET_USE_AFTER = re.compile(r"\bnet use [^\r\n]{1,400}/user:\S{1,128} (?P<secret>[^\s/][^\s]{0,255})", re.IGNORECASE)
_CHPASSWD = re.compile(r"[\"']?[\w.-]{1,64}:(?P<secret>[^\s\"']{1,256})[\"']?\s{0,4}\|\s{0,4}(?:sudo\s)?chpasswd")
_MAIL_LOGIN = re.compile(r"\bLOGIN\s{1,2}\"?[^\s\"]{1,128}\"?\s{1,2}\"?(?P<secret>[^\s\"]{4,256})")
_MAIL_AUTH = re.compile(
    r"\bAUTH(?:ENTICATE)?\s(?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER|CRAM-MD5|EXTERNAL"
    r"|NTLM)\s(?P<secret>[A-Za-z0-9+/=]{8,4096})"
)
_GO_DSN = re.compile(r"(?<![\w/])[\w.-]{1,64}:(?P<secret>[^\s\"']{1,256})@(?:tcp|unix|udp|cloudsql)\(")
_MNEMONIC = re.compile(
    (
        r"\b(?:seed|mnemonic|recovery|wallet|backup)(?:[ _-](?:phrase|words|mnemonic))?\"?\s{0,3}[:=]\s{0,3}\"?(?P<sec"
        r"ret>[a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,23})"
    ),
    re.IGNORECASE,
)
_VARIABLE = re.compile(
    (
        rf"variable\s{{1,4}}\"(?P<key>[\w.-]{{0,40}}(?:{_LONG}|{_SHORT})[\w.-]{{0,40}})\"\s{{0,4}}\{{[^}}]{{0,400}}?def"
        rf"ault\s{{0,8}}=\s{{0,4}}\"(?P<secret>[^\"\r\n]{{1,1024}})"
    ),
    re.IGNORECASE,
)
_NAME_VALUE = re.compile(
    (
        rf"[\"'](?:name|key|k|id)\\{{0,3}}[\"']\s{{0,4}}:\s{{0,4}}\\{{0,3}}[\"'](?P<key>[\w.-]{{0,40}}(?:{_LONG}"
        rf"|{_SHORT})[\w.-]{{0,40}})\\{{0,3}}[\"']\s{{0,4}},\s{{0,4}}\\{{0,3}}[\"'](?:value"
        rf"|val|v)\\{{0,3}}[\"']\s{{0,4}}:\s{{0,4}}\\{{0,3}}[\"'](?P<secret>[^\"'\\\r\n]{{1,1024}})"
    ),
    re.IGNORECASE,
)
_YAML_VALUE = re.compile(
    (
        rf"name:\s{{1,4}}[\"']?(?P<key>[\w.-]{{0,40}}(?:{_LONG}|{_SHORT})[\w.-]{{0,40}})[\"']?\s{{0,4}}\r?\n\s{{0,40}}v"
        rf"alue:\s{{1,4}}[\"']?(?P<secret>[^\s\"']{{1,1024}})"
    ),
    re.IGNORECASE,
)
_TABLE_ROW = re.compile(
    (
        rf"[|│]\s{{0,20}}(?P<key>[\w. -]{{0,40}}(?:{_LONG}|{_SHORT})[\w. -]{{0,40}}?)\s{{0,40}}["
        rf"|│]\s{{0,20}}(?P<secret>[^\s|│]{{1,512}})\s{{0,80}}(?=[|│])"
    ),
    re.IGNORECASE,
)
_STDIN = re.compile(
    r"\becho\s(?:-n\s)?[\"']?(?P<secret>[^\s\"'|]{4,4096})[\"']?\s{0,4}\|[^\r\n|]{0,200}--password-stdin"
)
_WINDOWS = re.compile(
    r"\s/(?:rp|password|passwd|pwd|pass|adminpassword|userpwd|pw)[ :=]\s{0,2}\"?(?P<secret>[^\s\"/][^\s\"]{0,255})",
    re.IGNORECASE,
)
_SNMP = re.compile(r"\b(?:snmp-server\scommunity|rocommunity|rwcommunity|--community)[ =](?P<secret>[^\s]{4,64})")
_SQLPLUS = re.compile(
    r"\b(?:sqlplus|rman|expdp|impdp|sqlldr)\b[^\r\n]{0,200}?\s[\"']?[\w$#.-]{1,64}/(?P<secret>[^\s@\"'/]{1,128})@"
)
_OAUTH_CODE = re.compile(r"[?&]code=(?P<secret>[A-Za-z0-9/_.%-]{20,512})(?=[&\s\"'])")
_JWK = re.compile(r"\\{0,3}\"(?:d|dp|dq|qi|k)\\{0,3}\"\s{0,3}:\s{0,3}\\{0,3}\"(?P<secret>[A-Za-z0-9_-]{20,2048})")
_PGPASS = re.compile(
    r"(?<![\w.:/-])(?:[A-Za-z][\w.-]{1,253}|\*):(?:5432|5433|6432|3306|6379|27017"
    r"|1521|1433|\*):[\w*.-]{1,63}:[\w*.@-]{1,63}:(?P<secret>[^\s:]{4,256})(?![\w:])"
)
_PAIR = re.compile(
    (
        rf"[\"'](?P<key>[\w.-]{{0,40}}(?:{_LONG}|{_SHORT})[\w.-]{{0,40}})[\"']\s{{0,20}},\s{{0,20}}[\"'](?P<secret>[^\""
        rf"'\r\n]{{1,1024}})[\"']"
    ),
    re.IGNORECASE,
)
_DOCKER_AUTH = re.compile(
    r"\\?\"(?:auth|_auth|identitytoken|registrytoken)\\?\"\s{0,4}:\s{0,4}\\?\"(?P<secret>[A-Za-z0-9+/=_.-]{12,4096"
    r"})|\b_auth\s?=\s?(?P<bare>[A-Za-z0-9+/=_-]{12,4096})"
)
_OPENSSL = re.compile(r"\b-?(?:pass|passin|passout)[ =](?:pass):(?P<secret>[^\s\"']{1,512})")
_NETRC = re.compile(
    r"\b(?:login|user|account)\s{1,4}\S{1,128}\s{1,8}(?:password|passwd)\s{1,4}(?P<secret>[^\s\"']{1,512})",
    re.IGNORECASE,
)
_SQL = re.compile(
    r"\b(?:identified\s{1,4}(?:with\s{1,4}\w{1,40}\s{1,4})?(?:by|as)|(?:encrypted\s{1,4})?password"
    r"|set\s{1,4}password(?:\s{1,4}for\s{1,4}\S{1,80})?\s{0,4}=?"
    r"|old_password|password\s{0,2}\()\s{0,4}\(?\s{0,4}\\{0,3}'(?P<secret>[^'\r\n]{1,512})'",
    re.IGNORECASE,
)
_REDIS_AUTH = re.compile(
    r"(?:^|(?<=[\s\"'>]))(?:AUTH|auth|requirepass|masterauth|PASS)[\"']?\s{1,4}[\"']?(?:default[\"']?\s{1,2}[\"']?"
    r")?(?P<secret>[^\s\"']{4,512})"
)
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
    known = len(value) < 4 or TOKEN.search(value) or value.lower() in _DIAGNOSIS or _NOT_A_VALUE.match(value)
    code = _is_reference(value) or _CALL.match(value) or "://" in value or "=" in value.rstrip("=")
    return not known and not code


def _is_said(noun: str, value: str, between: str, *, quoted: bool) -> bool:
    """Whether a sentence with `noun` and then `between` says that the credential is `value`."""
    if value.isdigit() and not _PIN.match(noun):
        return False
    if not between.strip():
        return (
            (quoted and bool(_PASSWORD_NOUN.match(noun)))
            or (_strength(value) >= 3 and len(value) >= 8)
            or (_strength(value) >= 2 and len(value) >= 24)
        )
    least = 1 if _PASSWORD_NOUN.match(noun) else 2
    return bool(_SAYS.search(between)) and (quoted or _strength(value) >= least)


def _strength(text: str) -> int:
    """How little a text looks like a word: digits, symbols, capitals inside."""
    digits = any(char.isdigit() for char in text)
    symbols = any(not char.isalnum() and char not in "-/._" for char in text)
    joints = any(char in "._-" for char in text[1:-1])
    capitals = text != text.lower()
    inner = text[1:] != text[1:].lower()
    return (
        (2 if digits else 0)
        + (2 if symbols else 0)
        + (1 if joints and digits else 0)
        + (1 if capitals and digits else 0)
        + (1 if inner else 0)
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
    if not TOKEN.search(value) and (_strength(value) >= 2 or value.endswith("=")):
        yield Span(match.start(group), match.end(group), "secret")


def _no_pure_word(text: str) -> bool:
    return text.lower() not in _DIAGNOSIS and not _NOT_A_VALUE.match(text)


def _no_plain_word(text: str) -> bool:
    return _no_pure_word(text) and (any(char.isdigit() for char in text) or text[1:] != text[1:].lower())


@cache
def assignment_rules() -> tuple[Rule, ...]:
    """The rules about how credentials are written down, the widest first."""
    simple = whole("secret", _no_pure_word)
    return (
        Rule(name="private-key", pattern=_BLOCK, find=whole("private-key"), hint=r"-----BEGIN[ +]"),
        Rule(name="private-key", pattern=_PUTTY, find=whole("private-key"), hint=r"PuTTY-User-Key-File-"),
        Rule(name="private-key", pattern=_KEY_ENCODED, find=whole("private-key"), hint=r"LS0tLS1CRUdJTi"),
        Rule(name="header", pattern=_HEADER, find=_header),
        Rule(name="scheme", pattern=_BARE_SCHEME, find=_bare_scheme),
        Rule(name="cookie", pattern=_COOKIE, find=_cookie),
        Rule(name="url", pattern=_URL, find=_url, hint=r":(?://|%2[fF]%2[fF])[^\s:/@\"'<>]*:[^\s]+@"),
        Rule(name="url-token", pattern=_URL_TOKEN, find=simple),
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
        Rule(
            name="option",
            pattern=_OPTION,
            find=_option,
            hint=r"(?i)(?:passw|passphrase|passcode|pwd|token|secret|key|credential|pass)[\w]*[\"']?,?[ \t]",
        ),
        *(
            Rule(
                name="command",
                pattern=_command(commands, option),
                find=_command_secret,
                hint=_command_hint(commands),
            )
            for commands, option in _COMMANDS
        ),
        Rule(
            name="command",
            pattern=_USERPWD,
            find=simple,
            hint=r"(?i)\b(?:curl|https?|xh|wget|ab|hey|wrk)\b[^\r\n]*\s-[-uUaAp]",
        ),
        Rule(name="pair", pattern=_PAIR, find=_keyed, hint=r"(?i)[\"']\s*,\s*[\"'][^\"'\r\n]+[\"']\s*[),\]]"),
        Rule(
            name="command",
            pattern=_PGPASS,
            find=simple,
            hint=r":(?:5432|5433|6432|3306|6379|27017|1521|1433|\*):[^\s:]+:[^\s:]+:",
        ),
        *(
            Rule(name="pair", pattern=pattern, find=_keyed, hint=hint)
            for pattern, hint in (
                (_YAML_VALUE, r"\n\s*value:\s"),
                (_TABLE_ROW, rf"(?i)(?:{_LONG}|{_SHORT})[\w. -]*(?:\||│)"),
                (_VARIABLE, r"variable\s+\"[\w.-]+\"\s*\{"),
                (_NAME_VALUE, rf"(?i)(?:{_LONG}|{_SHORT})[\w.-]*\\*[\"']\s*,\s*\\*[\"'](?:value|val|v)\\*[\"']"),
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
        *(
            Rule(name="command", pattern=pattern, find=simple)
            for pattern in (
                _ORACLE,
                _STDIN,
                _WINDOWS,
                _SNMP,
                _SQLPLUS,
                _OAUTH_CODE,
                _NET_USE,
                _NET_USE_AFTER,
                _CHPASSWD,
                _MAIL_LOGIN,
                _MAIL_AUTH,
                _GO_DSN,
                _OPENSSL,
                _NETRC,
                _AZURE_PART,
                _PRESIGNED,
                _GOOGLE_LOGIN,
            )
        ),
        Rule(name="command", pattern=_REDIS_AUTH, find=whole("secret", _no_plain_word)),
        Rule(name="sentence", pattern=_PROSE, find=_prose, hint=_PROSE_HINT),
    )


def names_credential(key: str) -> bool:
    """Whether the value of a field of this name is a credential, whatever it looks like."""
    return naming_of(key) is not Naming.NONE


def spans_of_field(key: str, value: str) -> Iterable[Span]:
    """All of the value of a field whose name says that it is a credential."""
    naming = naming_of(key)
    if naming and is_credential(value, naming, quoted=True, key=key, loose=False):
        return [Span(0, len(value), "secret")]
    return []
