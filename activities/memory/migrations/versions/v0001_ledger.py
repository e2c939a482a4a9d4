"""Incidents and the ledger: append-only rows, keyed by tenant first and investigation second."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE incidents.incident (
    tenant text NOT NULL,
    incident_id uuid NOT NULL,
    scope text NOT NULL,
    incident_key text NOT NULL,
    title text NOT NULL,
    opened_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, incident_id),
    UNIQUE (tenant, scope, incident_key)
);
CREATE TABLE ledger.investigation (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    incident_id uuid NOT NULL,
    ordinal int NOT NULL,
    previous_id uuid,
    request jsonb NOT NULL,
    engine_version text NOT NULL,
    opened_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id),
    UNIQUE (tenant, incident_id, ordinal),
    FOREIGN KEY (tenant, incident_id) REFERENCES incidents.incident
);
CREATE TABLE ledger.investigation_end (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    how text NOT NULL,
    ended_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id),
    FOREIGN KEY (tenant, investigation_id) REFERENCES ledger.investigation
);
CREATE TABLE incidents.alert (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    fingerprint text NOT NULL,
    number int NOT NULL,
    body jsonb NOT NULL,
    redaction_version text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id, fingerprint),
    UNIQUE (tenant, investigation_id, number),
    FOREIGN KEY (tenant, investigation_id) REFERENCES ledger.investigation
);
CREATE TABLE incidents.delivery (
    tenant text NOT NULL,
    delivery_id uuid NOT NULL,
    investigation_id uuid NOT NULL,
    fingerprint text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, delivery_id)
);
CREATE INDEX ON incidents.delivery (tenant, investigation_id);
CREATE TABLE incidents.rejected (
    tenant text NOT NULL,
    rejected_id uuid NOT NULL,
    source text NOT NULL,
    reason text NOT NULL,
    size bigint NOT NULL,
    excerpt text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, rejected_id)
);
CREATE TABLE incidents.past (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    scope text NOT NULL,
    known_from timestamptz NOT NULL,
    title text NOT NULL,
    entity text,
    fault_kind text NOT NULL,
    probability double precision NOT NULL,
    sentence text NOT NULL,
    PRIMARY KEY (tenant, investigation_id)
);
CREATE INDEX ON incidents.past (tenant, scope, known_from);
CREATE TABLE ledger.step (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    step_key text NOT NULL,
    output jsonb NOT NULL,
    attempt int NOT NULL,
    seconds double precision NOT NULL,
    engine_version text NOT NULL,
    redaction_version text NOT NULL,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id, step_key)
);
CREATE TABLE ledger.probe (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    probe_key text NOT NULL,
    ordinal int NOT NULL,
    backend text NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (tenant, investigation_id, probe_key)
);
CREATE TABLE ledger.artifact (
    tenant text NOT NULL,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    content bytea NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, sha256)
);
CREATE TABLE ledger.observation (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    probe_key text NOT NULL,
    status text NOT NULL,
    row_count bigint NOT NULL,
    artifact text,
    body jsonb NOT NULL,
    redaction_version text NOT NULL,
    observed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id, probe_key),
    FOREIGN KEY (tenant, artifact) REFERENCES ledger.artifact
);
CREATE TABLE ledger.finding (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    finding_key text NOT NULL,
    ordinal int NOT NULL,
    body jsonb NOT NULL,
    engine_version text NOT NULL,
    PRIMARY KEY (tenant, investigation_id, finding_key)
);
CREATE TABLE ledger.hypothesis (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    ordinal int NOT NULL,
    body jsonb NOT NULL,
    engine_version text NOT NULL,
    PRIMARY KEY (tenant, investigation_id, ordinal)
);
CREATE TABLE ledger.claim (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    claim_key text NOT NULL,
    ordinal int NOT NULL,
    state text NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (tenant, investigation_id, claim_key)
);
CREATE TABLE ledger.report (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    findings_sha256 text NOT NULL,
    findings text NOT NULL,
    run jsonb NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id)
);
CREATE TABLE ledger.hint (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    number int NOT NULL,
    text text NOT NULL,
    author text NOT NULL,
    given_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id, number)
);
CREATE TABLE ledger.decision (
    tenant text NOT NULL,
    investigation_id uuid NOT NULL,
    decision_key text NOT NULL,
    kind text NOT NULL,
    sentence text NOT NULL,
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, investigation_id, decision_key)
);
"""

ROLE = """
DO $$
BEGIN
    CREATE ROLE inquest_ledger NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
GRANT USAGE ON SCHEMA ledger, incidents TO inquest_ledger;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA ledger, incidents TO inquest_ledger;
REVOKE INSERT ON ledger.alembic_version FROM inquest_ledger;
"""


def upgrade() -> None:
    """Create everything, and the role that may read and insert, and nothing else."""
    op.execute("CREATE SCHEMA incidents")
    op.execute(TABLES)
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.execute(ROLE)


def downgrade() -> None:
    """The first version has nothing before it."""
    raise NotImplementedError("the ledger is append-only: restore a backup instead of downgrading")
