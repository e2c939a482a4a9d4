"""Personal data: what check digits, number plans and the names of fields say that it is."""

import ipaddress
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cache

import phonenumbers
from stdnum import iban, luhn
from stdnum.be import nn as be_nn
from stdnum.br import cpf as br_cpf
from stdnum.ch import ssn as ch_ssn
from stdnum.es import dni as es_dni
from stdnum.es import nie as es_nie
from stdnum.fr import nir as fr_nir
from stdnum.it import codicefiscale as it_cf
from stdnum.us import ssn as us_ssn

from activities.safety.rule import TOKEN, Rule, Span, whole
from activities.safety.values import value_at
from activities.safety.words import words


class AddressPolicy(StrEnum):
    """What becomes of IP addresses."""

    KEEP = "keep"
    """All stay."""

    PRIVATE = "private"
    """Private, loopback and link-local ones stay, the others become pseudonyms."""

    PSEUDONYMISE = "pseudonymise"
    """All become pseudonyms."""


_AT = r"(?:@|%40|&#64;|&#x40;|\\u0040|\s?[\[(]at[\])]\s?)"
_EMAIL = re.compile(
    (
        rf"(?<![\w.+-])(?P<local>[\w.+!#$*^~-]{{1,64}}(?:'[\w.+-]{{1,40}})?){_AT}(?P<domain>(?:[\w-]{{1,63}}(?:\."
        rf"|%2[eE]|\s?[\[(]dot[\])]\s?)){{1,8}}[^\W\d_]{{2,24}})(?![\w@])"
    ),
    re.IGNORECASE,
)
_NO_MAILBOX = words("no_mailbox")
_NO_TLD = words("no_domain")


def _email(match: re.Match[str]) -> Iterator[Span]:
    local, domain = match["local"], match["domain"]
    labels = re.split(r"\.|%2[eE]|\s?[\[(]dot[\])]\s?", domain)
    if local.lower() in _NO_MAILBOX or labels[-1].lower() in _NO_TLD or all(label.isdigit() for label in labels[:-1]):
        return
    encoded = re.search(r"%(?:22|3[aAcCdDeE]|26|20|2[cCfF])(?=[^%]*\Z)", local)
    yield Span(match.start() + (encoded.end() if encoded else 0), match.end(), "email")


_CARD = re.compile(
    r"(?:(?<![\w.+-])|(?<=%3[dD]))(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6\d{3}|35\d\d"
    r"|3[0689]\d\d)(?:(?P<gap>[ -])?\d{4}){2}[ -]?\d{1,7}(?![\w-]|\.\d)"
    r"|(?:(?<![\w.+-])|(?<=%3[dD]))3[47]\d\d[ -]?\d{6}[ -]?\d{5}(?![\w-]|\.\d)"
    r"|(?:(?<![\w.+-])|(?<=%3[dD]))3(?:0[0-5]|[689]\d)\d[ -]?\d{6}[ -]?\d{4}(?![\w-]|\.\d)"
)
_LENGTHS = (
    (r"4", (13, 16, 19)),
    (r"5[1-5]", (16,)),
    (r"2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)", (16,)),
    (r"3[47]", (15,)),
)
_MORE_LENGTHS = (
    (r"6(?:011|4[4-9]|5)", (16, 19)),
    (r"35(?:2[89]|[3-8])", (16, 19)),
    (r"3(?:0[0-5]|[689])", (14, 16, 19)),
    (r"62", (16, 17, 18, 19)),
)


def is_card(text: str) -> bool:
    """Whether digits are a payment card's: a known range and length, and the check digit (ISO/IEC 7812-1)."""
    digits = re.sub(r"\D", "", text)
    known = any(re.match(prefix, digits) and len(digits) in lengths for prefix, lengths in _LENGTHS + _MORE_LENGTHS)
    return known and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


_COUNTED = re.compile(
    r"(?i)(?:offset|id|seq|sequence|bytes|size|count|lag|time|timestamp|ts|nanos?"
    r"|micros|ns|us|ms|order|request|trace|span|partition|version"
    r"|epoch|uid|hash|serial|build|tx|transaction)[\"']?[^\w]{0,3}\Z"
)

"""What stands before a long number that is none of a card."""


def _card(match: re.Match[str]) -> Iterator[Span]:
    grouped = not match.group().isdigit()
    if is_card(match.group()) and (
        grouped or not _COUNTED.search(match.string[max(0, match.start() - 24) : match.start()])
    ):
        yield Span(match.start(), match.end(), "card")


_IBAN_COUNTRIES = (
    "A[DELTZ]|B[AEGHIRY]|C[HRYZ]|D[EJKO]|E[EGS]|F[IKOR]|G[BEILRT]|H[NRU]|I[ELQRST]"
    "|J[O]|K[WZ]|L[BCITUVY]|M[CDEKNRTU]|N[ILO]|OM"
    "|P[KLST]|QA|R[OSU]|S[ACDEIKMOTV]|T[LNR]|UA|V[AG]|XK|YE"
)
_IBAN = re.compile(
    rf"(?<![A-Za-z0-9])(?:{_IBAN_COUNTRIES})\d{{2}}(?:[ -]?[A-Z0-9]{{4}}){{2,7}}(?:[ -]?[A-Z0-9]{{1,4}})?(?![A-Z0-9])",
    re.IGNORECASE | re.ASCII,
)


def _iban(match: re.Match[str]) -> Iterator[Span]:
    """The longest part that is an account number: words may follow in the same spelling."""
    text = match.group()
    for end in range(len(text), 14, -1):
        if (end == len(text) or not text[end].isalnum()) and iban.is_valid(text[:end].upper(), check_country=False):
            yield Span(match.start(), match.start() + end, "iban")
            return


_SSN = re.compile(r"(?<![\w.-])(?!000|666|9\d\d)\d{3}(?:-(?!00)\d\d-| (?!00)\d\d )(?!0000)\d{4}(?![\w-]|\.\d)")
_NINO = re.compile(
    r"(?<![A-Za-z0-9])(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?\d\d){3} ?[A-D](?![A-Za-z0-9])"
)
_NIR = re.compile(r"(?<![\w.-])[1-478] ?\d\d ?(?:0[1-9]|[1-9]\d) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d(?![\w-]|\.\d)")
_NIE = re.compile(r"(?<![\w-])[XYZ]-?\d{7}-?[A-Z](?![\w-])")
_DNI = re.compile(r"(?<![\w.-])\d{8}-?[A-HJ-NP-TV-Z](?![\w-])")
_CODICE = re.compile(r"(?<![A-Za-z0-9])[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?![A-Za-z0-9])")
_CPF = re.compile(r"(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])")
_AHV = re.compile(r"(?<![\w.-])756\.?\d{4}\.?\d{4}\.?\d{2}(?![\w-]|\.\d)")
_RIJKSREGISTER = re.compile(r"(?<![\w.-])\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}(?![\w-])")


def _upper(valid: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: bool(valid(text.upper()))


_PHONE = re.compile(r"(?<![\w+.])(?:\+|%2[bB])[1-9](?:[ ().\-/]{0,2}\d){7,14}(?![\w]|\.\d)")
_PHONE_US = re.compile(r"(?<![\w.+-])(?:\+?1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}(?![\w-]|\.\d)")


def _is_phone(text: str) -> bool:
    try:
        number = phonenumbers.parse(text.replace("%2B", "+").replace("%2b", "+"), "US")
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.is_possible_number(number))


_BETWEEN = (
    r"(?:\s(?:of|for|del?|du|des|der|von|la|el|the)\s\w{2,16})?(?:[ _-]{0,2}(?:number"
    r"|no|nr|num|nummer|id|numero|número|n°|#)\.?)?(?:\\{0,3}[\"']|%22|&quot;)?(?:\s{0,3}(?:is"
    r"|was|ist|war|est|es|lautet|:|=>|=|%3[aAdD])\s{0,3}(?:\{\s{0,2}\\{0,3}[\"'](?:number"
    r"|no|id|value)\\{0,3}[\"']\s{0,2}:\s{0,2})?|\s{1,2}|>)"
    r"(?:\\{0,3}[\"'(\[]|%22|&quot;)?"
)
_PHONE_FIELD = re.compile(
    rf"(?<![A-Za-z])(?:phone|telephone|tel\.?|mobile|mobil|handy|cell(?:phone)?"
    rf"|fax|msisdn|telefon|téléphone|teléfono|telefono|telephone|portable|móvil"
    rf"|movil|celular|whatsapp|contact|rufnummer|telefonnummer|handynummer|mobilnummer"
    rf"|phone_?number|phonenumber|call|sms to|dial)"
    rf"{_BETWEEN}(?P<secret>(?:\+|%2[bB])?\(?\d(?:[ ().\-/]{{0,3}}\d){{6,14}})(?![\w]|\.\d)",
    re.IGNORECASE,
)
_IDENTITY_FIELD = re.compile(
    rf"(?<![A-Za-z])(?:passport|reisepass|passeport|pasaporte|personalausweis"
    rf"|ausweis|id[ _-]?card|identity[ _-]?card|national[ _-]?id(?:entity)?|driv(?:er'?s?"
    rf"|ing)[ _-]?licen[cs]e|f(?:ü|ue)hrerschein|tax[ _-]?(?:payer[ _-]?)?id|steuer[ _-]?id(?:entifikationsnummer)?"
    rf"|ssn|social[ _-]?security|sozialversicherung(?:snummer)?|nino|national[ _-]?insurance"
    rf"|nhs|nir|insee|dni|nie|curp|aadhaar|pesel|bsn|personnummer|medicare|sin"
    rf"|health[ _-]?card|patient[ _-]?id|account[ _-]?holder[ _-]?id|kontonummer"
    rf"|bank[ _-]?account|account[ _-]?number|cpf)"
    rf"{_BETWEEN}(?P<secret>(?=[A-Za-z ./-]{{0,8}}\d)[A-Za-z0-9](?:[ ./-]?[A-Za-z0-9]){{4,24}})(?![\w])",
    re.IGNORECASE,
)
_DATE = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ]{1,2}\d{1,2}[-/. ]{1,2}\d{2,4}"
    r"|\d{8}(?!\d)|\d{1,2}(?:st|nd|rd|th|\.)?[ -](?:de )?[A-Za-zäéû]{3,10}\.?,?[ -](?:de )?\d{2,4}"
    r"|[A-Za-z]{3,9}\.? \d{1,2}(?:st|nd|rd|th)?,? \d{4})"
)
_BIRTH_FIELD = re.compile(
    rf"(?<![A-Za-z])(?:birth[ _-]?(?:date|day)|date[ _-]?of[ _-]?birth|d\.?o\.?b\.?"
    rf"|born(?: on)?|birthdate|birthday|geburtsdatum|geburtstag|geboren(?: am)?"
    rf"|date[ _-]?(?:de[ _-]?)?naissance|n(?:é|e)e? le|fecha[ _-]?(?:de[ _-]?)?nacimiento"
    rf"|nacid[oa] el)"
    rf"{_BETWEEN}(?P<secret>{_DATE})",
    re.IGNORECASE,
)
_PERSON_KEY = (
    r"(?:first|last|full|given|family|middle|maiden|sur|customer|client|patient"
    r"|employee|contact|holder|cardholder|recipient|passenger|person|billing"
    r"|shipping|owner_full|legal|real|subscriber|beneficiary|payer|payee|guest"
    r"|student|member|traveller|traveler)"
    r"[ _.-]?name|firstname|lastname|fullname|surname|cardholder|account[ _-]?holder"
    r"|vorname|nachname|familienname|kundenname|karteninhaber|nom[ _-]?de[ _-]?famille"
    r"|nom[ _-]?complet|pr(?:é|e)nom|apellidos?|nombre[ _-]?(?:completo|cliente)"
    r"|titular"
)
_ADDRESS_KEY = (
    r"(?:street|billing|shipping|home|postal|mailing|delivery|residential|customer"
    r"|permanent|physical|work|invoice)[ _.-]?address(?:[ _.-]?(?:line)?[ _.-]?\d)?"
    r"|address[ _.-]?line[ _.-]?\d?|street(?:[ _.-]?name)?|addr(?:ess)?[ _-]?[12]"
    r"|zip[ _-]?code|zip|postal[ _-]?code|post[ _-]?code|postcode|plz"
    r"|stra(?:ß|ss)e|anschrift|wohnort|lieferadresse|rechnungsadresse|adresse(?:[ _-](?:de[ _-])?(?:livraison"
    r"|facturation|postale))?|code[ _-]?postal|direcci(?:ó|o)n(?:[ _-]?postal)?"
    r"|domicilio|c(?:ó|o)digo[ _-]?postal|address"
)
_FIELD_END = r"(?:\\{0,7}[\"'`]|%22|&quot;)?[ \t]{0,4}(?P<sep>=>|=|:|%3[AaDd])"
_FIELD_HINT = r"(?:\\*[\"'`]|%22|&quot;)?[ \t]*(?:=|:|%3)"
_PERSON_FIELD = re.compile(rf"(?<![A-Za-z])(?:{_PERSON_KEY}){_FIELD_END}", re.IGNORECASE)
_ADDRESS_FIELD = re.compile(rf"(?<![A-Za-z])(?P<key>{_ADDRESS_KEY}){_FIELD_END}", re.IGNORECASE)
_PERSON_XML = re.compile(
    (
        rf"<(?:\w{{1,20}}:)?(?:[\w.-]{{0,20}}[_.-])?(?:{_PERSON_KEY}|{_ADDRESS_KEY})(?:\s[^<>]{{0,100}})?>(?P<secret>[^"
        rf"<>\x00]{{2,200}})</"
    ),
    re.IGNORECASE,
)
_WORDS = re.compile(
    r"[^\W\d_][\w'\u2019.-]{0,40}(?: (?:(?:van|von|de|der|den|la|del|di|da|bin|al"
    r"|le|el) )*[A-ZÄÖÜÉÈÁÓÍÑÇŠŽØÅ][\w'\u2019.-]{0,40}){0,4}"
)
_NOT_A_PERSON = words("no_person")
_STREET = re.compile(r"[^,;|\"'<>\r\n\x00&]{2,80}(?:,\s?[^,;|\"'<>\r\n\x00&=:]{2,60}){0,3}")
_HOST = re.compile(r"\A(?:[\d.]+|\[?[0-9a-fA-F:]+\]?|[\w.-]+)(?::\d+)?/?\Z|\A[\w+.-]+://|\A0x|\A/")


def _person(match: re.Match[str]) -> Iterator[Span]:
    text = match.string
    start, end, quoted = value_at(text, match.end())
    if start >= end:
        return
    if not quoted:
        words = _WORDS.match(text, start)
        if words is None:
            return
        end = words.end() if match["sep"] in (":", "=") and " " in words.group() else max(end, words.end())
        end = min(end, len(text))
    value = text[start:end].strip()
    if not value or len(value) > 120 or TOKEN.search(value) or value.split()[0].lower().rstrip(".,") in _NOT_A_PERSON:
        return
    if any(char.isalpha() for char in value) and not re.search(r"[{}<>$=]|\w\.\w+\.\w", value):
        yield Span(start, end, "person")


def _address(match: re.Match[str]) -> Iterator[Span]:
    """A postal address; what an "address" of a machine looks like stays."""
    text = match.string
    start, end, quoted = value_at(text, match.end())
    if start >= end:
        return
    if not quoted:
        street = _STREET.match(text, start)
        if street is None:
            return
        end = start + len(street.group().rstrip())
        following = re.search(r"[ ,;]+[\w.-]+[=:]", text[start:end])
        end = start + following.start() if following else end
    value = text[start:end].strip()
    key = match["key"].lower()
    if not value or len(value) > 200 or TOKEN.search(value) or value.split()[0].lower() in _NOT_A_PERSON:
        return
    code = key.startswith(("zip", "post", "plz", "code", "cód", "cod")) and not key.endswith("address")
    if code and key not in ("postal address",):
        if re.match(r"[A-Za-z0-9][A-Za-z0-9 -]{2,9}\Z", value) and any(char.isdigit() for char in value):
            yield Span(start, end, "address")
        return
    if _HOST.match(value) and not (quoted and key not in ("address",) and not value[:1].isdigit() and "." not in value):
        return
    plausible = " " in value and any(char.isalpha() for char in value)
    if key in ("address", "adresse") and not (plausible and any(char.isdigit() for char in value)):
        return
    if plausible or key.startswith(("street", "stra")):
        yield Span(start, end, "address")


_IPV4 = re.compile(
    r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?![\w-]|\.\d)"
)
_IPV6 = re.compile(
    r"(?<![\w:.])(?:[23][0-9A-Fa-f]{3}|[fF][cdCDeE][0-9A-Fa-f]{2}|::1?)(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"
)


def _ip(policy: AddressPolicy) -> Callable[[str], bool]:
    def accept(text: str) -> bool:
        try:
            found = ipaddress.ip_address(text)
        except ValueError:
            return False
        if found.is_unspecified or found.is_loopback:
            return False
        return policy is AddressPolicy.PSEUDONYMISE or found.is_global

    return accept


def _has_digits(least: int) -> Callable[[str], bool]:
    return lambda text: sum(char.isdigit() for char in text) >= least


_HINTS = {
    _CARD: (
        r"(?:^|[^\w.+-]|%3[dD])(?:[2-6]\d{3}(?:[ -]\d{4}){2}[ -]\d|[2-6]\d{12,}(?:$"
        r"|[^\w-])|3\d{3}[ -]\d{6}[ -]\d{4})"
    ),
    _IBAN: (
        rf"(?:^|[^A-Za-z0-9])(?:{_IBAN_COUNTRIES}|{_IBAN_COUNTRIES.lower()})\d\d(?:[ -][A-Za-z0-9]{{4}}["
        rf" -][A-Za-z0-9]{{4}}|[A-Za-z0-9]{{11,}}(?:$|[^A-Za-z0-9]))"
    ),
    _SSN: r"(?:^|[^\w.-])\d{3}(?:-\d\d-| \d\d )\d{4}(?:$|[^\w-])",
    _NIR: r"(?:^|[^\w.-])[1-478] ?\d\d ?\d\d ?[\dAB]{2} ?\d{3} ?\d{3} ?\d\d(?:$|[^\w-])",
    _PHONE_FIELD: (
        r"(?i)(?:phone|tel|mobil|handy|cell|fax|msisdn|portable|vil|celular"
        r"|whatsapp|contact|rufnummer|call|sms to|dial)[^0-9\r\n]*[0-9]"
    ),
    _IDENTITY_FIELD: (
        r"(?i)passport|passeport|pasaporte|reisepass|ausweis|id[ _-]?card"
        r"|identity|national|licen[cs]e|schein|tax[ _-]?|steuer|ssn|social"
        r"|sozial|nino|insurance|nhs|\bnir\b|insee|\bdni\b|\bnie\b|curp"
        r"|aadhaar|pesel|\bbsn\b|personnummer|medicare|\bsin\b|health|patient"
        r"|account|konto|\bcpf\b"
    ),
    _PERSON_XML: rf"(?i)(?:{_PERSON_KEY}|{_ADDRESS_KEY})>",
    _BIRTH_FIELD: r"(?i)birth|\bd\.?o\.?b\b|born|geburt|geboren|naissance|n(?:é|e)e? le\b|nacimiento|nacid",
}
"""Simpler patterns for the prefilter."""


def _group_of(pattern: re.Pattern[str]) -> str:
    return "" if pattern in (_IDENTITY_FIELD, _BIRTH_FIELD, _PHONE_FIELD, _PERSON_XML) else "digits"


@cache
def personal_rules(policy: AddressPolicy) -> tuple[Rule, ...]:
    """The rules about personal data.

    Args:
        policy: what becomes of IP addresses.
    """
    numbers: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
        ("id", _SSN, lambda text: bool(us_ssn.is_valid(text.replace(" ", "-")))),
        ("id", _NINO, lambda _text: True),
        ("id", _NIR, _upper(fr_nir.is_valid)),
        ("id", _NIE, lambda text: bool(es_nie.is_valid(text))),
        ("id", _DNI, lambda text: bool(es_dni.is_valid(text))),
        ("id", _CODICE, lambda text: bool(it_cf.is_valid(text))),
        ("id", _CPF, lambda text: bool(br_cpf.is_valid(text))),
        ("id", _AHV, lambda text: bool(ch_ssn.is_valid(text))),
        ("id", _RIJKSREGISTER, lambda text: bool(be_nn.is_valid(text))),
        ("id", _IDENTITY_FIELD, _has_digits(3)),
        ("birth-date", _BIRTH_FIELD, lambda _text: True),
        ("phone", _PHONE, _is_phone),
        ("phone", _PHONE_US, lambda _text: True),
        ("phone", _PHONE_FIELD, _has_digits(7)),
        ("person", _PERSON_XML, lambda text: text.strip().lower() not in _NOT_A_PERSON),
    )
    addresses = () if policy is AddressPolicy.KEEP else (_IPV4, _IPV6)
    return (
        Rule(name="person", pattern=_PERSON_FIELD, find=_person, hint=rf"(?i)(?:{_PERSON_KEY}){_FIELD_HINT}"),
        Rule(name="address", pattern=_ADDRESS_FIELD, find=_address, hint=rf"(?i)(?:{_ADDRESS_KEY}){_FIELD_HINT}"),
        Rule(
            name="email",
            pattern=_EMAIL,
            find=_email,
            hint=r"(?i)(?:@|%40)[^\s@,;<>]+(?:\.|%2e|\s?[\[(]dot)|&#64;|&#x40;|\\u0040|[\[(]at[\])]",
        ),
        Rule(name="iban", pattern=_IBAN, find=_iban, hint=_HINTS[_IBAN]),
        Rule(name="card", pattern=_CARD, find=_card, hint=_HINTS[_CARD]),
        *(
            Rule(
                name=kind,
                pattern=pattern,
                find=whole(kind, accept),
                hint=_HINTS.get(pattern, ""),
                group=_group_of(pattern),
            )
            for kind, pattern, accept in numbers
        ),
        *(Rule(name="ip", pattern=pattern, find=whole("ip", _ip(policy)), group="digits") for pattern in addresses),
    )
