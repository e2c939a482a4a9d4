"""The schema, its role and its history."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from activities.memory.tables import METADATA
from infra.database import DATABASE, DatabaseError, prepare_database, sqlalchemy_url
from workers.installation import Installation


def test_tables_are_as_the_migrations_say(installation: Installation) -> None:
    engine = create_engine(sqlalchemy_url(installation.stack.database_url).set(database=DATABASE))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name in ("ledger", "incidents", "evals"),
                "include_object": lambda _, name, kind, reflected, __: (
                    not (
                        kind == "foreign_key_constraint"
                        or kind == "index"
                        or kind == "unique_constraint"
                        or name == "alembic_version"
                    )
                ),
                "compare_type": True,
                "compare_server_default": False,
            },
        )
        differences = [item for item in compare_metadata(context, METADATA) if "nullable" not in str(item)]
    engine.dispose()
    assert differences == []


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET tenant = 'x'", "DROP TABLE {}"])
def test_the_ledgers_role_may_only_read_and_insert(installation: Installation, statement: str) -> None:
    for table in METADATA.sorted_tables:
        with (
            installation.engine.connect() as connection,
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        ):
            connection.execute(text(statement.format(f"{table.schema}.{table.name}")))


def test_preparing_again_changes_nothing(installation: Installation) -> None:
    assert prepare_database(installation.stack) == prepare_database(installation.stack)


def test_a_newer_schema_is_refused(installation: Installation) -> None:
    engine = create_engine(sqlalchemy_url(installation.stack.database_url).set(database=DATABASE))
    with engine.begin() as connection:
        known = connection.scalar(text("SELECT version_num FROM ledger.alembic_version"))
        connection.execute(text("UPDATE ledger.alembic_version SET version_num = '9999'"))
    try:
        with pytest.raises(DatabaseError, match="newer"):
            prepare_database(installation.stack)
    finally:
        with engine.begin() as connection:
            connection.execute(text("UPDATE ledger.alembic_version SET version_num = :known"), {"known": known})
        engine.dispose()
