"""Document terms: which words a document has, so that it is forgotten without reading all postings of its tenant."""

from alembic import op

revision = "0012"
down_revision = "0011"

TERMS = """
CREATE TABLE knowledge.document_terms (
    tenant text NOT NULL,
    document_id uuid NOT NULL,
    term_ids bigint[] NOT NULL,
    PRIMARY KEY (tenant, document_id)
);
INSERT INTO knowledge.document_terms (tenant, document_id, term_ids)
SELECT chunk.tenant, chunk.document_id, array_agg(DISTINCT posting.term_id)
FROM knowledge.chunk AS chunk
JOIN knowledge.posting AS posting ON posting.tenant = chunk.tenant AND posting.chunk_id = chunk.chunk_id
GROUP BY chunk.tenant, chunk.document_id;
CREATE INDEX term_by_id ON knowledge.term (tenant, term_id);
GRANT SELECT ON knowledge.document_terms TO inquest_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON knowledge.document_terms TO inquest_knowledge;
ALTER TABLE knowledge.document_terms ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON knowledge.document_terms
    USING (tenant = (SELECT current_setting('inquest.tenant', true)))
    WITH CHECK (tenant = (SELECT current_setting('inquest.tenant', true)));
"""


def upgrade() -> None:
    """Documents that are there get their words from the postings, which are read whole for it, once."""
    op.execute(TERMS)


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
