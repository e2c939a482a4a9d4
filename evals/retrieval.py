"""How well runbooks are found: queries with known answers, scored for each ranking alone and for all fused.

Two sets of queries are made of a folder of runbooks. `rules`: what alerting rules say of an alert that has a page,
without the alert's name. `meaning`: the section Meaning of a page, looked for in a library whose pages lack it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from activities.memory.knowledge.embedding import Embedder
from activities.memory.knowledge.exceptions import DocumentError
from activities.memory.knowledge.library import Library, NewDocument, content_digest
from activities.memory.knowledge.reading import read_document
from activities.memory.knowledge.search import Query, Search
from activities.memory.knowledge.sections import ReadDocument
from evals.readers import CorpusError
from evals.results import Interval
from evals.scoring import interval

TRANSLATED = Path(__file__).with_name("translated_runbooks.yaml")
DEPTH = 10
"""Documents of a result that are scored."""

PASSAGES = 50
MEANING = "Meaning"
SHORTEST = 40
"""Characters of a query that says something."""

_RULE = re.compile(r"\balert:\s*['\"](\w+)['\"]")
_ANNOTATION = re.compile(r"\b(?:description|summary|message):\s*(['\"])(.*?)(?<!\\)\1\s*[,+%\n]", re.DOTALL)
_TEMPLATE = re.compile(r"\{\{.*?\}\}|%\(\w+\)s")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A query and the documents that answer it."""

    name: str
    text: str
    answers: frozenset[str]
    """Locations."""


@dataclass(frozen=True, kw_only=True)
class RetrievalScore:
    """Means over queries, each with its 95 % interval."""

    ranking: str
    ndcg: Interval
    """At ten documents (Järvelin and Kekäläinen, TOIS 2002)."""

    recall: Interval
    """Share of queries with an answer among the first five documents."""

    mrr: Interval
    """Mean reciprocal rank of the first answer."""


def pages(root: Path) -> dict[str, ReadDocument]:
    """Every Markdown page under a folder that can be read, by its path there.

    Raises:
        CorpusError: there is none.
    """
    found = {}
    for path in sorted(root.rglob("*.md")):
        location = path.relative_to(root).as_posix()
        try:
            found[location] = read_document(location, path.read_bytes())
        except DocumentError:
            continue
    if not found:
        raise CorpusError(root, "holds no Markdown page: give the folder of runbooks with --root")
    return found


def rule_queries(root: Path, known: Iterable[str]) -> list[Asked]:
    """What alerting rules say of alerts that have a page of their name, one query an alert."""
    by_name = _by_name(known)
    texts: dict[str, str] = {}
    for name, text in _rules(root):
        if name.lower() in by_name:
            plain = " ".join(re.sub(re.escape(name), " ", _TEMPLATE.sub(" ", text), flags=re.IGNORECASE).split())
            if len(plain) >= SHORTEST:
                texts.setdefault(name.lower(), plain)
    return [Asked(name=name, text=text, answers=by_name[name]) for name, text in sorted(texts.items())]


def meaning_queries(known: Mapping[str, ReadDocument]) -> tuple[dict[str, ReadDocument], list[Asked]]:
    """The pages without their section Meaning, and the queries that these sections are."""
    by_name = _by_name(known)
    without, asked = {}, []
    for location, page in known.items():
        kept = tuple(section for section in page.sections if section.heading[:1] != (MEANING,))
        text = " ".join(" ".join(item.text for item in page.sections if item.heading[:1] == (MEANING,)).split())
        without[location] = replace(page, sections=kept)
        name = Path(location).stem
        text = " ".join(re.sub(re.escape(name), " ", text, flags=re.IGNORECASE).split())
        if kept and len(text) >= SHORTEST:
            asked.append(Asked(name=location, text=text, answers=by_name[name.lower()]))
    return without, asked


@dataclass(frozen=True, kw_only=True)
class Translations:
    """Runbooks of our own in other languages, each the counterpart of an English page."""

    pages: Mapping[str, ReadDocument]
    """By location, in their languages."""

    foreign: Sequence[Asked]
    """In those languages, answered by English pages."""

    english: Sequence[Asked]
    """In English, answered by pages in those languages."""


def translations(known: Iterable[str]) -> Translations:
    """The translated runbooks whose English counterparts are among the pages of a library.

    Args:
        known: locations of the English pages.
    """
    by_name = _by_name(known)
    found: dict[str, ReadDocument] = {}
    foreign, english = [], []
    for item in yaml.safe_load(TRANSLATED.read_text()):
        answers = by_name.get(item["page"].lower())
        if answers is None:
            continue
        location = f"translated/{item['language']}/{item['page']}.md"
        found[location] = read_document(location, f"# {item['title']}\n\n{item['text']}\n".encode())
        foreign.append(Asked(name=f"{item['language']} {item['page']}", text=item["query"], answers=answers))
        english.append(Asked(name=f"en {item['page']}", text=item["english"], answers=frozenset((location,))))
    return Translations(pages=found, foreign=foreign, english=english)


def fill(library: Library, known: Mapping[str, ReadDocument], embedders: Sequence[Embedder]) -> None:
    """Put pages into an empty library and embed them by every model."""
    now = datetime.now(UTC)
    for location, page in known.items():
        content = f"{location}\n{page}".encode()
        new = NewDocument(source="evaluation", location=location, content_sha256=content_digest(content), document=page)
        library.add(new, at=now)
    for embedder in embedders:
        while library.embed_missing(embedder, at=now):
            pass


def score(search: Search, asked: Sequence[Asked], rankings: Sequence[str]) -> list[RetrievalScore]:
    """Each ranking alone, and all fused."""
    return [
        *(_scored(name, [_gains(search, item, [name]) for item in asked]) for name in rankings),
        _scored("hybrid", [_gains(search, item, rankings) for item in asked]),
    ]


def _gains(search: Search, asked: Asked, rankings: Sequence[str]) -> list[bool]:
    """Whether each of the first documents is an answer; a document stands where its best passage does."""
    found = search.find(Query(text=asked.text, at=datetime.now(UTC), limit=PASSAGES), rankings)
    documents = list(dict.fromkeys(item.location for item in found))[:DEPTH]
    return [location in asked.answers for location in documents] + [False] * (DEPTH - len(documents))


def _scored(ranking: str, gains: list[list[bool]]) -> RetrievalScore:
    hits = np.array(gains, dtype=float).reshape(-1, DEPTH)
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    ideal = np.array([discounts[: max(1, int(row.sum()))].sum() for row in hits])
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    return RetrievalScore(
        ranking=ranking,
        ndcg=_mean(hits @ discounts / ideal),
        recall=_mean(hits[:, :5].max(axis=1)),
        mrr=_mean(first),
    )


def _mean(values: npt.NDArray[np.float64]) -> Interval:
    return interval([[float(value)] for value in values])


def _by_name(locations: Iterable[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for location in locations:
        found.setdefault(Path(location).stem.lower(), set()).add(location)
    return {name: frozenset(items) for name, items in found.items()}


def _rules(root: Path) -> Iterator[tuple[str, str]]:
    """(alert, what its annotations say), of rule files in YAML and of mixins in Jsonnet."""
    for path in sorted(root.rglob("*.y*ml")):
        try:
            documents = list(yaml.safe_load_all(path.read_text()))
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
        for rule in _mappings(documents):
            said = rule.get("annotations")
            if isinstance(rule.get("alert"), str) and isinstance(said, dict):
                yield str(rule["alert"]), " ".join(str(said.get(key, "")) for key in ("summary", "description"))
    for path in sorted(root.rglob("*.libsonnet")):
        content = path.read_text()
        for found in _RULE.finditer(content):
            texts = _ANNOTATION.findall(_object_around(content, found.start()))
            yield found[1], " ".join(text for _, text in reversed(texts))


def _object_around(text: str, place: int) -> str:
    """The innermost pair of braces around a place: in Jsonnet an alert's name may stand behind its annotations."""
    start, depth = place, 0
    while start > 0 and depth <= 0:
        start -= 1
        depth += {"{": 1, "}": -1}.get(text[start], 0)
    end, depth = place, 0
    while end < len(text) and depth >= 0:
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[start:end]


def _mappings(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _mappings(item)
