"""Documents in the formats that people keep them in, as sections under their headings."""

import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import PurePosixPath

import yaml
from bs4 import BeautifulSoup
from bs4.element import NavigableString, PreformattedString, Tag
from markdown_it import MarkdownIt
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from activities.memory.knowledge.exceptions import DocumentError
from activities.memory.knowledge.sections import LARGEST, SUFFIXES, ReadDocument, Section

LONGEST = 5_000_000
"""Characters of its text."""

MOST_PAGES = 2_000
DEEPEST = 6
"""Levels of headings that are kept."""

LONGEST_TITLE = 300
_BLANK_LINES = re.compile(r"\n{3,}")
_SPACES = re.compile(r"[ \t]+")
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
_HEADING = re.compile("h[1-6]")
_UNREAD = ("script", "style", "template", "noscript", "nav", "iframe", "object", "svg", "head")
_BLOCKS_ONLY = MarkdownIt("commonmark").disable("inline")
"""What stands in a paragraph is kept as it is written; parsing it is where hostile Markdown takes long."""

_BLOCKS = ("p", "li", "pre", "td", "th", "dt", "dd", "blockquote", "div", "tr", "table", "ul", "ol", "br")


def read_document(location: str, content: bytes) -> ReadDocument:
    """The sections of a document, by the ending of its name.

    Args:
        location: a path or an address.
        content: the file's bytes.

    Raises:
        DocumentError: it is too large, broken, encrypted or of a kind that is not read.
    """
    suffix = PurePosixPath(location.partition("#")[0].partition("?")[0]).suffix.lower()
    if len(content) > LARGEST:
        raise DocumentError(location, f"has {len(content):,} bytes, at most {LARGEST:,} are read", "Split it.")
    reader = READERS.get(suffix)
    if reader is None:
        raise DocumentError(location, f"is no {', '.join(SUFFIXES)}", "Convert it to Markdown or text.")
    fallback = PurePosixPath(location).stem
    title, sections = reader(location, content)
    kept = [
        Section(heading=tuple(_plain(part)[:LONGEST_TITLE] for part in item.heading[:DEEPEST]), text=text)
        for item in sections
        if (text := _tidy(item.text))
    ]
    if sum(len(item.text) for item in kept) > LONGEST:
        raise DocumentError(location, f"has more than {LONGEST:,} characters of text", "Split it.")
    return ReadDocument(title=(_plain(title) or fallback)[:LONGEST_TITLE], sections=tuple(kept))


def decoded(content: bytes) -> str:
    """Text in UTF-8 or, with a mark that says so, UTF-16; what is neither is read as Windows-1252."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _markdown(_location: str, content: bytes) -> tuple[str, list[Section]]:
    text = decoded(content)
    title, front = "", _FRONT_MATTER.match(text)
    if front is not None:
        title, text = _front_title(front.group(1)), text[front.end() :]
    lines = text.splitlines()
    headings: list[tuple[int, int, int, str]] = []
    tokens = _BLOCKS_ONLY.parse(text)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.map is not None and token.level == 0:
            headings.append((token.map[0], token.map[1], int(token.tag[1]), inline.content))
    first = next((name for _, _, level, name in headings if level == 1), "")
    spans = [*headings, (len(lines), len(lines), 0, "")]
    sections = [Section(heading=(), text="\n".join(lines[: spans[0][0]]))]
    path: list[tuple[int, str]] = []
    for (_, begins, level, name), (ends, _, _, _) in pairwise(spans):
        path = [(depth, above) for depth, above in path if depth < level] + [(level, name)]
        above = tuple(item for _, item in path if item != first)
        sections.append(Section(heading=above, text="\n".join(lines[begins:ends])))
    return first or title, sections


def _front_title(text: str) -> str:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    return str(found.get("title", "")) if isinstance(found, dict) else ""


def _html(_location: str, content: bytes) -> tuple[str, list[Section]]:
    soup = BeautifulSoup(content, "html.parser")
    title = soup.title.get_text() if soup.title is not None else ""
    for tag in soup.find_all(_UNREAD):
        tag.decompose()
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    lines: list[str] = []

    def end() -> None:
        sections.append(Section(heading=tuple(name for _, name in path), text="".join(lines)))
        lines.clear()

    for kind, text in _pieces(soup):
        if kind == 0:
            lines.append(text)
        else:
            end()
            path = [(depth, above) for depth, above in path if depth < kind] + [(kind, text)]
    end()
    first = next((item.heading[0] for item in sections if item.heading), "")
    title = first or title
    plain = [Section(heading=tuple(h for h in item.heading if h != title), text=item.text) for item in sections]
    return title, plain


def _pieces(soup: BeautifulSoup) -> Iterator[tuple[int, str]]:
    """(level, heading) and (0, text), in the order of the page; nesting may be of any depth."""
    inside: set[int] = set()
    for element in soup.descendants:
        if isinstance(element, Tag):
            if _HEADING.fullmatch(element.name):
                said = list(_said_in(element))
                inside |= {id(item) for item in said}
                yield int(element.name[1]), " ".join("".join(said).split())
            elif element.name in _BLOCKS:
                yield 0, "\n"
        elif _is_text(element) and id(element) not in inside:
            pre = element.find_parent("pre") is not None
            yield 0, str(element) if pre else re.sub(r"\s+", " ", str(element))


def _said_in(heading: Tag) -> Iterator[NavigableString]:
    """The texts of a heading; of one that is never closed, those before the next heading or block."""
    length = 0
    for element in heading.descendants:
        if isinstance(element, Tag) and (_HEADING.fullmatch(element.name) or element.name in _BLOCKS):
            return
        if isinstance(element, NavigableString) and _is_text(element):
            yield element
            length += len(element)
            if length > LONGEST_TITLE:
                return


def _is_text(element: object) -> bool:
    return isinstance(element, NavigableString) and not isinstance(element, PreformattedString)  # comments and such


def _text(_location: str, content: bytes) -> tuple[str, list[Section]]:
    return "", [Section(heading=(), text=decoded(content))]


def _pdf(location: str, content: bytes) -> tuple[str, list[Section]]:
    try:
        reader = PdfReader(io.BytesIO(content))
        problem = _unusable(reader)
        if problem is not None:
            raise DocumentError(location, *problem)
        pages = list(_pages(reader))
        title = reader.metadata.title if reader.metadata is not None else None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        raise DocumentError(location, f"is no readable PDF ({error})", "Print it to a new PDF.") from error
    if not any(section.text.strip() for section in pages):
        raise DocumentError(location, "has no text, only images", "Recognise its text (OCR) first.")
    return title or "", pages


def _unusable(reader: PdfReader) -> tuple[str, str] | None:
    """What is wrong with a PDF and what to do; None where it can be read."""
    if reader.is_encrypted and not reader.decrypt(""):
        return "is encrypted", "Save it without a password."
    if len(reader.pages) > MOST_PAGES:
        return f"has more than {MOST_PAGES:,} pages", "Split it."
    return None


def _pages(reader: PdfReader) -> Iterator[Section]:
    length = 0
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        length += len(text)
        yield Section(heading=(f"page {number}",), text=text)
        if length > LONGEST:
            return  # what is too long is refused by its length


READERS: dict[str, Callable[[str, bytes], tuple[str, list[Section]]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".txt": _text,
    ".rst": _text,
    ".adoc": _text,
    ".pdf": _pdf,
}


def _tidy(text: str) -> str:
    """Without what cannot be stored or is not seen; at most one empty line in a row."""
    kept = "".join(char for char in text if char in "\n\t" or unicodedata.category(char)[0] != "C")
    lines = (line.rstrip() for line in kept.replace("\t", "    ").splitlines())
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def _plain(text: str) -> str:
    return _SPACES.sub(" ", " ".join(_tidy(text).split()))
