"""Alembic's entry: runs the migrations on the connection that the runner hands in."""

from alembic import context
from sqlalchemy import Connection

connection = context.config.attributes["connection"]
assert isinstance(connection, Connection)
context.configure(connection=connection, version_table_schema="ledger", transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
