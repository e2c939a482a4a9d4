"""Facts that people know, the decisions about them, and what past incidents looked like."""

from alembic import op

revision = "0010"
down_revision = "0009"

FACTS = """
CREATE TABLE knowledge.fact (
    tenant text NOT NULL,
    fact_id uuid NOT NULL,
    subject text NOT NULL,
    body jsonb NOT NULL,
    redaction_version text NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, fact_id)
);
CREATE TABLE knowledge.fact_decision (
    tenant text NOT NULL,
    fact_id uuid NOT NULL,
    decision_id uuid NOT NULL,
    state text NOT NULL,
    body jsonb NOT NULL,
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, fact_id, decision_id)
);
GRANT SELECT, INSERT ON knowledge.fact, knowledge.fact_decision TO inquest_ledger;
ALTER TABLE incidents.past ADD COLUMN alerting text[] NOT NULL DEFAULT '{}';
ALTER TABLE incidents.past ADD COLUMN signs jsonb NOT NULL DEFAULT '[]';
"""
POLICY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON {table}
    USING (tenant = (SELECT current_setting('inquest.tenant', true)))
    WITH CHECK (tenant = (SELECT current_setting('inquest.tenant', true)));
"""


def upgrade() -> None:
    """Earlier incidents have no signs: they are recalled by what alerted, until new ones come."""
    op.execute(FACTS)
    for table in ("knowledge.fact", "knowledge.fact_decision"):
        op.execute(POLICY.format(table=table))


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
