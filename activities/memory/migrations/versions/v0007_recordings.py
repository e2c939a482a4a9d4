"""Recordings: investigations name one, and its folder stands here."""

from alembic import op

revision = "0007"
down_revision = "0006"

RECORDING = """
CREATE TABLE incidents.recording (
    tenant text NOT NULL,
    recording_id text NOT NULL,
    folder text NOT NULL,
    manifest_sha256 text NOT NULL,
    registered_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, recording_id)
);
GRANT SELECT, INSERT ON incidents.recording TO inquest_ledger;
ALTER TABLE incidents.recording ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON incidents.recording
    USING (tenant = current_setting('inquest.tenant', true))
    WITH CHECK (tenant = current_setting('inquest.tenant', true));
"""


def upgrade() -> None:
    """Earlier requests carry the folder themselves, and are still read so."""
    op.execute(RECORDING)


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
