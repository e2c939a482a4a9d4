"""Sections cut into chunks of a size that is embedded and read as one piece."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from activities.memory.knowledge.sections import Section

TARGET = 900
"""Characters of a chunk: about 200 tokens, within what small embedding models take."""

LONGEST = 1_800
"""Characters that a chunk never passes."""

SMALLEST = 200
"""A shorter chunk is joined with the one before it in its section."""

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One piece of a document."""

    heading: tuple[str, ...]
    text: str


def chunks(sections: Iterable[Section]) -> list[Chunk]:
    """The pieces of a document, in order: whole paragraphs where they are short enough, never over two headings."""
    return [Chunk(heading=section.heading, text=text) for section in sections for text in _pieces(section.text)]


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    for part in _parts(text):
        if pieces and (len(pieces[-1]) + len(part) + 2 <= TARGET or _small(pieces[-1], part)):
            pieces[-1] += f"\n\n{part}"
        else:
            pieces.append(part)
    return pieces


def _small(before: str, part: str) -> bool:
    return min(len(before), len(part)) < SMALLEST and len(before) + len(part) + 2 <= LONGEST


def _parts(text: str) -> Iterator[str]:
    for paragraph in _PARAGRAPH.split(text):
        if len(paragraph) <= LONGEST:
            yield from [paragraph.strip("\n")] if paragraph.strip() else []
            continue
        held = ""
        for sentence in _SENTENCE.split(paragraph):
            for start in range(0, max(1, len(sentence)), LONGEST):
                piece = sentence[start : start + LONGEST]
                if held and len(held) + len(piece) + 1 > TARGET:
                    yield held
                    held = piece
                else:
                    held = f"{held}\n{piece}" if held else piece
        if held.strip():
            yield held
