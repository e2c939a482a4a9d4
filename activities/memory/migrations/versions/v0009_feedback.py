"""Feedback: what people say of verdicts."""

from alembic import op

revision = "0009"
down_revision = "0008"

FEEDBACK = """
CREATE TABLE incidents.feedback (
    tenant text NOT NULL,
    feedback_id uuid NOT NULL,
    investigation_id uuid NOT NULL,
    judgement text NOT NULL,
    body jsonb NOT NULL,
    redaction_version text NOT NULL,
    given_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, feedback_id)
);
CREATE INDEX feedback_by_investigation ON incidents.feedback (tenant, investigation_id, given_at);
GRANT SELECT, INSERT ON incidents.feedback TO inquest_ledger;
ALTER TABLE incidents.feedback ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON incidents.feedback
    USING (tenant = (SELECT current_setting('inquest.tenant', true)))
    WITH CHECK (tenant = (SELECT current_setting('inquest.tenant', true)));
"""


def upgrade() -> None:
    """Nobody has said anything of earlier verdicts; it can be said now."""
    op.execute(FEEDBACK)


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
