"""Brings a database to the current schema and hands out the address that the ledger's role logs in with."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from psycopg import sql
from sqlalchemy import Connection, NullPool, create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import ArgumentError, OperationalError

from infra.postgres import write_secret
from infra.stack import Stack

DATABASE = "inquest"
LEDGER_LOGIN = "inquest_app"
_MIGRATION_LOCK = 7_468_336_711
_SCRIPTS = ("activities.memory", "migrations")


class DatabaseError(RuntimeError):
    """The database cannot be used as it is; the message says what to do."""


def prepare_database(stack: Stack) -> URL:
    """Create or upgrade the schema and return the address for the ledger's role.

    On the embedded server this also creates the database and a login of its own for the role. On a server of the
    user's, the given login runs the migrations and sessions take the role on.

    Raises:
        DatabaseError: the server cannot be reached, or its schema is newer than this program.
    """
    admin = sqlalchemy_url(stack.database_url)
    try:
        if stack.embedded_database:
            _create_database(admin)
            admin = admin.set(database=DATABASE)
        with _connected(admin) as connection:
            _migrate(connection)
        return _ledger_login(admin, stack.data_dir) if stack.embedded_database else admin
    except OperationalError as error:
        raise DatabaseError(
            f"cannot use the database {admin.render_as_string(hide_password=True)}: {error.orig}: "
            "check INQUEST_DATABASE_URL and that the server runs"
        ) from error


def sqlalchemy_url(address: str) -> URL:
    """A libpq address as SQLAlchemy wants it, on the psycopg driver."""
    try:
        return make_url(address).set(drivername="postgresql+psycopg")
    except ArgumentError as error:
        raise DatabaseError(
            "INQUEST_DATABASE_URL is no address: write postgresql://user:password@host/database"
        ) from error


def upgrade(connection: Connection, revision: str) -> None:
    """Run the migrations up to a revision. Alembic is loaded here: most starts need none."""
    command, config = import_module("alembic.command"), import_module("alembic.config").Config()
    config.set_main_option("script_location", ":".join(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _revisions() -> list[str]:
    """Every revision of the schema, in order, by the names of the migrations' files."""
    package, folder = _SCRIPTS
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    files = (Path(spec.submodule_search_locations[0]) / folder / "versions").glob("v[0-9]*.py")
    return sorted(path.name[1:5] for path in files)


@contextmanager
def _connected(url: URL, isolation_level: IsolationLevel = "READ COMMITTED") -> Iterator[Connection]:
    """One transaction on a connection that is closed whatever happens."""
    engine = create_engine(url, isolation_level=isolation_level, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _migrate(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    current = None
    if connection.execute(text("SELECT to_regclass('ledger.alembic_version')")).scalar() is not None:
        current = connection.execute(text("SELECT version_num FROM ledger.alembic_version")).scalar()
    known = _revisions()
    if current == known[-1]:
        return
    if current is not None and current not in known:
        raise DatabaseError(f"the database has schema {current}, which is newer than this inquest: upgrade inquest")
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
    upgrade(connection, "head")


def _create_database(admin: URL) -> None:
    with _connected(admin, isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        exists = connection.execute(
            text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": DATABASE}
        ).scalar()
        if exists is None:
            connection.execute(text(f"CREATE DATABASE {DATABASE}"))


def _ledger_login(admin: URL, data_dir: Path) -> URL:
    """The embedded server's own login for the ledger's role; its password lies beside the data, mode 0600."""
    path = data_dir / "postgres" / "ledger-password"
    with _connected(admin) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if not path.exists():
            write_secret(path, secrets.token_urlsafe(24))
        password = path.read_text()
        exists = connection.execute(
            text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": LEDGER_LOGIN}
        ).scalar()
        login = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE inquest_ledger")
        if exists is not None:
            login = sql.SQL("ALTER ROLE {} PASSWORD {}")
        statement = login.format(sql.Identifier(LEDGER_LOGIN), sql.Literal(password))
        connection.exec_driver_sql(statement.as_string())
        grant = sql.SQL("GRANT inquest_knowledge TO {} WITH INHERIT FALSE, SET TRUE")
        connection.exec_driver_sql(grant.format(sql.Identifier(LEDGER_LOGIN)).as_string())
    return admin.set(username=LEDGER_LOGIN, password=password)
