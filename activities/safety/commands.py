"""Credentials on command lines and in the files of command-line tools."""

import re
from collections.abc import Iterator

from activities.safety.naming import LONG, Naming, naming_of
from activities.safety.rule import Rule, Span, whole
from activities.safety.values import is_credential, no_plain_word, no_pure_word

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
        rf"(?:^|(?<=[\s\"'\[,]))--?(?P<key>[\w.-]{{0,40}}(?:{LONG}|pass)[\w.-]{{0,20}})[\"']?,?[ \t]{{1,4}}(?!-)"
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
_PGPASS = re.compile(
    r"(?<![\w.:/-])(?:[A-Za-z][\w.-]{1,253}|\*):(?:5432|5433|6432|3306|6379|27017"
    r"|1521|1433|\*):[\w*.-]{1,63}:[\w*.@-]{1,63}:(?P<secret>[^\s:]{4,256})(?![\w:])"
)
_OPENSSL = re.compile(r"\b-?(?:pass|passin|passout)[ =](?:pass):(?P<secret>[^\s\"']{1,512})")
_NETRC = re.compile(
    r"\b(?:login|user|account)\s{1,4}\S{1,128}\s{1,8}(?:password|passwd)\s{1,4}(?P<secret>[^\s\"']{1,512})",
    re.IGNORECASE,
)
_REDIS_AUTH = re.compile(
    r"(?:^|(?<=[\s\"'>]))(?:AUTH|auth|requirepass|masterauth|PASS)[\"']?\s{1,4}[\"']?(?:default[\"']?\s{1,2}[\"']?"
    r")?(?P<secret>[^\s\"']{4,512})"
)


def command_rules() -> tuple[Rule, ...]:
    """Options, commands, and files of tools."""
    simple = whole("secret", no_pure_word)
    return (
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
        Rule(
            name="command",
            pattern=_PGPASS,
            find=simple,
            hint=r":(?:5432|5433|6432|3306|6379|27017|1521|1433|\*):[^\s:]+:[^\s:]+:",
        ),
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
            )
        ),
        Rule(name="command", pattern=_REDIS_AUTH, find=whole("secret", no_plain_word)),
    )
