"""Topology: what exists in each environment and how it hangs together, over time.

The ends of an edge come before its environment in the keys: an environment is nearly the whole table, and a planner
without statistics would otherwise read all of it for one end.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

TOPOLOGY = """
CREATE SCHEMA IF NOT EXISTS topology;
CREATE TABLE topology.entity (
    tenant text NOT NULL,
    environment text NOT NULL,
    entity text NOT NULL,
    origin text NOT NULL,
    kind text NOT NULL,
    tier integer,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (tenant, environment, entity, origin)
);
CREATE TABLE topology.edge (
    tenant text NOT NULL,
    environment text NOT NULL,
    source text NOT NULL,
    target text NOT NULL,
    kind text NOT NULL,
    origin text NOT NULL,
    confidence double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (tenant, source, environment, target, kind, origin)
);
CREATE INDEX edge_by_target ON topology.edge (tenant, target, environment);
GRANT USAGE ON SCHEMA topology TO inquest_ledger, inquest_knowledge;
GRANT SELECT ON ALL TABLES IN SCHEMA topology TO inquest_ledger;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA topology TO inquest_knowledge;
"""
POLICY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON {table}
    USING (tenant = (SELECT current_setting('inquest.tenant', true)))
    WITH CHECK (tenant = (SELECT current_setting('inquest.tenant', true)));
"""


def upgrade() -> None:
    """It is filled by the investigations that come, and by what people declare."""
    op.execute(TOPOLOGY)
    for table in ("topology.entity", "topology.edge"):
        op.execute(POLICY.format(table=table))


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
