"""Finds passages: by words (BM25), by meaning (vectors), and by both, fused by reciprocal rank.

Sources: BM25 as Lucene computes it (Kamphuis et al., ECIR 2020); reciprocal rank fusion (Cormack et al., SIGIR 2009).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from statistics import fmean, pstdev

from sqlalchemy import Connection, Engine, text

from activities.memory.knowledge import statements
from activities.memory.knowledge.embedding import Embedder, Vectors
from activities.memory.knowledge.languages import language_of
from activities.memory.knowledge.library import Library, halfvec
from activities.memory.knowledge.words import words
from workflows.contracts.identifiers import Tenant
from workflows.contracts.knowledge import DocumentKind, Passage

K1, B = 1.5, 0.75
"""BM25: how fast repeats of a word lose weight, and how much long chunks do (Lucene's and the literature's values)."""

FUSED_DEPTH = 50
"""Places of each ranking that are fused."""

OWN_FIRST, OTHERS_THEN = 3, 2
"""Passages in the query's language that come first, and in others that follow, where a library has several."""

FUSION = 60
"""The constant of reciprocal rank fusion, from its paper."""

EXACT_POSTINGS = 30_000
"""Up to so many chunks with a word asked for, scores are exact; beyond, the rare words choose the candidates."""

RARE_POSTINGS = 15_000
"""Chunks with a rare word by which candidates are chosen."""

SMALL_SHARE = 0.1
"""Part of the library up to which words are looked up in each scope of the pool by itself."""

CANDIDATES = 1_000
EXACT_VECTORS = 5_000
"""Up to so many chunks distances are exact; beyond, the graph is searched."""

MOST_LANGUAGES = 8
"""By whose rules the words of a query are cut."""

MOST_WORDS = 64
"""Words of a query that are looked for, the rarest first."""

LONGEST_QUERY = 4_000
MOST_OF_NAMED = 200
"""Passages of documents that are known to be meant."""

BY_NAME = "name"
"""What found a passage whose document is known to be meant."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is looked for, and among what."""

    text: str
    at: datetime
    """Documents must be valid then."""

    services: tuple[str, ...] | None = None
    """Only what is about one of these, or about none in particular; None: all."""

    kinds: tuple[DocumentKind, ...] | None = None
    names: tuple[str, ...] = ()
    """Documents that are known to be meant, as `plain_name` says them: they come before all others."""

    limit: int = 10


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Among which chunks is searched."""

    language_of: Mapping[int, str]
    """By scope."""

    chunks_of: Mapping[int, int]
    """By scope."""

    @property
    def chunks(self) -> int:
        return sum(self.chunks_of.values())

    @property
    def scopes(self) -> list[int]:
        return sorted(self.language_of)

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(self.language_of.values())

    def by_language(self) -> "list[Pool]":
        """A pool for each language."""
        return [
            Pool(
                language_of={scope: own for scope, own in self.language_of.items() if own == language},
                chunks_of={scope: self.chunks_of[scope] for scope, own in self.language_of.items() if own == language},
            )
            for language in sorted(self.languages)
        ]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A chunk in one ranking."""

    chunk_id: int
    scope_id: int
    score: float
    """Higher is better: BM25, or the cosine of the angle between two vectors."""


class Search:
    """Finds passages in one tenant's library."""

    def __init__(self, engine: Engine, tenant: Tenant, library: Library, embedders: Sequence[Embedder]) -> None:
        self._engine = engine
        self._tenant = tenant
        self._library = library
        self._embedders = tuple(embedders)
        self._for_many = frozenset(item.model.name for item in embedders if item.languages is None)

    def find(self, query: Query, rankings: Iterable[str] | None = None) -> list[Passage]:
        """The best passages, best first.

        Args:
            query: what is looked for.
            rankings: `bm25` and names of embedding models; None: all there are.

        Raises:
            EmbedderError: a model is away that is asked for.
        """
        wanted = None if rankings is None else frozenset(rankings)
        asked = query.text[:LONGEST_QUERY]
        with self._engine.connect() as connection:
            pool = self._pool(connection, query)
            if not pool.scopes or not asked.strip():
                return []
            found: dict[str, list[Hit]] = {}
            if wanted is None or "bm25" in wanted:
                found["bm25"] = self.by_words(connection, asked, pool)
            for embedder in self._embedders:
                if wanted is None or embedder.model.name in wanted:
                    found[embedder.model.name] = self._by_meaning(connection, embedder, asked, pool)
            named = self._named(connection, query, pool)
            many = [name for name, item in found.items() if name in self._for_many]
            standing_out = standing_out_of([hit for name in many[:1] for hit in found[name]], pool)
            merged = merge_languages(_fused(found, pool), language_of(asked), standing_out)
            fused = _with_named(merged, named)[: query.limit]
            rows = connection.execute(
                text(statements.PASSAGES), {"tenant": self._tenant, "chunk_ids": [item[0] for item in fused]}
            )
            by_id = {row.chunk_id: row for row in rows}
        return [
            Passage(
                chunk_id=chunk_id,
                document_id=row.document_id,
                location=row.location,
                title=row.title,
                heading=tuple(row.heading),
                text=row.text,
                language=row.language,
                score=score,
                found_by=found_by,
            )
            for chunk_id, score, found_by in fused
            if (row := by_id.get(chunk_id)) is not None
        ]

    def by_words(self, connection: Connection, asked: str, pool: Pool, limit: int = FUSED_DEPTH) -> list[Hit]:
        """The best chunks by BM25."""
        # Names and borrowed words stand in pages of other languages too, cut to their stems by those languages' rules.
        spoken = sorted({language_of(asked), *pool.languages})[:MOST_LANGUAGES]
        terms = sorted({word for language in spoken for word in words(asked, language)})
        rows = connection.execute(text(statements.TERMS), {"tenant": self._tenant, "terms": terms}).all()[:MOST_WORDS]
        if not rows:
            return []
        share = pool.chunks / rows[0].all_chunks
        rare = _rare([row.chunks * share for row in rows])
        given = {
            "tenant": self._tenant,
            "scopes": pool.scopes,
            "mean": rows[0].mean_words,
            "k1": K1,
            "b": B,
            "limit": limit,
            "term_ids": [row.term_id for row in rows[:rare]],
            "weights": [row.weight for row in rows[:rare]],
        }
        if rare == len(rows):
            few = share < SMALL_SHARE
            best = statements.BEST_BY_WORDS_IN_FEW if few else statements.BEST_BY_WORDS
            found = connection.execute(text(best), given)
        else:
            given |= {
                "candidates": CANDIDATES,
                "common_ids": [row.term_id for row in rows[rare:]],
                "common_weights": [row.weight for row in rows[rare:]],
            }
            found = connection.execute(text(statements.COMPLETED_BY_WORDS), given)
        return [Hit(chunk_id=row.chunk_id, scope_id=row.scope_id, score=row.score) for row in found]

    def _by_meaning(self, connection: Connection, embedder: Embedder, asked: str, pool: Pool) -> list[Hit]:
        """The nearest chunks of each language that the model knows: pages in the query's own would hide all others.

        A model that does not know the query's language says nothing.
        """
        model_id = self._library.model_id(connection, embedder.model)
        known = embedder.languages
        if model_id is None or (known is not None and language_of(asked) not in known):
            return []
        vector = embedder.query(asked)
        return [
            hit
            for part in pool.by_language()
            if known is None or part.languages <= known
            for hit in self.nearest(connection, model_id, vector, part)
        ]

    def nearest(
        self, connection: Connection, model_id: int, vector: Vectors, pool: Pool, limit: int = FUSED_DEPTH
    ) -> list[Hit]:
        """The chunks whose vectors have the smallest angle to `vector`, (1, dimensions)."""
        dimensions = vector.shape[1]
        given = {
            "tenant": self._tenant,
            "model": model_id,
            "vector": halfvec(vector[0]),
            "scopes": pool.scopes,
            "limit": limit,
        }
        if pool.chunks <= EXACT_VECTORS:
            found = connection.execute(text(statements.NEAREST_EXACTLY), given)
        else:
            connection.execute(text(statements.SCAN_ON))
            connection.execute(text(statements.SCAN_WIDTH))
            found = connection.execute(text(statements.nearest(dimensions)), given)
        return [Hit(chunk_id=row.chunk_id, scope_id=row.scope_id, score=1 - row.distance) for row in found]

    def _named(self, connection: Connection, query: Query, pool: Pool) -> list[int]:
        if not query.names:
            return []
        given = {
            "tenant": self._tenant,
            "names": list(query.names),
            "scopes": pool.scopes,
            "limit": MOST_OF_NAMED,
        }
        return list(connection.scalars(text(statements.NAMED), given))

    def _pool(self, connection: Connection, query: Query) -> Pool:
        rows = connection.execute(
            text(statements.SCOPES),
            {
                "tenant": self._tenant,
                "at": query.at,
                "services": None if query.services is None else list(query.services),
                "kinds": None if query.kinds is None else [kind.value for kind in query.kinds],
            },
        ).all()
        return Pool(
            language_of={row.scope_id: row.language for row in rows},
            chunks_of={row.scope_id: row.chunks for row in rows},
        )


def _rare(chunks_with: Sequence[float]) -> int:
    """How many words, the rarest first, choose the candidates; all of them where that is not too many chunks.

    Args:
        chunks_with: chunks of the pool that have each word, as is to be expected from those of the library.
    """
    if sum(chunks_with) <= EXACT_POSTINGS:
        return len(chunks_with)
    total, taken = 0.0, 0
    for count in chunks_with:
        if taken and total + count > RARE_POSTINGS:
            break
        total, taken = total + count, taken + 1
    return taken


Found = tuple[int, float, tuple[str, ...]]
"""(chunk, score, rankings that found it)."""


def _fused(found: Mapping[str, Sequence[Hit]], pool: Pool) -> dict[str, list[Found]]:
    """The chunks of each language, best first: a place in a ranking is one among chunks of the same language."""
    scores: dict[int, float] = defaultdict(float)
    by: dict[int, list[str]] = defaultdict(list)
    spoken: dict[int, str] = {}
    for ranking, hits in found.items():
        places: dict[str, int] = defaultdict(int)
        for hit in hits:
            language = spoken[hit.chunk_id] = pool.language_of[hit.scope_id]
            places[language] += 1
            scores[hit.chunk_id] += 1 / (FUSION + places[language])
            by[hit.chunk_id].append(f"{ranking}:{places[language]}")
    ordered: dict[str, list[Found]] = defaultdict(list)
    for chunk_id in sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id)):
        ordered[spoken[chunk_id]].append((chunk_id, scores[chunk_id], tuple(by[chunk_id])))
    return ordered


def standing_out_of(hits: Sequence[Hit], pool: Pool) -> dict[str, float]:
    """By how many standard deviations the nearest chunk of each language is nearer than the others of its language.

    Cosines of two languages cannot be compared: those of the query's own are higher whatever is said. A page that
    answers stands out among those of its language.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for hit in hits:
        scores[pool.language_of[hit.scope_id]].append(hit.score)
    found = {}
    for language, values in scores.items():
        best, *others = sorted(values, reverse=True)
        spread = pstdev(others) if others else 0.0
        found[language] = (best - fmean(others)) / spread if spread > 0 else 0.0
    return found


def merge_languages(by_language: Mapping[str, list[Found]], own: str, standing_out: Mapping[str, float]) -> list[Found]:
    """One list: some in the query's own language, then by turns the best of all others, those that stand out first.

    Args:
        by_language: the chunks of each language, best first.
        own: the query's.
        standing_out: of the languages in which a model looked that knows both; the others come last.
    """
    first = own if own in by_language else max(by_language, key=lambda name: len(by_language[name]), default=own)
    mine = list(by_language.get(first, ()))
    compared = sorted(
        (name for name in by_language if name in standing_out and name != first), key=lambda name: standing_out[name]
    )
    lists = [by_language[name] for name in reversed(compared)]
    others = [item for turn in zip_longest(*lists) for item in turn if item is not None]
    rest = [
        item for name in sorted(by_language) if name != first and name not in standing_out for item in by_language[name]
    ]
    merged, mine = mine[:OWN_FIRST], mine[OWN_FIRST:]
    merged, others = [*merged, *others[:OTHERS_THEN]], others[OTHERS_THEN:]
    merged += [item for turn in zip_longest(mine, others) for item in turn if item is not None]
    return [*merged, *rest]


def _with_named(fused: Sequence[Found], named: Sequence[int]) -> list[Found]:
    """Passages of documents that are meant, those that were found as well before the others; then all else."""
    meant = frozenset(named)
    found = [(item, score, (BY_NAME, *by)) for item, score, by in fused if item in meant]
    known = {item for item, _, _ in found}
    unfound = [(item, 0.0, (BY_NAME,)) for item in named if item not in known]
    return [*found, *unfound, *(item for item in fused if item[0] not in meant)]
