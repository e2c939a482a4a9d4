"""Live systems: what investigations cost their sources, the gateway's inbox, changes that pipelines announce."""

from alembic import op

revision = "0006"
down_revision = "0005"

LIVE = """
CREATE TABLE ledger.source_use (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    use_id uuid NOT NULL,
    source text NOT NULL,
    queries bigint NOT NULL CHECK (queries >= 0),
    bytes_received bigint NOT NULL CHECK (bytes_received >= 0),
    used_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id, use_id)
);
CREATE TABLE incidents.inbox (
    tenant text NOT NULL,
    inbox_id uuid NOT NULL,
    environment text NOT NULL,
    fingerprint text NOT NULL,
    body jsonb NOT NULL,
    redaction_version text NOT NULL,
    received_at timestamptz NOT NULL,
    claims bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, inbox_id)
);
CREATE TABLE incidents.inbox_end (
    tenant text NOT NULL,
    inbox_id uuid NOT NULL,
    how text NOT NULL,
    investigation_id uuid,
    ended_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, inbox_id)
);
CREATE INDEX inbox_by_fingerprint ON incidents.inbox (tenant, fingerprint, inbox_id);
CREATE TABLE incidents.announced_change (
    tenant text NOT NULL,
    environment text NOT NULL,
    change_id text NOT NULL,
    at timestamptz NOT NULL,
    body jsonb NOT NULL,
    redaction_version text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, environment, change_id)
);
CREATE INDEX announced_change_by_time ON incidents.announced_change (tenant, environment, at);
GRANT SELECT, INSERT ON ledger.source_use, incidents.inbox, incidents.inbox_end, incidents.announced_change
    TO inquest_ledger;
-- Locking a row needs the right to update something of it; nothing but this counter can be.
GRANT UPDATE (claims) ON incidents.inbox TO inquest_ledger;
"""
POLICY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON {table}
    USING (tenant = current_setting('inquest.tenant', true))
    WITH CHECK (tenant = current_setting('inquest.tenant', true));
"""
TABLES = ("ledger.source_use", "incidents.inbox", "incidents.inbox_end", "incidents.announced_change")


def upgrade() -> None:
    """Earlier investigations had one source, a recording, which cost nobody anything."""
    op.execute(LIVE)
    for table in TABLES:
        op.execute(POLICY.format(table=table))


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
