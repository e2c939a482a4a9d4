"""The schema, its role and its history."""

import json
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.exc import ProgrammingError

from activities.analysis.verification import verified
from activities.memory.incidents import Incidents
from activities.memory.knowledge.library import Library
from activities.memory.ledger import Ledger
from activities.memory.migrations import versions
from activities.memory.session import ledger_engine, of_tenant
from activities.memory.tables import METADATA
from activities.safety.redaction import Redactor
from infra.database import DATABASE, DatabaseError, _revisions, prepare_database, sqlalchemy_url, upgrade
from workers.installation import Installation
from workflows.contracts.identifiers import EntityId, InvestigationId, Tenant
from workflows.contracts.knowledge import Document
from workflows.contracts.probe import MetricProbe, Window, entity_of

SCHEMAS = ["ledger", "incidents", "evals", "knowledge", "topology"]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_tables_are_as_the_migrations_say(installation: Installation) -> None:
    engine = create_engine(sqlalchemy_url(installation.stack.database_url).set(database=DATABASE))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name in SCHEMAS,
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


def test_a_tenant_reads_and_writes_its_own_rows_only(installation: Installation) -> None:
    mine, other = Tenant("default"), Tenant("other")

    def reject(tenant: Tenant) -> None:
        installation.store.incidents(tenant).reject(source="test", reason="r", content=b"x", received_at=NOON)

    before = installation.store.incidents(other).rejected_count()
    reject(other)
    assert installation.store.incidents(other).rejected_count() == before + 1
    row = "INSERT INTO incidents.rejected SELECT 'other', gen_random_uuid(), source, reason, size, excerpt, received_at"
    with of_tenant(installation.store.engine, mine).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM incidents.rejected WHERE tenant = 'other'")) == 0
        reject(mine)
        with pytest.raises(ProgrammingError, match="row-level security"):
            connection.execute(text(f"{row} FROM incidents.rejected LIMIT 1"))
    with installation.store.engine.connect() as connection:
        for table in METADATA.sorted_tables:
            assert connection.scalar(select(func.count()).select_from(table)) == 0, "no tenant, no row"


def test_every_table_is_under_the_policy(installation: Installation) -> None:
    query = text(
        "SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace::regnamespace::text = ANY(:schemas)"
    )
    with installation.store.engine.connect() as connection:
        found = set(connection.scalars(query, {"schemas": SCHEMAS}))
    assert found == {table.name for table in METADATA.sorted_tables}


EARLIER_ROWS = """
INSERT INTO incidents.incident VALUES (:t, :i, 'live', 'group:g', 'requests fail', now());
INSERT INTO ledger.investigation VALUES (:t, :i, :i, 1, NULL, '{}', '0.4.0', now());
INSERT INTO ledger.probe VALUES (:t, :i, 'metrics-1', 0, 'recorded', CAST(:probe AS jsonb));
INSERT INTO ledger.observation VALUES (:t, :i, 'metrics-1', 'empty', 0, NULL, CAST(:observation AS jsonb), '1', now());
INSERT INTO ledger.finding VALUES (:t, :i, 'metric-1', 0, CAST(:finding AS jsonb), '0.4.0');
INSERT INTO ledger.hypothesis VALUES (:t, :i, 1, CAST(:hypothesis AS jsonb), '0.4.0');
INSERT INTO ledger.claim VALUES (:t, :i, 'claim-1', 0, 'verified', CAST(:claim AS jsonb));
INSERT INTO incidents.past
    (tenant, investigation_id, scope, known_from, title, entity, fault_kind, probability, sentence)
    VALUES (:t, :i, 'live', '2026-01-01', 'requests fail', 'service:a', 'cpu', 0.5, 'a is it');
"""


def test_what_an_earlier_version_stored_is_upgraded(installation: Installation) -> None:
    """Rows of 0.4 become rows of the first round, and are read as what they were."""
    server = sqlalchemy_url(installation.stack.database_url)
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    name, investigation = "upgraded_from_0_4", InvestigationId("01900000-0000-7000-8000-000000000001")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(server.set(database=name))
    probe = MetricProbe(backend="recorded", entity=EntityId("service:a"), window=Window(start=NOON, end=NOON))
    predicate = {"kind": "row_count", "probe_key": "metrics-1", "select": {}, "window": {"start": NOON, "end": NOON}}
    finding: dict[str, object] = {
        "key": "metric-1",
        "family": "metric",
        "entity": "service:a",
        "signal": "cpu",
        "summary": "s",
    }
    finding |= {"direction": "up", "strength": 0.5, "evidence": [], "predicate": predicate}
    claim = {"key": "claim-1", "text": "s", "findings": ["metric-1"], "predicate": predicate, "state": "verified"}
    rows = {
        "probe": probe.model_dump(mode="json"),
        "observation": {"probe_key": "metrics-1", "status": "empty", "observed_at": NOON},
        "finding": finding,
        "hypothesis": {"rank": 1, "entity": "service:a", "fault_kind": "cpu", "mechanism": "m", "probability": 0.5},
        "claim": claim,
    }
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA ledger"))
            upgrade(connection, "0002")
            given = {name: json.dumps(row, default=str) for name, row in rows.items()}
            for statement in EARLIER_ROWS.strip().split(";\n"):
                connection.execute(text(statement), {"t": "default", "i": investigation, **given})
        with engine.begin() as connection:
            upgrade(connection, "head")
        ledger = Ledger(engine, Tenant("default"), investigation, Redactor(b"k", "default"))
        assert [entity_of(item) for item in ledger.probes(0)] == ["service:a"]
        assert ledger.answered_keys(0) == {"metrics-1"}
        assert verified(ledger.findings(0), ledger.claims(0))[0].signal == "cpu"
        assert ledger.hypotheses(0)[0].fault_kind_probability == 0
        assert ledger.conclusion(0) is None
        [past] = Incidents(engine, Tenant("default"), Redactor(b"k", "default")).past(scope="live", as_of=NOON)
        assert (past.entity, past.alerting, past.signs) == ("service:a", (), ())
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()


LIBRARY_OF_0011 = """
INSERT INTO knowledge.scope (tenant, services, kind, language, chunks) VALUES (:t, '{}', 'runbook', 'en', 2);
INSERT INTO knowledge.document VALUES (:t, :d, 's', 'a.md', 'a', CAST(:body AS jsonb), 'x', 1, now());
INSERT INTO knowledge.chunk (tenant, document_id, ordinal, scope_id, heading, text, words)
    SELECT :t, :d, n, scope_id, '{}', 'disk full', 2 FROM knowledge.scope, generate_series(0, 1) AS n WHERE tenant = :t;
INSERT INTO knowledge.term (tenant, term, chunks) VALUES (:t, 'disk', 2), (:t, 'full', 2);
INSERT INTO knowledge.posting (tenant, term_id, chunk_id, scope_id, occurrences, words)
    SELECT :t, term_id, chunk_id, scope_id, 1, 2 FROM knowledge.term, knowledge.chunk
    WHERE term.tenant = :t AND chunk.tenant = :t;
INSERT INTO knowledge.statistics VALUES (:t, 2, 4);
"""


def test_a_library_of_before_can_be_searched_and_forgotten(installation: Installation) -> None:
    name, tenant = "upgraded_from_0011", Tenant("t")
    admin = create_engine(installation.stack.database_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(sqlalchemy_url(installation.stack.database_url).set(database=name))
    document = Document(
        document_id="01900000-0000-7000-8000-000000000001",
        source="s",
        location="a.md",
        title="A",
        content_sha256="0" * 64,
        chunks=2,
        added_at=NOON,
    )
    given = {"t": tenant, "d": document.document_id, "body": document.model_dump_json()}
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA ledger"))
            upgrade(connection, "0011")
            for statement in LIBRARY_OF_0011.split(";\n"):
                if statement.strip():
                    connection.execute(text(statement), given)
            upgrade(connection, "head")
        own = ledger_engine(engine.url)
        library = Library(of_tenant(own, tenant), tenant, installation.store.redactor(tenant), [])
        assert library.forget("a.md") == 1
        own.dispose()
        with engine.connect() as connection:
            left = {
                table: connection.scalar(text(f"SELECT count(*) FROM knowledge.{table}"))
                for table in ("document", "chunk", "posting", "document_terms")
            }
            chunks = connection.scalars(text("SELECT chunks FROM knowledge.term")).all()
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()
    assert left == {"document": 0, "chunk": 0, "posting": 0, "document_terms": 0}
    assert chunks == [0, 0]


def test_preparing_again_changes_nothing(installation: Installation) -> None:
    assert prepare_database(installation.stack) == prepare_database(installation.stack)


def test_a_newer_schema_is_rejected(installation: Installation) -> None:
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


def test_a_migration_lies_in_the_file_of_its_revision() -> None:
    """What is known of the schema is read from the names, so that most starts load no migration."""
    before = None
    for revision in _revisions():
        migration = import_module(f"activities.memory.migrations.versions.{_file_of(revision)}")
        assert migration.revision == revision
        assert migration.down_revision == before
        before = revision


def _file_of(revision: str) -> str:
    folder = Path(str(versions.__file__)).parent
    [found] = folder.glob(f"v{revision}_*.py")
    return found.stem
