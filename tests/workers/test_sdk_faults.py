"""What other people's code meets when servers are away, the input is odd, or everybody speaks at once."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inquest import (
    Alert,
    Budget,
    Inquest,
    InquestError,
    RejectedError,
    TooLateError,
    TooManyHintsError,
    UnavailableError,
)
from sqlalchemy import func, select

from activities.memory.tables import ALERT, DELIVERY, HINT
from activities.telemetry.recorded import BundleError
from infra.settings import Settings
from tests.conftest import own_data_dir, recorded
from tests.product.test_survival import child_of
from tests.running import an_alert
from workers.installation import Installation, open_installation
from workflows.contracts.identifiers import InvestigationId
from workflows.investigation import MOST_HINTS

BURST = 500
LONG = timedelta(seconds=150)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """This module's own: what its bursts leave open is nobody else's work."""
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as opened:
        yield opened


@pytest.fixture
def own_installation() -> Iterator[Installation]:
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as opened:
        yield opened


@pytest.fixture
async def connection(installation: Installation) -> AsyncIterator[Inquest]:
    async with Inquest.connect(installation.settings) as opened:
        yield opened


def rows(installation: Installation, table: object, investigation_id: InvestigationId) -> int:
    with installation.engine.connect() as connection:
        query = select(func.count()).select_from(table).where(table.c.investigation_id == investigation_id)  # type: ignore[arg-type, attr-defined]
        return int(connection.scalar(query) or 0)


async def test_a_burst_of_hints_is_taken_or_refused(installation: Installation) -> None:
    """Each either is stored and counts, or raises an error that says why, and then it is not stored."""
    async with Inquest.connect(installation.settings) as inquest:
        investigation = await inquest.start(
            an_alert("hints"), bundle=recorded("row_lock"), memory_scope="burst-of-hints"
        )
        saying = [
            asyncio.ensure_future(investigation.add_hint(f"hint {number}", timeout=LONG)) for number in range(BURST)
        ]
        await asyncio.sleep(0.5)
        async with installation.workers(await installation.client()):
            said = await asyncio.gather(*saying, return_exceptions=True)
            report = await investigation.report(timeout=LONG)
    accepted = [item for item in said if isinstance(item, int)]
    refused = [item for item in said if isinstance(item, TooManyHintsError | TooLateError)]
    assert len(accepted) + len(refused) == BURST
    assert 1 <= len(accepted) <= MOST_HINTS
    assert rows(installation, HINT, investigation.id) == len(accepted) == len(report.findings.hints)


async def test_a_burst_of_alerts_is_recorded_once_each(installation: Installation) -> None:
    async with Inquest.connect(installation.settings) as inquest:
        opened = await asyncio.gather(
            *(
                inquest.start(
                    an_alert(f"burst-{number}", group_key="one"),
                    bundle=recorded("row_lock"),
                    memory_scope="burst-of-alerts",
                    timeout=LONG,
                )
                for number in range(BURST)
            )
        )
    assert len({item.id for item in opened}) == 1
    assert rows(installation, ALERT, opened[0].id) == rows(installation, DELIVERY, opened[0].id) == BURST


async def test_a_hint_that_is_too_late_is_not_stored(installation: Installation) -> None:
    async with Inquest.connect(installation.settings, workers=True) as inquest:
        investigation = await inquest.start(an_alert("late"), bundle=recorded("row_lock"), memory_scope="late")
        await investigation.report(timeout=LONG)
        with pytest.raises(TooLateError):
            await investigation.add_hint("it was the database")
        with pytest.raises(TooLateError):
            await investigation.stop()
    assert rows(installation, HINT, investigation.id) == 0


async def test_outages_are_ridden_out(own_installation: Installation) -> None:
    supervisor = own_installation.stack.supervisor_pid
    assert supervisor is not None
    async with Inquest.connect(own_installation.settings, workers=True) as inquest:
        first = await inquest.start(an_alert("one"), bundle=recorded("row_lock"), memory_scope="one")
        os.kill(child_of(supervisor, "postgres"), signal.SIGKILL)
        second = await inquest.start(an_alert("two"), bundle=recorded("row_lock"), memory_scope="two")
        os.kill(child_of(supervisor, "temporal"), signal.SIGKILL)
        third = await inquest.start(an_alert("three"), bundle=recorded("row_lock"), memory_scope="three")
        reports = [await item.report(timeout=LONG) for item in (first, second, third)]
        assert len({report.findings_sha256 for report in reports}) == 1
        assert (await third.progress()).phase


async def test_an_alert_is_recorded_while_temporal_hangs(own_installation: Installation) -> None:
    """Nothing is raised for what is recorded; the workflow starts when Temporal answers again."""
    supervisor = own_installation.stack.supervisor_pid
    assert supervisor is not None
    temporal = child_of(supervisor, "temporal")
    async with Inquest.connect(own_installation.settings) as inquest:
        os.kill(temporal, signal.SIGSTOP)
        try:
            investigation = await inquest.start(an_alert("hang"), bundle=recorded("row_lock"), memory_scope="hang")
            with pytest.raises(UnavailableError, match="add_hint took longer than 1 s"):
                await investigation.add_hint("anybody there?", timeout=timedelta(seconds=1))
        finally:
            os.kill(temporal, signal.SIGCONT)
        async with own_installation.workers(await own_installation.client()):
            await investigation.report(timeout=LONG)


async def test_a_closed_connection_says_so(installation: Installation) -> None:
    async with Inquest.connect(installation.settings) as inquest:
        investigation = await inquest.start(an_alert("closed"), bundle=recorded("row_lock"), memory_scope="closed")
    for call in (investigation.report, investigation.progress, investigation.stop, investigation.follow().__anext__):
        with pytest.raises(UnavailableError, match="connection is closed"):
            await call()


async def test_without_a_worker_calls_end_in_time(connection: Inquest) -> None:
    investigation = await connection.start(an_alert("idle"), bundle=recorded("row_lock"), memory_scope="idle")
    with pytest.raises(UnavailableError, match="is a worker running"):
        await investigation.progress(timeout=timedelta(seconds=1))
    with pytest.raises(TimeoutError, match="no report after"):
        await investigation.report(timeout=timedelta(seconds=0.5))
    with pytest.raises(TimeoutError, match="no report after"):
        async for _ in investigation.follow(timeout=timedelta(seconds=0.5)):
            pass


async def test_no_server_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    nowhere = Settings.model_validate({"data_dir": tmp_path, "database_url": "postgresql://nobody@127.0.0.1:1/x"})
    with pytest.raises(UnavailableError, match="INQUEST_DATABASE_URL"):
        async with Inquest.connect(nowhere):
            pass


ODD = st.text(max_size=300) | st.sampled_from(["\x00", "\ud800", "", " ", "\u202e", "a" * 5_000, "'; DROP TABLE x; --"])
ANYTHING = ODD | st.none() | st.integers() | st.binary(max_size=20)


async def test_odd_input_ends_in_an_error_of_ours_or_works(connection: Inquest) -> None:
    """Of every call; what leaves the package is an `InquestError`, a `BundleError` or a result."""
    loop, bundle = asyncio.get_running_loop(), recorded("row_lock")
    lasting = await connection.start(an_alert("fuzz"), bundle=bundle, memory_scope="fuzz")
    short, outcomes = timedelta(seconds=0.2), Counter[str]()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(
        texts=st.tuples(ODD, ODD, ODD, ODD),
        wrong=ANYTHING,
        as_of=st.none() | st.datetimes() | st.datetimes(timezones=st.just(UTC)),
    )
    def drive(texts: tuple[str, str, str, str], wrong: object, as_of: datetime | None) -> None:
        asyncio.run_coroutine_threadsafe(odd_calls(texts, wrong, as_of), loop).result(120)

    async def odd_calls(texts: tuple[str, str, str, str], wrong: object, as_of: datetime | None) -> None:
        title, label, fingerprint, scope = texts
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: connection.investigation(wrong),  # type: ignore[arg-type]
            lambda: connection.investigation(title),
            lambda: connection.alerts(title),
            lambda: connection.alerts(wrong),  # type: ignore[arg-type]
            lambda: connection.start(odd_alert(title, label, fingerprint), bundle=bundle, memory_scope=scope),
            lambda: connection.start(an_alert("odd"), bundle=bundle, memory_scope=title, as_of=as_of),
            lambda: connection.start(an_alert("odd"), bundle=wrong),  # type: ignore[arg-type]
            lambda: connection.start(an_alert("odd"), bundle=title or "/nowhere"),
            lambda: connection.start(wrong, bundle=bundle),  # type: ignore[arg-type]
            lambda: connection.start(an_alert("odd"), bundle=bundle, budget=Budget(probes=1, seconds=0.1)),
            lambda: lasting.add_hint(title, author=label, timeout=short),
            lambda: lasting.add_hint(wrong, timeout=short),  # type: ignore[arg-type]
        ]
        for call in calls:
            try:
                await call()
            except (InquestError, BundleError):
                outcomes["refused"] += 1
            else:
                outcomes["worked"] += 1

    def odd_alert(title: str, label: str, fingerprint: str) -> Alert:
        try:
            return an_alert(fingerprint, title=title, labels={label: title}, annotations={"summary": label})
        except ValueError:
            return an_alert("odd")

    await asyncio.to_thread(drive)
    assert outcomes["refused"] > 0
    assert outcomes["worked"] > 0


def test_a_setting_that_cannot_be_used_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INQUEST_TENANT", "a tenant'; --")

    async def connect() -> None:
        async with Inquest.connect():
            pass

    with pytest.raises(RejectedError, match="tenant"):
        asyncio.run(connect())
