"""Evaluations: which suite was replayed how, and what became of each case."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE evals.evaluation (
    tenant text NOT NULL,
    evaluation_id uuid NOT NULL,
    plan_key text NOT NULL,
    plan jsonb NOT NULL,
    engine_version text NOT NULL,
    started_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, evaluation_id)
);
CREATE INDEX ON evals.evaluation (tenant, plan_key);
CREATE TABLE evals.outcome (
    tenant text NOT NULL,
    evaluation_id uuid NOT NULL,
    number int NOT NULL,
    repeat int NOT NULL,
    failed boolean NOT NULL,
    body jsonb NOT NULL,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, evaluation_id, number, repeat),
    FOREIGN KEY (tenant, evaluation_id) REFERENCES evals.evaluation
);
CREATE TABLE evals.evaluation_end (
    tenant text NOT NULL,
    evaluation_id uuid NOT NULL,
    ended_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, evaluation_id),
    FOREIGN KEY (tenant, evaluation_id) REFERENCES evals.evaluation
);
GRANT USAGE ON SCHEMA evals TO inquest_ledger;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA evals TO inquest_ledger;
"""


def upgrade() -> None:
    """Create the schema of the evaluations."""
    op.execute("CREATE SCHEMA evals")
    op.execute(TABLES)


def downgrade() -> None:
    """Evaluations are a record too."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
