"""Models: which ones somebody admitted, and what endpoints do, request by request."""

from alembic import op

revision = "0014"
down_revision = "0013"

MODELS = """
CREATE TABLE ledger.model_admission (
    tenant text NOT NULL,
    admission_id uuid NOT NULL,
    model text NOT NULL,
    body jsonb NOT NULL,
    admitted_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, admission_id)
);
CREATE TABLE ledger.model_revocation (
    tenant text NOT NULL,
    admission_id uuid NOT NULL,
    revoked_by text NOT NULL,
    reason text NOT NULL,
    revoked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, admission_id),
    FOREIGN KEY (tenant, admission_id) REFERENCES ledger.model_admission
);
CREATE TABLE ledger.model_request (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    request_id uuid NOT NULL,
    endpoint text NOT NULL,
    model text NOT NULL,
    outcome text NOT NULL,
    seconds double precision NOT NULL,
    first_token_seconds double precision NOT NULL,
    prompt_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    requested_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id, request_id)
);
CREATE INDEX model_request_time ON ledger.model_request (tenant, requested_at);
GRANT SELECT, INSERT ON ledger.model_admission, ledger.model_revocation, ledger.model_request TO inquest_ledger;
"""
POLICY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON {table}
    USING (tenant = (SELECT current_setting('inquest.tenant', true)))
    WITH CHECK (tenant = (SELECT current_setting('inquest.tenant', true)));
"""


def upgrade() -> None:
    """Nobody has admitted a model yet, and requests of earlier versions are not counted."""
    op.execute(MODELS)
    for table in ("ledger.model_admission", "ledger.model_revocation", "ledger.model_request"):
        op.execute(POLICY.format(table=table))


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
