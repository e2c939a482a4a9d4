"""A document as it is read: its title, and its text under headings."""

from dataclasses import dataclass

LARGEST = 20_000_000
"""Bytes of a document."""

SUFFIXES = (".adoc", ".htm", ".html", ".markdown", ".md", ".pdf", ".rst", ".txt")
"""What is read, by the ending of its name."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """The text between two headings."""

    heading: tuple[str, ...]
    """Headings above it, outermost first, the title apart."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ReadDocument:
    """A document's title and its sections, in order."""

    title: str
    sections: tuple[Section, ...]
