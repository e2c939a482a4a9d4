"""The SDK over HTTP: the same investigations through the gateway, whoever asks, whatever is away."""

import asyncio
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from inquest import (
    FactCondition,
    FactEffect,
    FactNotFoundError,
    FaultKind,
    InvestigationNotFoundError,
    RejectedError,
    RemoteInquest,
    RemoteInvestigation,
    TooLateError,
    UnavailableError,
)

from tests.conftest import PROJECT
from tests.running import an_alert
from tests.workers.test_gateway import KEY, TOKEN, own_installation
from workers.gateway import serving
from workers.installation import Installation
from workflows.contracts.alert import AlertStatus
from workflows.contracts.fact import FactState
from workflows.contracts.feedback import Judgement
from workflows.contracts.identifiers import InvestigationId, workflow_id_of
from workflows.contracts.report import Outcome

CLIENT_TOKEN = "a-token-of-the-sdk-in-tests"
LARGEST_BYTES = 200_000


@pytest.fixture(scope="module")
def installed() -> Iterator[Installation]:
    with own_installation(gateway_token=TOKEN, gateway_hmac_key=KEY, gateway_client_token=CLIENT_TOKEN) as opened:
        yield opened


@asynccontextmanager
async def reached(installed: Installation, *, workers: bool = True) -> AsyncIterator[RemoteInquest]:
    client = await installed.client()
    async with serving(installed, client) as door, RemoteInquest(door.address, token=CLIENT_TOKEN) as inquest:
        if workers:
            async with installed.workers(client):
                yield inquest
        else:
            yield inquest


async def test_from_an_alert_to_its_report(installed: Installation) -> None:
    async with reached(installed) as inquest:
        investigation = await inquest.start(an_alert("remote-1", labels={"service": "checkout"}), environment="prod")
        again = await inquest.start(an_alert("remote-1", labels={"service": "checkout"}))
        report = await investigation.report(timeout=timedelta(minutes=2))
        progress = await (await inquest.investigation(investigation.id)).progress()
        with pytest.raises(TooLateError):
            await investigation.add_hint("too late")
        with pytest.raises(TooLateError):
            await investigation.stop()
    assert again.id == investigation.id, "a repeat only counts"
    assert report.run.investigation_id == investigation.id
    assert report.findings.verdict.outcome is Outcome.INCONCLUSIVE
    assert "dead-prometheus" in " ".join(gap.reason for gap in report.findings.data_gaps)
    assert progress.outcome == report.findings.verdict.sentence


async def test_what_people_know_is_added_listed_and_decided(installed: Installation) -> None:
    async with reached(installed, workers=False) as inquest:
        known = await inquest.add_fact(
            "service:mail",
            "  errors at night, write to nightly.operator@example.org ",
            effect=FactEffect.EXPECTED,
            fault_kinds=[FaultKind.ERROR],
            condition=FactCondition(
                recurrence="FREQ=DAILY",
                begins_at=datetime(2026, 1, 1, 2, tzinfo=UTC),
                lasts=timedelta(hours=1),
                timezone="Europe/Paris",
            ),
            owner="team-mail",
            author="release robot",
        )
        assert known.decision.state is FactState.ACCEPTED
        assert known.fact.author == "release robot"
        assert known.fact.condition.lasts == timedelta(hours=1)
        assert known.fact.review_by is not None
        assert "nightly.operator" not in known.fact.statement, "redacted before it is stored"
        withdrawn = await inquest.decide_fact(known.fact.fact_id[:20], "withdrawn", note="mended")
        assert withdrawn.decision.note == "mended"
        assert known.fact.fact_id in [item.fact.fact_id for item in await inquest.facts()]
        assert known.fact.fact_id not in [item.fact.fact_id for item in await inquest.facts("accepted", "proposed")]
        with pytest.raises(FactNotFoundError):
            await inquest.decide_fact("ffffffff-0000", "accepted")
        for problem, wrong in (
            ("state", lambda: inquest.facts("perhaps")),
            ("state", lambda: inquest.decide_fact(known.fact.fact_id, "perhaps")),
            ("kind:name", lambda: inquest.add_fact("mail", "x")),
            ("statement", lambda: inquest.add_fact("service:mail", " ")),
            ("confidence", lambda: inquest.add_fact("service:mail", "x", confidence=2)),
            ("effect is one of", lambda: inquest.add_fact("service:mail", "x", effect=FactEffect.UNKNOWN)),
            (
                "FREQ must be",
                lambda: inquest.add_fact(
                    "service:mail",
                    "x",
                    condition=FactCondition(
                        recurrence="FREQ=SECONDLY",
                        begins_at=datetime(2026, 1, 1, tzinfo=UTC),
                        lasts=timedelta(hours=1),
                    ),
                ),
            ),
        ):
            with pytest.raises(RejectedError, match=problem):
                await wrong()
        stranger = RemoteInquest(inquest._base, token="somebody-elses-token")
        with pytest.raises(RejectedError, match="INQUEST_GATEWAY_CLIENT_TOKEN"):
            await stranger.facts()


async def test_hints_and_a_stop_reach_the_running_one(installed: Installation) -> None:
    async with reached(installed, workers=False) as inquest:
        investigation = await inquest.start(an_alert("remote-2"))
        speaking = asyncio.create_task(investigation.add_hint("the card reader was replaced", author="night shift"))
        await asyncio.sleep(0.5)
        async with installed.workers(await installed.client()):
            assert await speaking == 1
            with pytest.raises(RejectedError, match="2,000 characters"):
                await investigation.add_hint("x" * 3_000)
            report = await investigation.report(timeout=timedelta(minutes=2))
            client = await installed.client()
            await client.get_workflow_handle(workflow_id_of(InvestigationId(investigation.id))).result()
            with pytest.raises(RejectedError, match="say one of right, wrong, partly"):
                await investigation.give_feedback("perhaps")
            with pytest.raises(RejectedError, match="kind:name"):
                await investigation.give_feedback("wrong", cause="cart")
            await investigation.give_feedback("wrong", cause="service:cart", kind="lock", note="it was the lock")
    known = InvestigationId(investigation.id)
    said = installed.store.feedback(installed.tenant).latest([known], until=datetime.now(UTC))[known]
    assert (said.judgement, said.cause, said.author) == (Judgement.WRONG, "service:cart", "sdk")
    assert report.run.investigation_id == investigation.id
    waiting = installed.store.facts(installed.tenant).known([FactState.PROPOSED])
    assert "the card reader was replaced" in [item.fact.statement for item in waiting], (
        "nothing that people say is lost"
    )


async def test_what_cannot_be_done_is_said(installed: Installation) -> None:
    async with reached(installed, workers=False) as inquest:
        with pytest.raises(RejectedError, match="there is prod"):
            await inquest.start(an_alert("remote-3"), environment="nothing")
        with pytest.raises(RejectedError, match="resolved alert"):
            await inquest.start(an_alert("remote-3", status=AlertStatus.RESOLVED))
        for name in ("01900000-0000-7000-8000-000000000000", "no id", "../../healthz"):
            with pytest.raises(InvestigationNotFoundError):
                await inquest.investigation(name)
        waiting = await inquest.start(an_alert("remote-4"))
        with pytest.raises(TimeoutError, match="no report after"):
            await waiting.report(timeout=timedelta(seconds=0.3))
    with pytest.raises(UnavailableError, match="did not answer"):
        await RemoteInvestigation(inquest, waiting.id).progress(timeout=timedelta(seconds=1))
    with pytest.raises(RejectedError, match="no-address"):
        RemoteInquest("no-address")


async def test_an_alert_that_cannot_be_read_is_kept(installed: Installation) -> None:
    before = installed.incidents().rejected_count()
    async with serving(installed, await installed.client()) as door:
        pool, headers = urllib3.PoolManager(), {"Authorization": f"Bearer {CLIENT_TOKEN}"}
        url = f"{door.address}/v1/alerts"
        for body in (b"{", b'{"source": "x"}', b"x" * 2_000_000):
            answer = await asyncio.to_thread(pool.request, "POST", url, body=body, headers=headers)
            assert answer.status == 400, answer.data
    assert installed.incidents().rejected_count() == before + 2, "what is too large is not kept"


async def test_reading_needs_a_token_of_its_own(installed: Installation) -> None:
    async with serving(installed, await installed.client()) as door:
        for token in (None, TOKEN, "another-token-of-16"):
            async with RemoteInquest(door.address, token=token) as inquest:
                with pytest.raises(RejectedError, match="INQUEST_GATEWAY_CLIENT_TOKEN"):
                    await inquest.start(an_alert("remote-5"))
                with pytest.raises(RejectedError, match="INQUEST_GATEWAY_CLIENT_TOKEN"):
                    await inquest.investigation("01900000-0000-7000-8000-000000000000")
    with own_installation(gateway_token=TOKEN) as senders_only:
        async with (
            serving(senders_only, await senders_only.client()) as door,
            RemoteInquest(door.address, token=TOKEN) as inquest,
        ):
            with pytest.raises(RejectedError, match="are not served here: set INQUEST_GATEWAY_CLIENT_TOKEN"):
                await inquest.investigation("01900000-0000-7000-8000-000000000000")


async def test_on_loopback_without_any_token_no_page_can_read() -> None:
    with own_installation() as installation:
        async with serving(installation, await installation.client()) as door:
            url, pool = f"{door.address}/v1/investigations/01900000-0000-7000-8000-000000000000", urllib3.PoolManager()
            for headers, status in (
                ({}, 404),
                ({"Host": "localhost:8230"}, 404),
                ({"Host": "rebound.evil.example"}, 403),
                ({"Origin": "http://evil.example"}, 403),
            ):
                answer = await asyncio.to_thread(pool.request, "GET", url, headers=headers)
                assert answer.status == status, headers


async def test_an_alert_is_kept_while_temporal_is_away() -> None:
    with own_installation() as installation:
        async with serving(installation, None) as door, RemoteInquest(door.address) as inquest:
            with pytest.raises(UnavailableError, match="is accepted, and was not dispatched"):
                await inquest.start(an_alert("remote-6"), timeout=timedelta(seconds=1))
            starting = asyncio.create_task(inquest.start(an_alert("remote-6")))
            async with door.dispatching(await installation.client()):
                assert (await starting).id


SCRIPT = """
import sys
ours = (PROJECT, PROJECT + "/workers/sdk")
sys.path[:] = [SITE] + [path for path in sys.path if path and path not in ours]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
import inquest
assert inquest.__file__.startswith(SITE), inquest.__file__

exec(EXAMPLE)
heavy = {"temporalio", "sqlalchemy", "polars", "duckdb", "workflows", "activities", "workers"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
TYPED = """
from typing import assert_type

from inquest import Alert, RemoteInquest, Report


async def verdict(alert: Alert) -> str:
    async with RemoteInquest("http://127.0.0.1:1") as client:
        report = await (await client.start(alert)).report()
    assert_type(report, Report)
    assert_type(report.findings.verdict.probability, float)
    return report.findings.verdict.sentence
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's wheel, unpacked."""
    out = tmp_path_factory.mktemp("client")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "-w", str(out)]
    build = [sys.executable, "-m", "pip", "wheel", *options, str(PROJECT / "workers" / "sdk")]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    wheel = next(out.glob("*.whl"))
    assert wheel.stat().st_size < LARGEST_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
        archive.extractall(out / "site")
    assert {name for name in names if not name.endswith(".dist-info")} == {"inquest"}
    return out / "site"


async def test_the_wheel_alone_is_enough(installed: Installation, site: Path, tmp_path: Path) -> None:
    """What the README shows to authors of other services."""
    example = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)[1]
    async with serving(installed, await installed.client()) as door:
        example = example.replace("http://127.0.0.1:8230", door.address)
        example = example.replace("INQUEST_GATEWAY_CLIENT_TOKEN", CLIENT_TOKEN)
        given = {"SITE": str(site), "PROJECT": str(PROJECT), "EXAMPLE": example}
        head = "".join(f"{name} = {value!r}\n" for name, value in given.items())
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, "-c", head + SCRIPT]
        async with installed.workers(await installed.client()):
            done = await asyncio.to_thread(
                subprocess.run, command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90
            )
    assert done.returncode == 0, done.stderr
    assert "cause" in done.stdout


def test_its_users_have_types(site: Path, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(TYPED)
    environment = {**os.environ, "MYPYPATH": str(site)}
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "/dev/null", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
