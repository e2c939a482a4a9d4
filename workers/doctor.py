"""Looks at an installation as a colleague would who has seen it fail before."""

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest

from infra.database import DatabaseError
from infra.postgres import PostgresStartError, binaries
from infra.settings import Settings
from infra.stack import StackError
from infra.temporal import SEARCH_ATTRIBUTES
from workers.connect import TemporalUnreachableError
from workers.installation import Installation, open_installation

ROOM_NEEDED_BYTES = 500_000_000


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    fine: bool
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> list[Check]:
    """Every check that makes sense with these settings; none raises."""
    checks = [_folder(settings.data_dir), _binaries(settings)]
    if all(check.fine for check in checks):
        try:
            with open_installation(settings) as installation:
                checks += [_database(installation), *asyncio.run(_temporal(installation))]
        except (StackError, DatabaseError) as error:
            checks.append(Check(name="servers", fine=False, detail="do not run", remedy=str(error)))
    return checks


def _folder(folder: Path) -> Check:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        return Check(name="data folder", fine=False, detail=f"{existing} is a file", remedy="set INQUEST_DATA_DIR")
    if not os.access(existing, os.W_OK):
        return Check(
            name="data folder",
            fine=False,
            detail=f"{existing} is not writable",
            remedy="set INQUEST_DATA_DIR",
        )
    free = shutil.disk_usage(existing).free
    if free < ROOM_NEEDED_BYTES:
        return Check(
            name="data folder",
            fine=False,
            detail=f"{folder} has {free // 1_000_000} MB free",
            remedy=f"free at least {ROOM_NEEDED_BYTES // 1_000_000} MB, or set INQUEST_DATA_DIR",
        )
    return Check(name="data folder", fine=True, detail=f"{folder}, {free // 1_000_000_000} GB free")


def _binaries(settings: Settings) -> Check:
    if settings.database_url is not None:
        return Check(name="programs", fine=True, detail="the database is a server of yours")
    try:
        found = binaries() / "postgres"
    except PostgresStartError as error:
        return Check(name="programs", fine=False, detail="Postgres is missing", remedy=str(error))
    return Check(name="programs", fine=found.exists(), detail=str(found))


def _database(installation: Installation) -> Check:
    with installation.engine.connect() as connection:
        version = connection.scalar(text("SHOW server_version"))
        vector = connection.scalar(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
        may_delete = connection.scalar(text("SELECT has_table_privilege('ledger.observation', 'DELETE')"))
    if may_delete:
        return Check(
            name="database",
            fine=False,
            detail="the ledger's role may delete",
            remedy="REVOKE UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA ledger, incidents FROM inquest_ledger",
        )
    return Check(name="database", fine=True, detail=f"Postgres {version}, pgvector {vector}, append-only")


async def _temporal(installation: Installation) -> list[Check]:
    try:
        client = await installation.client()
    except TemporalUnreachableError as error:
        return [Check(name="temporal", fine=False, detail="not reachable", remedy=str(error))]
    namespace = installation.settings.temporal_namespace
    answer = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))
    missing = [name for name in SEARCH_ATTRIBUTES if name not in answer.custom_attributes]
    if missing:
        commands = " ".join(f"--name {name} --type Keyword" for name in missing)
        return [
            Check(
                name="temporal",
                fine=False,
                detail=f"search attributes are missing: {', '.join(missing)}",
                remedy=f"temporal operator search-attribute create --namespace {namespace} {commands}",
            )
        ]
    address = installation.stack.temporal_address
    return [Check(name="temporal", fine=True, detail=f"{address}, namespace {namespace}")]
