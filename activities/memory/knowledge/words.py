"""Text as the words that it is found by.

A name is kept as it is written and split into its parts, so that `KubePodCrashLooping` is found by "pod crash looping",
`container_memory_rss` by "memory" and `/etc/kubernetes` by itself. Words are stemmed by the rules of their language;
scripts without spaces become pairs of characters (Manning et al., Introduction to Information Retrieval, 2.2).
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from threading import local

import Stemmer

STEMMED = {"en": "english", "de": "german", "fr": "french", "es": "spanish"}
LONGEST_WORD = 64
"""Longer ones are keys, digests or encoded data: nobody looks for them."""

_FUNCTION_WORDS = """
a an and are as at be but by can for from has have if in into is it its no not of on or such that the their then there
these they this to was were will with you your
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that stand in every document; which documents they stand in says nothing."""

_TOKEN = re.compile(r"[^\W_]+(?:[_.\-/:@][^\W_]+)*", re.UNICODE)
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]+")
_STEMMERS = local()
"""A stemmer keeps state while it works, so every thread has its own."""


def words(text: str, language: str = "en") -> list[str]:
    """The index terms of `text`, in order, with repeats.

    Args:
        text: any text.
        language: ISO 639-1 of its words; one without stemming rules is taken as it is.
    """
    return list(_words(unicodedata.normalize("NFKC", text), language))


def _words(text: str, language: str) -> Iterator[str]:
    for found in _TOKEN.finditer(text):
        token = found.group()
        if token.isascii() and token.isalpha() and token.islower():  # nearly all: nothing of it is to be split
            if token not in FUNCTION_WORDS and len(token) <= LONGEST_WORD:
                yield _stem(token, language)
            continue
        pieces = _UNSPACED.findall(token)
        if pieces:
            for piece in pieces:
                yield from (piece[at : at + 2] for at in range(max(1, len(piece) - 1)))
            token = _UNSPACED.sub(" ", token)
        for spaced in token.split():
            yield from _forms(spaced, language)


def _forms(token: str, language: str) -> Iterator[str]:
    if len(token) > LONGEST_WORD:
        return
    parts = _PART.findall(token)
    if len(parts) > 1:
        yield token.lower()
    for part in parts:
        lowered = part.lower()
        if lowered not in FUNCTION_WORDS:
            yield _stem(lowered, language)


@lru_cache(maxsize=100_000)
def _stem(word: str, language: str) -> str:
    rules = STEMMED.get(language)
    if rules is None or not word.isalpha():
        return word
    stemmers = vars(_STEMMERS)
    if rules not in stemmers:
        stemmers[rules] = Stemmer.Stemmer(rules)
    return str(stemmers[rules].stemWord(word))
