"""Histories: what Temporal wrote down of a closed investigation outlives the server's retention."""

from alembic import op

revision = "0005"
down_revision = "0004"

HISTORIES = """
CREATE TABLE ledger.history (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    artifact text,
    detail text NOT NULL,
    stored_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id)
);
GRANT SELECT, INSERT ON ledger.history TO inquest_ledger;
ALTER TABLE ledger.history ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON ledger.history
    USING (tenant = current_setting('inquest.tenant', true))
    WITH CHECK (tenant = current_setting('inquest.tenant', true));
CREATE INDEX investigation_end_by_time ON ledger.investigation_end (tenant, ended_at);
"""


def upgrade() -> None:
    """Investigations that ended before have none; those that Temporal still knows are fetched."""
    op.execute(HISTORIES)


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
