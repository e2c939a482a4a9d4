"""The door: who may send, what becomes of what was sent, and that nothing is lost or done twice."""

import asyncio
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from inquest.exceptions import PayloadError
from sqlalchemy import func, select

from activities.memory.inbox import Inbox
from activities.memory.listing import Wanted, list_investigations
from activities.memory.tables import DELIVERY, INBOX_END
from infra.settings import Settings
from tests.conftest import own_data_dir
from tests.running import an_alert
from workers.announcements import changes_in
from workers.dispatcher import Dispatcher
from workers.gateway import GatewayError, bound_to, serving
from workers.installation import Installation, open_installation
from workflows.contracts.observation import ObservationStatus

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
TOKEN = "a-token-of-the-tests"
KEY = "a-key-of-the-tests-too"
DEAD = "sources: [{name: dead-prometheus, backend: prometheus, url: 'http://127.0.0.1:9'}]"
POOL = urllib3.PoolManager(retries=False)


def a_body(*fingerprints: str, status: str = "firing", group: str = "g") -> bytes:
    alerts = [
        {
            "status": status,
            "labels": {"alertname": "RequestsFail", "service": "checkout", "severity": "critical"},
            "annotations": {"summary": "requests fail"},
            "startsAt": "2026-11-27T11:59:00Z",
            "fingerprint": fingerprint,
        }
        for fingerprint in fingerprints
    ]
    return json.dumps({"version": "4", "groupKey": group, "status": status, "alerts": alerts}).encode()


@dataclass
class Answer:
    status: int
    document: dict[str, Any]


async def sent(url: str, body: bytes, **headers: str) -> Answer:
    response = await asyncio.to_thread(POOL.request, "POST", url, body=body, headers=headers)
    return Answer(response.status, json.loads(response.data))


async def text_of(url: str) -> str:
    return (await asyncio.to_thread(POOL.request, "GET", url)).data.decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def own_installation(environments: dict[str, str] | None = None, **settings: Any) -> Iterator[Installation]:
    with own_data_dir() as folder:
        files = folder / "environments"
        files.mkdir()
        for name, text in (environments or {"prod": DEAD}).items():
            (files / f"{name}.yaml").write_text(text)
        given = Settings(
            data_dir=folder, environments_dir=files, gateway_address=f"127.0.0.1:{free_port()}", **settings
        )
        with open_installation(given) as opened:
            yield opened


@pytest.fixture(scope="module")
def guarded() -> Iterator[Installation]:
    """An installation that asks for a credential."""
    with own_installation({"prod": DEAD, "test": DEAD}, gateway_token=TOKEN, gateway_hmac_key=KEY) as opened:
        yield opened


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_only_senders_with_a_credential_are_heard(guarded: Installation) -> None:
    body = a_body("a1")
    signature = "sha256=" + hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
    async with serving(guarded, await guarded.client()) as door:
        url = f"{door.address}/v1/alerts/alertmanager?environment=prod"
        assert (await sent(url, body)).status == 401
        assert (await sent(url, body, **bearer("wrong"))).status == 401
        assert (await sent(url, body, **bearer("\u00e9".encode().decode("latin-1")))).status == 401
        assert (await sent(url, body, **{"X-Hub-Signature-256": signature[:-1] + "0"})).status == 401
        assert (await sent(url, body + b" ", **{"X-Hub-Signature-256": signature})).status == 401
        assert (await sent(url, body, **bearer())).status == 202
        assert (await sent(url, body, **{"X-Hub-Signature-256": signature})).status == 202
        assert "rejected_401" in await text_of(f"{door.address}/metrics")


async def test_what_cannot_be_used_is_answered_kept_and_counted(guarded: Installation) -> None:
    before = guarded.incidents().rejected_count()
    async with serving(guarded, await guarded.client()) as door:
        url = f"{door.address}/v1/alerts/alertmanager"
        prod = f"{url}?environment=prod"
        assert (await sent(url, a_body("x"), **bearer())).status == 404, "two environments: one must be named"
        assert "prod, test" in (await sent(f"{url}?environment=none", a_body("x"), **bearer())).document["error"]
        assert (await sent(prod, b"x" * 2_000_000, **bearer())).status == 413
        for body in (b"", b"{", b"[]", b"{}", a_body(), b'{"groupKey": "g", "alerts": [{"status": 1}]}', b"[" * 50_000):
            answer = await sent(prod, body, **bearer())
            assert answer.status == 400, body[:50]
            assert answer.document["error"]
        assert (
            await sent(f"{door.address}/v1/changes?environment=prod", b'{"kind": "deploy"}', **bearer())
        ).status == 400
        assert (await text_of(f"{door.address}/healthz")) == "ok\n"
        assert (await text_of(f"{door.address}/readyz")).startswith("ok")
    assert guarded.incidents().rejected_count() == before + 8


async def test_without_a_credential_only_this_machine_and_no_page_is_heard() -> None:
    with pytest.raises(GatewayError, match="INQUEST_GATEWAY_TOKEN"):
        bound_to(Settings(gateway_address="0.0.0.0:8230"))
    assert bound_to(Settings(gateway_address="0.0.0.0:8230", gateway_token=TOKEN)) == ("0.0.0.0", 8230)
    with own_installation() as installation:
        client = await installation.client()
        async with serving(installation, client) as door:
            url = f"{door.address}/v1/alerts/alertmanager"
            assert (await sent(url, a_body("a"), Origin="http://evil.example")).status == 403
            assert (await sent(url, a_body("a"))).status == 202
            with pytest.raises(GatewayError, match="another one"):
                async with serving(installation, client):
                    pass


async def test_an_alert_becomes_an_investigation_whose_report_names_the_dead_source() -> None:
    with own_installation() as installation:
        client = await installation.client()
        async with installation.workers(client), serving(installation, client) as door:
            url = f"{door.address}/v1/alerts/alertmanager"
            assert (await sent(url, a_body("r1", status="resolved", group="other"))).status == 202
            change = {"title": "Deploy checkout 42", "target": "checkout", "at": "2026-11-27T11:58:00Z"}
            assert (await sent(f"{door.address}/v1/changes", json.dumps(change).encode())).document == {
                "accepted": 1,
                "new": 1,
            }
            assert (await sent(url, a_body("a1", "a2"))).status == 202
            assert (await sent(url, a_body("a1"))).status == 202
            async with asyncio.timeout(90):
                while not (rows := list_investigations(installation.engine, installation.tenant, limit=5)):
                    await asyncio.sleep(0.1)
                assert (await sent(url, a_body("a2", status="resolved"))).status == 202
                while installation.ledger(rows[0].investigation_id).report() is None:
                    await asyncio.sleep(0.1)
                while installation.store.inbox(installation.tenant).waiting_count():
                    await asyncio.sleep(0.1)
        rows = list_investigations(installation.engine, installation.tenant, limit=5, wanted=Wanted(live=True))
        assert len(rows) == 1, "one group, one investigation; what is resolved opens none"
        report = installation.ledger(rows[0].investigation_id).report()
        assert report is not None
        assert report.run.alert_count == 3
        lost = [gap for gap in report.findings.data_gaps if gap.status is ObservationStatus.UNAVAILABLE]
        assert lost
        assert all("dead-prometheus cannot be reached" in gap.reason for gap in lost)
        assert report.run.finished_at - report.run.started_at < timedelta(seconds=45)


async def test_two_dispatchers_do_everything_once_and_in_order() -> None:
    with own_installation() as installation:
        client, tenant = await installation.client(), installation.tenant
        inbox = Inbox(installation.engine, tenant)
        async with serving(installation, client) as door:
            others = [
                Dispatcher(inbox, installation.alert_ingestion(client), installation.live_options) for _ in range(2)
            ]
            async with others[0].running(), others[1].running():
                url = f"{door.address}/v1/alerts/alertmanager"
                for number in range(40):
                    group = f"g{number % 8}"
                    answer = await sent(url, a_body(f"{group}-a", f"{group}-b", f"{group}-c", group=group))
                    assert answer.status == 202
                async with asyncio.timeout(60):
                    while inbox.waiting_count():
                        await asyncio.sleep(0.05)
        with installation.engine.connect() as connection:
            ended = connection.scalar(select(func.count()).select_from(INBOX_END))
            delivered = connection.scalar(select(func.count()).select_from(DELIVERY))
        assert ended == delivered == 120
        rows = list_investigations(installation.engine, tenant, limit=50, wanted=Wanted(live=True))
        assert len(rows) == 8


async def test_an_environment_that_is_gone_loses_nothing(tmp_path: Path) -> None:
    with own_installation() as installation:
        client = await installation.client()
        async with serving(installation, client) as door:
            (installation.settings.environments_dir / "gone.yaml").write_text(DEAD)
            url = f"{door.address}/v1/alerts/alertmanager?environment=gone"
            assert (await sent(url, a_body("a"))).status == 202
            (installation.settings.environments_dir / "gone.yaml").unlink()
            inbox = installation.store.inbox(installation.tenant)
            async with asyncio.timeout(20):
                while inbox.waiting_count():
                    await asyncio.sleep(0.05)


async def test_alerts_of_an_environment_whose_file_breaks_wait_until_it_is_mended() -> None:
    with own_installation({"prod": DEAD, "test": DEAD}) as installation:
        client = await installation.client()
        inbox, file = (
            installation.store.inbox(installation.tenant),
            installation.settings.environments_dir / "prod.yaml",
        )
        ingestion = installation.alert_ingestion(client)
        dispatcher = Dispatcher(inbox, ingestion, installation.live_options)
        async with serving(installation, client) as door:
            url = f"{door.address}/v1/alerts/alertmanager?environment="
            file.write_text("sources: [")
            assert (await sent(f"{url}prod", a_body("a"))).status == 503, "send it again later"
        inbox.accept([an_alert("b")], environment="prod", received_at=datetime.now(UTC))
        inbox.accept([an_alert("c")], environment="test", received_at=datetime.now(UTC))
        assert await dispatcher.dispatch() == 1
        assert await dispatcher.dispatch() == 0
        assert inbox.waiting_count() == 1
        file.write_text(DEAD)
        async with asyncio.timeout(20):
            while inbox.waiting_count():
                await dispatcher.dispatch()
                await asyncio.sleep(0.2)


CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "271069a8",
    "source": "/ci/shop",
    "type": "dev.cdevents.service.deployed.0.2.0",
    "time": "2026-11-27T11:00:00Z",
    "data": {"subject": {"id": "shop/checkout", "content": {"artifactId": "pkg:oci/checkout@sha256:abc"}}},
}
PLAIN = {"title": "Flip the flag", "kind": "flag", "target": "service:cart", "revision": "on"}


def test_changes_in_every_spelling() -> None:
    [event] = changes_in(json.dumps(CLOUD_EVENT).encode(), {}, NOW)
    assert (event.kind.value, event.target, event.revision) == (
        "deploy",
        "service:checkout",
        "pkg:oci/checkout@sha256:abc",
    )
    assert event.id == "/ci/shop/271069a8"
    headers = {f"ce-{key}": str(value) for key, value in CLOUD_EVENT.items() if key != "data"}
    assert changes_in(json.dumps(CLOUD_EVENT["data"]).encode(), headers, NOW) == [event]
    context = {"id": "271069a8", "source": "/ci/shop", "type": CLOUD_EVENT["type"], "timestamp": CLOUD_EVENT["time"]}
    subject = CLOUD_EVENT["data"]["subject"]  # type: ignore[index]
    assert changes_in(json.dumps({"context": context, "subject": subject}).encode(), {}, NOW) == [event]
    first, second = changes_in(json.dumps([PLAIN, PLAIN]).encode(), {}, NOW)
    assert first == second
    assert (first.kind.value, first.target, first.at) == ("flag", "service:cart", NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"text"',
        b"{}",
        b'{"title": ""}',
        b'{"title": "x", "at": "yesterday"}',
        b'{"title": 1}',
    ],
)
def test_changes_that_cannot_be_used(body: bytes) -> None:
    with pytest.raises(PayloadError):
        changes_in(body, {}, NOW)


async def test_the_door_is_open_before_temporal_is() -> None:
    with own_installation() as installation:
        async with serving(installation, None) as door:
            url = f"{door.address}/v1/alerts/alertmanager"
            assert (await sent(url, a_body("early", "earlier"))).status == 202
            assert (await text_of(f"{door.address}/readyz")) == "ok, 2 alerts wait\n"
            assert 'inquest_dispatched_total{outcome="opened"} 0' in await text_of(f"{door.address}/metrics")
            async with door.dispatching(await installation.client()), asyncio.timeout(30):
                while (await text_of(f"{door.address}/readyz")) != "ok, 0 alerts wait\n":
                    await asyncio.sleep(0.1)
            assert len(list_investigations(installation.engine, installation.tenant, limit=5)) == 1


async def test_the_command_accepts_alerts_while_a_cluster_of_temporal_is_away() -> None:
    with own_data_dir() as folder:
        (folder / "environments").mkdir()
        (folder / "environments" / "prod.yaml").write_text(DEAD)
        address = f"127.0.0.1:{free_port()}"
        environment = {
            **os.environ,
            "INQUEST_DATA_DIR": str(folder),
            "INQUEST_ENVIRONMENTS_DIR": str(folder / "environments"),
            "INQUEST_GATEWAY_ADDRESS": address,
            "INQUEST_TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}",
        }
        command = [str(Path(sys.executable).with_name("inquest")), "serve", "--no-workers"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as served:
            try:
                url = f"http://{address}/v1/alerts/alertmanager"
                async with asyncio.timeout(90):
                    while True:
                        with suppress(urllib3.exceptions.HTTPError):
                            if (await sent(url, a_body("early"))).status == 202:
                                break
                        await asyncio.sleep(0.3)
                assert (await text_of(f"http://{address}/readyz")) == "ok, 1 alerts wait\n"
            finally:
                served.send_signal(signal.SIGINT)
                output, _ = await asyncio.to_thread(served.communicate, timeout=60)
    assert "alerts are accepted meanwhile, and wait" in " ".join(output.split())
