"""A Temporal cluster behind TLS: what is wrong with the settings, the certificates or the cluster is said."""

import asyncio
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from infra.database import DATABASE
from infra.settings import Settings
from infra.temporal import SEARCH_ATTRIBUTES
from tests.conftest import recorded
from tests.running import finish, start
from workers.connect import tls_of
from workers.doctor import examine
from workers.installation import Installation, open_installation
from workflows.contracts.investigation import Budget

COMMAND = str(Path(sys.executable).parent / "inquest")
NAME = "temporal.internal"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Temporal that wants TLS and a certificate, in front of a real one, and the files for it."""

    address: str
    database: str
    folder: Path

    def settings(self, data_dir: Path, **changes: object) -> Settings:
        """Settings that work, but for the changes."""
        given = {
            "data_dir": data_dir,
            "temporal_address": self.address,
            "database_url": self.database,
            "temporal_tls_ca": self.folder / "ca.pem",
            "temporal_tls_cert": self.folder / "client.pem",
            "temporal_tls_key": self.folder / "client.key",
            "temporal_tls_server_name": NAME,
            **changes,
        }
        return Settings.model_validate({name: value for name, value in given.items() if value is not None})


@pytest.fixture(scope="module")
def cluster(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """TLS that ends in front of the embedded Temporal; it wants a certificate of our authority."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    stranger.cert_pem.write_to_path(folder / "other-ca.pem")
    old = datetime.now(UTC) - timedelta(days=1)
    for name, issued in {
        "client": authority.issue_cert("worker@inquest"),
        "old": authority.issue_cert("worker@inquest", not_before=old - timedelta(days=9), not_after=old),
    }.items():
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        (folder / f"{name}.key").chmod(0o600)
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    (folder / "open.key").write_bytes((folder / "client.key").read_bytes())
    (folder / "open.key").chmod(0o644)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(NAME).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    host, _, port = installation.stack.temporal_address.rpartition(":")
    loop, started = asyncio.new_event_loop(), threading.Event()
    addresses: list[str] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer), return_exceptions=True)

    async def serve() -> None:
        server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
        addresses.append(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        started.set()
        stopping.append(asyncio.Event())
        await stopping[0].wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    stopping: list[asyncio.Event] = []
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(30)
    database = installation.stack.database_url.replace("/postgres?", f"/{DATABASE}?")
    yield Cluster(address=addresses[0], database=database, folder=folder)
    loop.call_soon_threadsafe(stopping[0].set)
    thread.join()
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()


async def test_an_investigation_over_mutual_tls(cluster: Cluster, tmp_path: Path, installation: Installation) -> None:
    keys = installation.settings.data_dir / "keys"
    with open_installation(cluster.settings(tmp_path, keys_dir=keys)) as opened:
        client = await opened.client()
        async with opened.workers(client):
            report = await finish(opened, client, await start(opened, client, recorded("row_lock")))
    assert report.findings.verdict.entity


@pytest.mark.parametrize(
    ("changes", "detail", "remedy"),
    [
        ({}, "", ""),
        ({"temporal_tls_ca": "other-ca.pem"}, "certificate", "INQUEST_TEMPORAL_TLS_CA"),
        ({"temporal_tls_ca": "missing.pem"}, "does not answer", "INQUEST_TEMPORAL_TLS_CA"),
        ({"temporal_tls_server_name": "elsewhere.internal"}, "Hostname mismatch", "INQUEST_TEMPORAL_TLS_SERVER_NAME"),
        ({"temporal_tls_cert": None, "temporal_tls_key": None}, "not reachable", "INQUEST_TEMPORAL_ADDRESS"),
        ({"temporal_tls_cert": "old.pem", "temporal_tls_key": "old.key"}, "is valid", "renew it"),
        ({"temporal_tls_key": "old.key"}, "is not the key of", "INQUEST_TEMPORAL_TLS_KEY"),
        ({"temporal_tls_key": "open.key"}, "others may read", "chmod 600"),
        ({"temporal_tls_cert": "missing.pem"}, "cannot read", "right to read"),
        ({"temporal_tls_key": "ca.pem"}, "no usable PEM file", "password"),
        ({"temporal_namespace": "nowhere"}, "there is no namespace nowhere", "temporal operator namespace create"),
    ],
)
def test_the_doctor_says_what_is_wrong(
    cluster: Cluster, tmp_path: Path, changes: dict[str, str | None], detail: str, remedy: str
) -> None:
    files = {
        name: cluster.folder / value if value is not None and "." in value and "internal" not in value else value
        for name, value in changes.items()
    }
    wrong = [check for check in examine(cluster.settings(tmp_path, **files)) if not check.fine]
    if not changes:
        assert wrong == []
        return
    assert any(detail in check.detail and remedy in check.remedy for check in wrong), wrong


def test_tls_with_a_server_that_speaks_in_clear(installation: Installation, cluster: Cluster, tmp_path: Path) -> None:
    settings = cluster.settings(tmp_path, temporal_address=installation.stack.temporal_address)
    wrong = [check for check in examine(settings) if not check.fine]
    assert "no TLS at" in wrong[0].detail
    assert "leave the TLS settings out" in wrong[0].remedy


def test_half_a_certificate_and_tls_without_a_cluster_are_refused() -> None:
    with pytest.raises(ValueError, match="belong together"):
        Settings(temporal_address="a:1", temporal_tls_cert=Path("x"))
    with pytest.raises(ValueError, match="are for a cluster"):
        Settings(temporal_tls=True)


def test_another_process_reads_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "temporal_address": "a:1",
            "temporal_api_key": "secret-word",
            "database_url": "postgresql://u:p@h/x",
            "retention": timedelta(hours=36),
            "investigations_at_once": 3,
            "temporal_tls": True,
        }
    )
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_an_api_key_turns_tls_on_and_is_not_shown() -> None:
    settings = Settings.model_validate({"temporal_address": "a:1", "temporal_api_key": "secret-word"})
    assert tls_of(settings) is not None
    assert "secret-word" not in repr(settings)


@pytest.mark.parametrize("command", [["worker"], ["investigate", str(recorded("row_lock"))]])
def test_commands_print_what_creates_what_is_missing(
    installation: Installation, tmp_path: Path, command: list[str]
) -> None:
    environment = {
        **os.environ,
        "INQUEST_DATA_DIR": str(tmp_path),
        "INQUEST_TEMPORAL_ADDRESS": installation.stack.temporal_address,
        "INQUEST_DATABASE_URL": installation.stack.database_url.replace("/postgres?", f"/{DATABASE}?"),
        "COLUMNS": "200",
    }
    bare = {**environment, "INQUEST_TEMPORAL_NAMESPACE": f"bare-{command[0]}"}
    missing = subprocess.run([COMMAND, *command], env=bare, capture_output=True, text=True, timeout=60)
    assert missing.returncode == 1
    line = missing.stderr.partition("temporal operator")[2]
    assert "namespace create" in line, missing.stderr
    assert "Traceback" not in missing.stderr
    temporal = str(Path(sys.executable).parent / "temporal")
    subprocess.run([temporal, "operator", *line.split()], check=True, capture_output=True, timeout=60)
    incomplete = subprocess.run([COMMAND, *command], env=bare, capture_output=True, text=True, timeout=60)
    assert incomplete.returncode == 1
    assert "temporal operator search-attribute create" in " ".join(incomplete.stderr.split())
    assert "Traceback" not in incomplete.stderr


async def test_a_versioned_worker_runs_what_is_current(installation: Installation, tmp_path: Path) -> None:
    """Two builds on a cluster: an investigation that began under one goes on under the next current one."""
    namespace, temporal = "versioned", str(Path(sys.executable).parent / "temporal")
    address = installation.stack.temporal_address

    def operate(*arguments: str) -> None:
        subprocess.run([temporal, *arguments, "--address", address], check=True, capture_output=True, timeout=60)

    operate("operator", "namespace", "create", "--namespace", namespace)
    attributes = [part for name in SEARCH_ATTRIBUTES for part in ("--name", name, "--type", "Keyword")]
    operate("operator", "search-attribute", "create", "--namespace", namespace, *attributes)
    given = {
        "data_dir": tmp_path,
        "temporal_address": address,
        "temporal_namespace": namespace,
        "database_url": installation.stack.database_url.replace("/postgres?", f"/{DATABASE}?"),
        "keys_dir": installation.settings.data_dir / "keys",
    }
    investigation_id, builds = None, []
    for build in ("one", "two"):
        with open_installation(Settings.model_validate({**given, "worker_build": build})) as opened:
            client = await opened.client()
            async with opened.workers(client):
                for _ in range(100):
                    try:
                        current = ("--deployment-name", "inquest", "--build-id", build, "--yes")
                        await asyncio.to_thread(
                            operate,
                            *("worker", "deployment", "set-current-version", "--namespace", namespace, *current),
                        )
                        break
                    except subprocess.CalledProcessError:
                        await asyncio.sleep(0.2)
                if build == "one":
                    patience = Budget(probes=5_000, seconds=600)
                    investigation_id = await start(opened, client, recorded("row_lock"), budget=patience)
                    while not opened.ledger(investigation_id).answered_keys(0):
                        await asyncio.sleep(0.02)
                else:
                    assert investigation_id is not None
                    report = await asyncio.wait_for(finish(opened, client, investigation_id), 120)
                    assert report.findings.verdict.entity
                    history = await client.get_workflow_handle(f"inv-{investigation_id}").fetch_history()
                    for event in history.events:
                        completed = event.workflow_task_completed_event_attributes
                        if completed.deployment_version.build_id:
                            builds.append(completed.deployment_version.build_id)
    assert builds[0] == "one"
    assert builds[-1] == "two"
