"""Where the value that follows a name begins and ends, and whether it is a credential."""

import re
from collections.abc import Iterable

from activities.safety.naming import Naming, naming_of
from activities.safety.rule import TOKEN, Span
from activities.safety.words import words

NOT_A_VALUE = re.compile(
    r"(?:[*•.\-_]{2,}|[xX]{3,}|<[^>]*>?|\$\{?[A-Za-z_][\w:.-]*\}?|\$\(.*|\{\{.*"
    r"|%\w+%|%[sdvrq]|![a-z]+|\(?(?:redacted|filtered|masked|hidden)\)?"
    r"|\[(?:redacted|filtered|masked|hidden|secret)\]?)\Z",
    re.IGNORECASE,
)
DIAGNOSIS = words("diagnosis")
"""Words after "password:" that say what is wrong with one; such a word is what diagnoses, and stays."""

_REFERENCE = re.compile(
    r"(?:/[\w.-]+){2,}/?\Z|(?:arn|vault|file|secretref|projects?|ref\+\w+|awssm|op|env)[:/]", re.IGNORECASE
)
CALL = re.compile(r"[A-Za-z_][\w.]*\([\w., ]*\Z|[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)+[\[(]?\Z")
_DOTTED = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)+\Z")
_OPEN_CALL = re.compile(r"[A-Za-z_][\w.]*[\[(]\Z")


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
    if not plain or TOKEN.search(value) or NOT_A_VALUE.match(plain) or _is_diagnosis(plain, loose=loose):
        return False
    if naming is Naming.PASSWORD:
        code = _OPEN_CALL.match(plain) or _DOTTED.match(plain) or (loose and plain.isdigit() and len(plain) < 4)
        return quoted or not (code or is_reference(plain))
    if is_reference(plain) or CALL.match(plain):
        return False
    if plain.replace(".", "").replace(",", "").isdigit():
        return len(plain) >= 6 and not key.lower().endswith("s")
    if loose and not quoted:
        return len(plain) >= 8 and (_has_digits(plain) or (len(plain) >= 20 and plain.lower() != plain))
    return len(plain) >= 4


def _is_diagnosis(plain: str, *, loose: bool) -> bool:
    """Whether a value begins with a word about credentials; quoted or assigned, it must be that word alone."""
    first = plain.split(maxsplit=1)[0].lower().rstrip(".,;:!?")
    return first in DIAGNOSIS and (loose or " " not in plain)


def is_reference(value: str) -> bool:
    return bool(_REFERENCE.match(value))


def strength(text: str) -> int:
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


def no_pure_word(text: str) -> bool:
    return text.lower() not in DIAGNOSIS and not NOT_A_VALUE.match(text)


def no_plain_word(text: str) -> bool:
    return no_pure_word(text) and (any(char.isdigit() for char in text) or text[1:] != text[1:].lower())


def spans_of_field(key: str, value: str) -> Iterable[Span]:
    """All of the value of a field whose name says that it is a credential."""
    naming = naming_of(key)
    if naming and is_credential(value, naming, quoted=True, key=key, loose=False):
        return [Span(0, len(value), "secret")]
    return []
