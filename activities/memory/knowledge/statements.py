"""The library's SQL. Parameters are bound, never pasted in; numbers of dimensions come from a closed list.

A planner without statistics, as after many documents came at once, would rather read all of a tenant's rows than look
up a few: what is looked up one by one is a lateral query of its own, which `OFFSET 0` keeps apart.
"""

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('knowledge:' || :tenant, 0))"
"""Who changes counts of a tenant's words waits for whoever does so."""

COUNT_TERMS = """
INSERT INTO knowledge.term AS known (tenant, term, chunks)
SELECT :tenant, given.term, given.chunks
FROM unnest(CAST(:terms AS text[]), CAST(:chunks AS integer[])) AS given (term, chunks)
ON CONFLICT (tenant, term) DO UPDATE SET chunks = known.chunks + excluded.chunks
RETURNING term, term_id
"""

ADD_POSTINGS = """
INSERT INTO knowledge.posting (tenant, term_id, chunk_id, scope_id, occurrences, words)
SELECT :tenant, given.term_id, given.chunk_id, :scope, given.occurrences, given.words
FROM unnest(
    CAST(:term_ids AS bigint[]), CAST(:chunk_ids AS bigint[]), CAST(:occurrences AS integer[]),
    CAST(:words AS integer[])
) AS given (term_id, chunk_id, occurrences, words)
"""

COUNT_CHUNKS = """
INSERT INTO knowledge.statistics AS known (tenant, chunks, words) VALUES (:tenant, :chunks, :words)
ON CONFLICT (tenant) DO UPDATE SET chunks = known.chunks + excluded.chunks, words = known.words + excluded.words
"""

ADD_VECTORS = """
INSERT INTO knowledge.embedding (tenant, model_id, chunk_id, scope_id, dimensions, vector)
SELECT :tenant, :model, chunk.chunk_id, chunk.scope_id, :dimensions, CAST(given.vector AS halfvec)
FROM unnest(CAST(:chunk_ids AS bigint[]), CAST(:vectors AS text[])) AS given (chunk_id, vector)
CROSS JOIN LATERAL (
    SELECT known.chunk_id, known.scope_id FROM knowledge.chunk AS known
    WHERE known.tenant = :tenant AND known.chunk_id = given.chunk_id
    OFFSET 0
) AS chunk
ON CONFLICT DO NOTHING
"""
"""A chunk that was forgotten while it was embedded gets no vector."""

WITHOUT_VECTOR = """
SELECT chunk.chunk_id, chunk.heading, chunk.text, document.body ->> 'title' AS title
FROM knowledge.chunk AS chunk
JOIN knowledge.document AS document
    ON document.tenant = :tenant AND document.document_id = chunk.document_id
WHERE chunk.tenant = :tenant AND NOT EXISTS (
    SELECT FROM knowledge.embedding AS known
    WHERE known.tenant = :tenant AND known.model_id = :model AND known.chunk_id = chunk.chunk_id
)
ORDER BY chunk.chunk_id LIMIT :limit
"""

_POSTINGS_OF_DOCUMENT = """
    SELECT posting.place, posting.term_id
    FROM knowledge.document_terms AS document
    CROSS JOIN LATERAL unnest(document.term_ids) AS own (term_id)
    CROSS JOIN LATERAL (
        SELECT known.chunk_id FROM knowledge.chunk AS known
        WHERE known.tenant = :tenant AND known.document_id = document.document_id
        OFFSET 0
    ) AS chunk
    CROSS JOIN LATERAL (
        SELECT known.ctid AS place, known.term_id FROM knowledge.posting AS known
        WHERE known.tenant = :tenant AND known.term_id = own.term_id AND known.chunk_id = chunk.chunk_id
        OFFSET 0
    ) AS posting
    WHERE document.tenant = :tenant AND document.document_id = CAST(:document AS uuid)
"""
"""Looked up word by word: postings have no index by chunk, which would make each document dearer to add."""

ADD_TERMS = """
INSERT INTO knowledge.document_terms (tenant, document_id, term_ids)
VALUES (:tenant, CAST(:document AS uuid), CAST(:term_ids AS bigint[]))
"""

UNCOUNT_TERMS = f"""
WITH gone AS (SELECT term_id, count(*) AS chunks FROM ({_POSTINGS_OF_DOCUMENT}) AS posting GROUP BY term_id)
UPDATE knowledge.term AS term SET chunks = term.chunks - gone.chunks FROM gone
WHERE term.tenant = :tenant AND term.term_id = gone.term_id
"""  # noqa: S608 - our own text

UNCOUNT_CHUNKS = """
UPDATE knowledge.statistics AS known SET chunks = known.chunks - gone.chunks, words = known.words - gone.words
FROM (
    SELECT count(*) AS chunks, coalesce(sum(words), 0) AS words FROM knowledge.chunk
    WHERE tenant = :tenant AND document_id = CAST(:document AS uuid)
) AS gone
WHERE known.tenant = :tenant
"""

UNCOUNT_SCOPE = """
UPDATE knowledge.scope AS scope SET chunks = scope.chunks - gone.chunks
FROM (
    SELECT scope_id, count(*) AS chunks FROM knowledge.chunk
    WHERE tenant = :tenant AND document_id = CAST(:document AS uuid) GROUP BY scope_id
) AS gone
WHERE scope.tenant = :tenant AND scope.scope_id = gone.scope_id
"""

DROP_POSTINGS = f"""
DELETE FROM knowledge.posting WHERE ctid = ANY (ARRAY(SELECT place FROM ({_POSTINGS_OF_DOCUMENT}) AS posting))
"""  # noqa: S608 - our own text

DROP_TERMS = """
DELETE FROM knowledge.document_terms WHERE tenant = :tenant AND document_id = CAST(:document AS uuid)
"""

DROP_VECTORS = """
DELETE FROM knowledge.embedding WHERE ctid = ANY (ARRAY(
    SELECT vector.place
    FROM knowledge.embedding_model AS model
    CROSS JOIN LATERAL (
        SELECT known.chunk_id FROM knowledge.chunk AS known
        WHERE known.tenant = :tenant AND known.document_id = CAST(:document AS uuid)
        OFFSET 0
    ) AS chunk
    CROSS JOIN LATERAL (
        SELECT known.ctid AS place FROM knowledge.embedding AS known
        WHERE known.tenant = :tenant AND known.model_id = model.model_id AND known.chunk_id = chunk.chunk_id
        OFFSET 0
    ) AS vector
    WHERE model.tenant = :tenant
))
"""

SCOPES = """
SELECT scope_id, language, chunks FROM knowledge.scope
WHERE tenant = :tenant AND chunks > 0
    AND (services = '{}' OR CAST(:services AS text[]) IS NULL OR services && CAST(:services AS text[]))
    AND (CAST(:kinds AS text[]) IS NULL OR kind = ANY(CAST(:kinds AS text[])))
    AND (valid_from IS NULL OR valid_from <= :at) AND (valid_until IS NULL OR valid_until > :at)
"""

TERMS = """
SELECT term.term_id, term.chunks,
    ln(1 + (known.chunks - term.chunks + 0.5) / (term.chunks + 0.5))::float8 AS weight,
    (known.words::float8 / known.chunks) AS mean_words, known.chunks AS all_chunks
FROM knowledge.term AS term JOIN knowledge.statistics AS known ON known.tenant = :tenant AND known.chunks > 0
WHERE term.tenant = :tenant AND term.term = ANY(CAST(:terms AS text[])) AND term.chunks > 0
ORDER BY term.chunks, term.term
"""
"""The inverse document frequency is Lucene's, which is never negative (Kamphuis et al., ECIR 2020)."""

_OF_TERM = """
    CROSS JOIN LATERAL (
        SELECT known.chunk_id, known.scope_id, known.occurrences, known.words FROM knowledge.posting AS known
        WHERE known.tenant = :tenant AND known.term_id = asked.term_id
            AND known.scope_id = ANY(CAST(:scopes AS bigint[]))
        OFFSET 0
    ) AS posting
"""
_OF_TERM_IN_SCOPE = """
    CROSS JOIN unnest(CAST(:scopes AS bigint[])) AS wanted (scope_id)
    CROSS JOIN LATERAL (
        SELECT known.chunk_id, known.scope_id, known.occurrences, known.words FROM knowledge.posting AS known
        WHERE known.tenant = :tenant AND known.scope_id = wanted.scope_id AND known.term_id = asked.term_id
        OFFSET 0
    ) AS posting
"""
"""For a pool that is a small part of the library: else all chunks with a word are read to keep a few."""

_SCORED = """
    SELECT posting.chunk_id, posting.scope_id, sum(
        asked.weight * posting.occurrences / (posting.occurrences + :k1 * (1 - :b + :b * posting.words / :mean))
    ) AS score
    FROM unnest(CAST(:term_ids AS bigint[]), CAST(:weights AS float8[])) AS asked (term_id, weight)
    {postings}
    GROUP BY posting.chunk_id, posting.scope_id
    ORDER BY score DESC, posting.chunk_id LIMIT {limit}
"""

BEST_BY_WORDS = _SCORED.format(limit=":limit", postings=_OF_TERM)
"""Exact BM25."""

BEST_BY_WORDS_IN_FEW = _SCORED.format(limit=":limit", postings=_OF_TERM_IN_SCOPE)
"""The same for a pool that is a small part of the library."""

_COMPLETED = """
WITH likely AS MATERIALIZED ({likely})
SELECT likely.chunk_id, likely.scope_id, likely.score + coalesce((
    SELECT sum(
        common.weight * posting.occurrences / (posting.occurrences + :k1 * (1 - :b + :b * posting.words / :mean))
    )
    FROM unnest(CAST(:common_ids AS bigint[]), CAST(:common_weights AS float8[])) AS common (term_id, weight)
    CROSS JOIN LATERAL (
        SELECT known.occurrences, known.words FROM knowledge.posting AS known
        WHERE known.tenant = :tenant AND known.term_id = common.term_id AND known.chunk_id = likely.chunk_id
        OFFSET 0
    ) AS posting
), 0) AS score
FROM likely ORDER BY score DESC, likely.chunk_id LIMIT :limit
"""
COMPLETED_BY_WORDS = _COMPLETED.format(likely=_SCORED.format(limit=":candidates", postings=_OF_TERM))
"""The chunks with the best scores of the rare words, with the scores of the common ones added."""

NEAREST_EXACTLY = """
SELECT near.chunk_id, near.scope_id, near.vector <=> CAST(:vector AS halfvec) AS distance
FROM unnest(CAST(:scopes AS bigint[])) AS wanted (scope_id)
CROSS JOIN LATERAL (
    SELECT known.chunk_id, known.scope_id, known.vector FROM knowledge.embedding AS known
    WHERE known.tenant = :tenant AND known.model_id = :model AND known.scope_id = wanted.scope_id
    OFFSET 0
) AS near
ORDER BY distance, chunk_id LIMIT :limit
"""

SCAN_ON = "SET LOCAL hnsw.iterative_scan = strict_order"
SCAN_WIDTH = "SET LOCAL hnsw.ef_search = 100"


_NEAREST = """
SELECT chunk_id, scope_id, vector::halfvec({length}) <=> CAST(:vector AS halfvec({length})) AS distance
FROM knowledge.embedding
WHERE tenant = :tenant AND dimensions = {length} AND model_id = :model
    AND scope_id = ANY(CAST(:scopes AS bigint[]))
ORDER BY vector::halfvec({length}) <=> CAST(:vector AS halfvec({length})) LIMIT :limit
"""


def nearest(dimensions: int) -> str:
    """The nearest vectors of one length by its graph."""
    return _NEAREST.format(length=int(dimensions))


NAMED = """
SELECT chunk.chunk_id FROM knowledge.document AS document
JOIN knowledge.chunk AS chunk ON chunk.tenant = :tenant AND chunk.document_id = document.document_id
WHERE document.tenant = :tenant AND document.name = ANY(CAST(:names AS text[]))
    AND chunk.scope_id = ANY(CAST(:scopes AS bigint[]))
ORDER BY document.location, chunk.ordinal LIMIT :limit
"""
"""The passages of documents of a name, in their order."""

PASSAGES = """
SELECT chunk.chunk_id, chunk.document_id::text AS document_id, chunk.heading, chunk.text,
    document.location, document.body ->> 'title' AS title, document.body ->> 'language' AS language
FROM unnest(CAST(:chunk_ids AS bigint[])) AS wanted (chunk_id)
CROSS JOIN LATERAL (
    SELECT known.chunk_id, known.document_id, known.heading, known.text FROM knowledge.chunk AS known
    WHERE known.tenant = :tenant AND known.chunk_id = wanted.chunk_id
    OFFSET 0
) AS chunk
CROSS JOIN LATERAL (
    SELECT known.location, known.body FROM knowledge.document AS known
    WHERE known.tenant = :tenant AND known.document_id = chunk.document_id
    OFFSET 0
) AS document
"""
