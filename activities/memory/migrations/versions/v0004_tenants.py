"""Tenants: the ledger's role sees and writes the rows of the tenant that its transaction names, and of no other."""

from alembic import op

revision = "0004"
down_revision = "0003"

POLICIES = """
DO $policies$
DECLARE owned regclass;
BEGIN
    FOR owned IN
        SELECT format('%I.%I', table_schema, table_name)::regclass
        FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE column_name = 'tenant' AND table_type = 'BASE TABLE' AND table_schema IN ('ledger', 'incidents', 'evals')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format(
            'CREATE POLICY of_tenant ON %s USING (tenant = current_setting(''inquest.tenant'', true))'
            ' WITH CHECK (tenant = current_setting(''inquest.tenant'', true))', owned);
    END LOOP;
END
$policies$;
"""


def upgrade() -> None:
    """Rows stay as they are; a transaction that names no tenant sees none of them."""
    op.execute(POLICIES)


def downgrade() -> None:
    """The ledger is a record."""
    raise NotImplementedError("the record is append-only: restore a backup instead of downgrading")
