"""Rounds: what a later round of an investigation plans, learns and concludes stands beside what an earlier one did."""

from alembic import op

revision = "0003"
down_revision = "0002"

ROUNDS = """
ALTER TABLE ledger.probe ADD COLUMN round int NOT NULL DEFAULT 0;
ALTER TABLE ledger.probe DROP CONSTRAINT probe_pkey;
ALTER TABLE ledger.probe ADD PRIMARY KEY (tenant, investigation_id, round, probe_key);
ALTER TABLE ledger.observation ADD COLUMN round int NOT NULL DEFAULT 0;
ALTER TABLE ledger.observation DROP CONSTRAINT observation_pkey;
ALTER TABLE ledger.observation ADD PRIMARY KEY (tenant, investigation_id, round, probe_key);
ALTER TABLE ledger.finding ADD COLUMN round int NOT NULL DEFAULT 0;
ALTER TABLE ledger.finding DROP CONSTRAINT finding_pkey;
ALTER TABLE ledger.finding ADD PRIMARY KEY (tenant, investigation_id, round, finding_key);
ALTER TABLE ledger.hypothesis ADD COLUMN round int NOT NULL DEFAULT 0;
ALTER TABLE ledger.hypothesis DROP CONSTRAINT hypothesis_pkey;
ALTER TABLE ledger.hypothesis ADD PRIMARY KEY (tenant, investigation_id, round, ordinal);
ALTER TABLE ledger.claim ADD COLUMN round int NOT NULL DEFAULT 0;
ALTER TABLE ledger.claim DROP CONSTRAINT claim_pkey;
ALTER TABLE ledger.claim ADD PRIMARY KEY (tenant, investigation_id, round, claim_key);
CREATE TABLE ledger.conclusion (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    round int NOT NULL,
    body text NOT NULL,
    engine_version text NOT NULL,
    PRIMARY KEY (tenant, investigation_id, round)
);
GRANT SELECT, INSERT ON ledger.conclusion TO inquest_ledger;
"""


def upgrade() -> None:
    """What was written before rounds had a number is of the first one."""
    op.execute(ROUNDS)


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
