"""Deliberation: queries that are left open, what was chosen after each ranking, and every call of a model."""

from alembic import op

revision = "0013"
down_revision = "0012"

DELIBERATION = """
CREATE TABLE ledger.menu (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    probe_key text NOT NULL,
    ordinal integer NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (tenant, investigation_id, probe_key)
);
CREATE TABLE ledger.turn (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    round integer NOT NULL,
    body jsonb NOT NULL,
    engine_version text NOT NULL,
    PRIMARY KEY (tenant, investigation_id, round)
);
CREATE TABLE ledger.model_call (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    round integer NOT NULL,
    call_key text NOT NULL,
    prompt text NOT NULL,
    answer text,
    body jsonb NOT NULL,
    redaction_version text NOT NULL,
    called_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id, round, call_key)
);
GRANT SELECT, INSERT ON ledger.menu, ledger.turn, ledger.model_call TO inquest_ledger;
"""
POLICY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON {table}
    USING (tenant = (SELECT current_setting('inquest.tenant', true)))
    WITH CHECK (tenant = (SELECT current_setting('inquest.tenant', true)));
"""


def upgrade() -> None:
    """Investigations of earlier versions queried everything at once: for them there is nothing to choose."""
    op.execute(DELIBERATION)
    for table in ("ledger.menu", "ledger.turn", "ledger.model_call"):
        op.execute(POLICY.format(table=table))


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
