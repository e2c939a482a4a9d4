"""Connections of the ledger's role."""

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

LEDGER_ROLE = "inquest_ledger"


def ledger_engine(url: URL, *, pool_size: int = 10) -> Engine:
    """An engine whose every session acts as the role that may read and insert, whatever its login may do."""
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "application_name": "inquest"},
    )

    @event.listens_for(engine, "connect")
    def take_role(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET ROLE {LEDGER_ROLE}")
        cursor.close()
        connection.commit()

    return engine
