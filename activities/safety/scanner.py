"""One pass of all patterns over many texts at once: which text may hold what.

Hyperscan (Vectorscan) runs every pattern in one automaton. It is only a prefilter: a pattern that it cannot express is
widened, so that no text is missed, and the rules themselves look at the few texts that remain.
"""

import hashlib
import os
import platform
import re
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version as version_of

import hyperscan
import numpy as np
import platformdirs

from activities.safety.rule import Rule

BATCH_BYTES = 4 * 1024 * 1024
"""Bytes that are scanned at once, so that memory stays bounded."""

LONG_REPEAT = 12
"""Longest counted repeat of a prefilter."""

_GAP = "\n\x00\n"
"""Between two texts; no text holds NUL."""


class Scanner:
    """A compiled set of rules; safe to use from several threads."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Compile the patterns of `rules`."""
        self._groups = _groups(rules)
        hints = [[rules[number] for number in group] for group in self._groups]
        self._database = _compiled([_expression(group) for group in hints], [_flags(group[0]) for group in hints])
        self._scratch = hyperscan.Scratch(self._database)
        self._own = threading.local()

    def candidates(self, texts: Sequence[str]) -> dict[int, list[int]]:
        """For each text that may hold something: the rules that may apply, ascending.

        Args:
            texts: without NUL and lone surrogates.
        """
        found: dict[int, set[int]] = {}
        sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        batch = np.cumsum(sizes) // BATCH_BYTES
        ends = [*(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(texts)]
        begin = 0
        for end in ends:
            self._scan(texts[begin:end], begin, found)
            begin = end
        return {number: sorted(found[number]) for number in sorted(found)}

    def _scan(self, texts: Sequence[str], first: int, found: dict[int, set[int]]) -> None:
        joined = _GAP.join(texts)
        content = joined.encode()
        hits: list[tuple[int, int]] = []

        def keep(rule: int, _start: int, end: int, _flags: int, _context: object) -> None:
            hits.append((rule, end))

        self._database.scan(content, match_event_handler=keep, scratch=self._scratch_of_thread())
        if not hits:
            return
        sizes = map(len, texts) if len(content) == len(joined) else (len(text.encode()) for text in texts)
        lengths = np.fromiter(sizes, dtype=np.int64, count=len(texts))
        starts = np.concatenate([[0], np.cumsum(lengths[:-1] + len(_GAP))])
        numbers = np.searchsorted(starts, np.array([end for _, end in hits]) - 1, side="right") - 1
        for (group, _), number in zip(hits, numbers.tolist(), strict=True):
            found.setdefault(first + number, set()).update(self._groups[group])

    def _scratch_of_thread(self) -> hyperscan.Scratch:
        scratch: hyperscan.Scratch | None = getattr(self._own, "scratch", None)
        if scratch is None:
            scratch = self._own.scratch = self._scratch.clone()
        return scratch


def _groups(rules: Sequence[Rule]) -> list[list[int]]:
    """The numbers of the rules that are one pattern."""
    groups: dict[str, list[int]] = {}
    for number, rule in enumerate(rules):
        groups.setdefault(rule.group or f"#{number}", []).append(number)
    return list(groups.values())


def _expression(rules: Sequence[Rule]) -> bytes:
    patterns = [rule.hint or widened(rule.pattern.pattern) for rule in rules]
    return (patterns[0] if len(patterns) == 1 else "|".join(f"(?:{pattern})" for pattern in patterns)).encode()


def _compiled(expressions: list[bytes], flags: list[int]) -> hyperscan.Database:
    """The automaton of these expressions: compiling takes seconds, so it is kept in the user's cache."""
    version = f"{version_of('hyperscan')} {platform.platform()} {platform.processor()} {flags}"
    digest = hashlib.sha256(b"\x00".join([version.encode(), *expressions])).hexdigest()
    path = platformdirs.user_cache_path("inquest") / f"patterns-{digest[:32]}"
    try:
        if os.stat(path).st_uid == os.geteuid():
            return hyperscan.loadb(path.read_bytes(), hyperscan.HS_MODE_BLOCK)
    except (OSError, hyperscan.error):
        pass  # not there, or of another machine: compile it
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=expressions, ids=list(range(len(flags))), elements=len(flags), flags=flags)
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".patterns-", delete=False) as file:
            file.write(hyperscan.dumpb(database))
        os.replace(file.name, path)
    return database


_AROUND = (
    (re.compile(r"^\(\?<!\[((?:[^\]\\]|\\.)+)\]\)"), r"(?:^|[^\1])"),
    (re.compile(r"\(\?!\[((?:[^\]\\]|\\.)+)\]\)$"), r"(?:$|[^\1])"),
    (re.compile(r"^\(\?:\(\?<!\[A-Za-z0-9\]\)\|\(\?<=([^()]+)\)\|\(\?<=([^()]+)\)\)"), r"(?:^|[^A-Za-z0-9]|\1|\2)"),
)
"""Looking behind at the beginning and ahead at the end, which the automaton would leave out: as characters."""

_REPEAT = re.compile(r"(?<!\\)\{(\d+)(?:,(\d*))?\}")


def widened(pattern: str) -> str:
    """A pattern that matches wherever `pattern` does, with short repeats, which keep the automaton small."""

    def repeat(match: re.Match[str]) -> str:
        least, most = int(match[1]), match[2]
        if int(most or least) <= LONG_REPEAT and most != "":
            return match.group()
        return f"{{{min(least, LONG_REPEAT)},}}"

    shorter = _REPEAT.sub(repeat, pattern)
    for around, instead in _AROUND:
        shorter = around.sub(instead, shorter)
    return shorter


def _flags(rule: Rule) -> int:
    flags = hyperscan.HS_FLAG_PREFILTER
    if rule.hint:
        return int(flags)
    if not rule.pattern.flags & re.ASCII:
        flags |= hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_UCP
    if rule.pattern.flags & re.IGNORECASE:
        flags |= hyperscan.HS_FLAG_CASELESS
    return int(flags)
