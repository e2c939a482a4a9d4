"""Connections of the ledger's role."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as SqlTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from workflows.contracts.identifiers import Tenant

LEDGER_ROLE = "inquest_ledger"
KNOWLEDGE_ROLE = "inquest_knowledge"
"""May change and delete what the library holds, and nothing of the record."""

TENANT_OPTION = "inquest_tenant"
OUTAGE_CLASSES = frozenset(("08", "25", "53", "57", "58"))
"""SQLSTATE classes: connection, transaction state (read-only), resources, operator, system."""


GIVEN_BACK_S = 5.0
"""How long connections are waited for that threads still use, when an engine is closed."""


def close_engine(engine: Engine) -> None:
    """Close every connection, those first that threads still use: what ends a call does not end its thread."""
    pool, until = engine.pool, time.monotonic() + GIVEN_BACK_S
    while isinstance(pool, QueuePool) and pool.checkedout() > 0 and time.monotonic() < until:
        time.sleep(0.01)
    engine.dispose()


def ledger_engine(url: URL, *, pool_size: int = 10) -> Engine:
    """An engine whose every session acts as the role that may read and insert, whatever its login may do.

    Its transactions name no tenant, and see no row: `of_tenant` makes an engine whose transactions do. A session is
    told the tenant when it is another one than in its transaction before, so that most need no word of it.
    """
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "application_name": "inquest"},
        # No ping: whatever meets a connection that broke is tried again, and the first one empties the pool.
    )

    @event.listens_for(engine, "connect")
    def take_role(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET ROLE {LEDGER_ROLE}")
        cursor.close()
        connection.commit()

    @event.listens_for(engine, "begin")
    def name_tenant(connection: Connection) -> None:
        tenant = connection.get_execution_options().get(TENANT_OPTION, "")
        if connection.info.get(TENANT_OPTION, "") != tenant:
            connection.exec_driver_sql("SELECT set_config('inquest.tenant', %s, false)", (tenant,))
            connection.connection.commit()  # so that no rollback undoes it
            connection.info[TENANT_OPTION] = tenant

    return engine


def of_tenant(engine: Engine, tenant: Tenant) -> Engine:
    """The same connections; every transaction sees and writes the rows of this tenant only."""
    return engine.execution_options(**{TENANT_OPTION: tenant})


@contextmanager
def as_librarian(engine: Engine) -> Iterator[Connection]:
    """One transaction of the role that may change the library."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {KNOWLEDGE_ROLE}")
        yield connection


def is_outage(error: SQLAlchemyError) -> bool:
    """Whether the database is away, starting, stopping, full or read-only, rather than offended by a statement."""
    if isinstance(error, InterfaceError | SqlTimeoutError | OperationalError):
        return True
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return state is not None and state[:2] in OUTAGE_CLASSES
