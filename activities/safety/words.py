"""The words that redaction rules read names and values with; the list is data."""

import tomllib
from functools import cache
from pathlib import Path


@cache
def words(name: str) -> frozenset[str]:
    """The words of one list of `words.toml`."""
    return frozenset(tomllib.loads((Path(__file__).parent / "words.toml").read_text())[name].split())
