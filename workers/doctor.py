"""Looks at an installation as a colleague would who has seen it fail before."""

import asyncio
import os
import shutil
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from rich.text import Text
from sqlalchemy import text
from temporalio.client import Client

from activities.telemetry.environment import read_environments
from infra.database import DatabaseError
from infra.keys import KeyFileError
from infra.postgres import PostgresStartError, binaries
from infra.settings import Settings
from infra.stack import StackError
from workers.connect import TemporalSetupError, TemporalUnreachableError
from workers.installation import Installation, open_installation
from workers.invocation import OUT, read_settings
from workers.sweeper import unattended

ROOM_NEEDED_BYTES = 500_000_000
TLS_LIMIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    fine: bool
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> list[Check]:
    """Every check that makes sense with these settings; none raises."""
    checks = [_folder(settings.data_dir), _binaries(settings), *_tls(settings)]
    environments = _environments(settings)
    if all(check.fine for check in checks):
        try:
            with open_installation(settings) as installation:
                checks += [_database(installation), *asyncio.run(_temporal(installation))]
        except (StackError, DatabaseError, KeyFileError) as error:
            checks.append(Check(name="servers", fine=False, detail="do not run", remedy=str(error)))
    return [*checks, environments]


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


def _tls(settings: Settings) -> list[Check]:
    """What is wrong with the certificate and key that this process shows to the cluster, and with the cluster's own."""
    if not settings.uses_tls:
        return []
    checks = []
    if settings.temporal_tls_cert is not None and settings.temporal_tls_key is not None:
        checks.append(_own_certificate(settings.temporal_tls_cert, settings.temporal_tls_key))
    if all(check.fine for check in checks):
        checks.append(_handshake(settings))
    return checks


def _own_certificate(certificate: Path, key: Path) -> Check:
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
        others_read = bool(key.stat().st_mode & 0o077)
    except OSError as error:
        return _certificate(f"cannot read {error.filename} ({error.strerror})", "give its owner the right to read it")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return _certificate(f"{certificate} or {key} is no usable PEM file ({error})", "neither may need a password")
    if found.public_key() != private.public_key():
        return _certificate(f"{key} is not the key of {certificate}", "set INQUEST_TEMPORAL_TLS_KEY to its key")
    if not found.not_valid_before_utc <= datetime.now(UTC) <= found.not_valid_after_utc:
        span = f"from {found.not_valid_before_utc:%Y-%m-%d %H:%M} to {found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        return _certificate(f"{certificate} is valid {span} only", "renew it, or set this machine's clock")
    if others_read:
        return _certificate(f"others may read {key}", f"chmod 600 {key}")
    return Check(name="certificate", fine=True, detail=f"{certificate}, until {found.not_valid_after_utc:%Y-%m-%d}")


def _certificate(detail: str, remedy: str) -> Check:
    return Check(name="certificate", fine=False, detail=detail, remedy=remedy)


def _handshake(settings: Settings) -> Check:
    """Whether the cluster's certificate is one that we trust, in the words of the TLS library."""
    host, _, port = (settings.temporal_address or "").rpartition(":")
    host = host.strip("[]")
    try:
        context = ssl.create_default_context(cafile=settings.temporal_tls_ca)
        if settings.temporal_tls_cert is not None:
            context.load_cert_chain(settings.temporal_tls_cert, settings.temporal_tls_key)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, int(port)), timeout=TLS_LIMIT_S) as plain,
            context.wrap_socket(plain, server_hostname=settings.temporal_tls_server_name or host) as secured,
        ):
            version = secured.version()
    except ssl.SSLCertVerificationError as error:
        remedy = "set INQUEST_TEMPORAL_TLS_CA to the authority that signed it"
        if "match" in error.verify_message:
            remedy = "set INQUEST_TEMPORAL_TLS_SERVER_NAME to the name in it"
        return Check(name="tls", fine=False, detail=f"the cluster's certificate: {error.verify_message}", remedy=remedy)
    except ssl.SSLError as error:
        return Check(
            name="tls",
            fine=False,
            detail=f"no TLS at {settings.temporal_address} ({error.reason or error})",
            remedy="if the cluster speaks in clear, leave the TLS settings out; if it wants a certificate, set it",
        )
    except OSError as error:
        return Check(
            name="tls",
            fine=False,
            detail=f"{settings.temporal_address} does not answer ({error})",
            remedy="check INQUEST_TEMPORAL_ADDRESS, the firewall and INQUEST_TEMPORAL_TLS_CA",
        )
    return Check(name="tls", fine=True, detail=f"{version} with {settings.temporal_address}")


async def _temporal(installation: Installation) -> list[Check]:
    try:
        client = await installation.client()
    except TemporalUnreachableError as error:
        return [Check(name="temporal", fine=False, detail="not reachable", remedy=str(error))]
    except TemporalSetupError as error:
        detail, _, remedy = str(error).partition(": ")
        return [Check(name="temporal", fine=False, detail=detail, remedy=remedy)]
    where = f"{installation.stack.temporal_address}, namespace {client.namespace}"
    return [Check(name="temporal", fine=True, detail=where), await _workers(installation, client)]


async def _workers(installation: Installation, client: Client) -> Check:
    """Whether what is open can go on; with nothing open nobody has to listen."""
    still_open = len(await asyncio.to_thread(installation.incidents().open_investigations))
    waiting = await unattended(client, installation.source_names())
    if still_open and waiting:
        detail = f"{still_open} open investigations, and no worker listens on {', '.join(waiting)}"
        return Check(name="workers", fine=False, detail=detail, remedy="run inquest up, or inquest worker")
    listening = "none runs" if waiting else "one listens on every queue"
    return Check(name="workers", fine=True, detail=f"{listening}, {still_open} open investigations")


def _environments(settings: Settings) -> Check:
    """Whether the environment files can be used; of one that cannot, alerts wait in the inbox."""
    known, problems = read_environments(settings.environments_dir)
    if problems:
        lost = ", ".join(problems)
        return Check(
            name="environments", fine=False, detail=f"{lost} cannot be used", remedy=" ".join(problems.values())
        )
    names = ", ".join(known) or f"none in {settings.environments_dir}"
    return Check(name="environments", fine=True, detail=names)


def doctor() -> None:
    """Say what is wrong with this installation and how to mend it."""
    checks = examine(read_settings())
    for check in checks:
        mark, style = ("ok", "green") if check.fine else ("!!", "red bold")
        OUT.print(Text.assemble((f"{mark:<4}", style), f"{check.name}: {check.detail}"))
        if check.remedy:
            OUT.print(Text(f"    {check.remedy}", style="yellow"))
    if not all(check.fine for check in checks):
        raise typer.Exit(1)
