"""The command as a person uses it: one process after another on one data folder."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from inquest import Inquest
from typer.testing import CliRunner

from activities.telemetry.recorded import open_bundle
from infra.database import DATABASE
from infra.settings import Settings
from tests.conftest import PROJECT, RECORDINGS, own_data_dir, recorded
from workers.installation import Installation, open_installation
from workers.processes import WorkerProcessError, worker_processes
from workflows.contracts.report import Report

COMMAND = [str(Path(sys.executable).parent / "inquest")]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A data folder of this module's own, whose servers are up for all of its commands."""
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)):
        yield folder


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    """Runs `inquest` in a process."""

    def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env={**os.environ, "INQUEST_DATA_DIR": str(home), "COLUMNS": "160", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return command


@pytest.fixture(scope="module")
def printed(home: Path) -> Callable[..., str]:
    """What a command prints that only reads; it runs in the test's own process."""
    from workers.cli import APP  # noqa: PLC0415 - the command's own entry

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(APP, list(arguments), env={"INQUEST_DATA_DIR": str(home), "COLUMNS": "160"})
        assert done.exit_code == 0, done.output
        return done.stdout

    return command


def default_bundle() -> Path:
    return RECORDINGS / "bundles" / (RECORDINGS / "DEFAULT").read_text().strip()


def investigated(run: Run, folder: Path, *options: str, **environment: str) -> Report:
    done = run("investigate", "--json", folder, *options, **environment)
    assert done.returncode == 0, done.stderr
    return Report.model_validate_json(done.stdout)


def test_the_default_incident_ends_with_the_right_cause(run: Run, printed: Callable[..., str], tmp_path: Path) -> None:
    done = run("investigate", "--out", tmp_path, default_bundle())
    assert done.returncode == 0, done.stderr
    assert "service:payment is the root cause" in done.stdout
    for part in ("Suspects", "Why", "Change", "Affected", "Next", "ok"):
        assert part in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("╰"), "the verdict is the last thing"
    listed = printed("list", "--replays", "--since", "1h")
    assert "published" in listed
    assert "service:payment" in listed
    assert all(len(line) <= 160 for line in listed.splitlines()), "one line each"
    assert printed("list") == "", "live ones stand apart"
    row = json.loads(printed("list", "--replays", "--limit", "1", "--json"))
    assert row["state"] == "published"
    full = printed("show", "--full", row["investigation_id"])
    for part in ("Causal chain", "Timeline", "Affected", "Evidence", "What to look at next"):
        assert part in full
    page = next(tmp_path.glob("*.html")).read_text()
    text = next(tmp_path.glob("*.md")).read_text()
    assert "<svg" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert text.startswith("# service:payment is the root cause")


def test_json_is_one_document_and_threads_do_not_change_it(run: Run, printed: Callable[..., str]) -> None:
    done = run("investigate", "--json", default_bundle())
    document = json.loads(done.stdout)
    assert set(document) >= {"findings", "findings_sha256", "run"}
    assert {claim["state"] for claim in document["findings"]["claims"]} == {"verified"}
    assert [item["rank"] for item in document["findings"]["hypotheses"]] == list(
        range(1, len(document["findings"]["hypotheses"]) + 1)
    )
    report_id = document["run"]["investigation_id"]
    assert json.loads(printed("show", report_id, "--json")) == document
    assert "service:payment" in printed("show", report_id)
    listed = printed("evidence", report_id)
    key = next(line.split()[0] for line in listed.splitlines() if line.startswith("traces-") and " ok " in line)
    assert "sha256" in printed("evidence", report_id, key)
    assert with_threads(run, default_bundle(), "1") == document["findings_sha256"]


def with_threads(run: Run, bundle: Path, threads: str) -> str:
    names = ("POLARS_MAX_THREADS", "INQUEST_ANALYSIS_THREADS", "INQUEST_WORKER_THREADS")
    return investigated(run, bundle, **dict.fromkeys(names, threads)).findings_sha256


def test_threads_do_not_change_the_findings(run: Run) -> None:
    assert with_threads(run, recorded("row_lock"), "1") == with_threads(run, recorded("row_lock"), "4")


def test_a_short_budget_is_told(run: Run) -> None:
    report = investigated(run, recorded("bad_deploy"), "--probes", "4")
    assert report.findings.verdict.partial
    assert report.run.probes_answered == 4


def test_two_commands_at_once_share_one_stack() -> None:
    with own_data_dir() as folder:
        environment = {**os.environ, "INQUEST_DATA_DIR": str(folder)}
        both = [
            subprocess.Popen(
                [*COMMAND, "investigate", "--json", str(default_bundle())],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        outputs = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs
        first, second = (Report.model_validate_json(output) for output, _ in outputs)
        assert first.findings_sha256 == second.findings_sha256


def test_up_finishes_what_a_killed_command_began() -> None:
    with own_data_dir() as folder:
        environment = {**os.environ, "INQUEST_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
        killed = subprocess.Popen(
            [*COMMAND, "investigate", str(default_bundle())], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert killed.stdout is not None
        for line in killed.stdout:
            if " rows" in line:
                break
        killed.kill()
        killed.wait()
        killed.stdout.close()
        up = subprocess.Popen([*COMMAND, "up"], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 90
            while "published" not in _output(environment, "list", "--replays"):
                assert time.monotonic() < deadline
                time.sleep(0.5)
        finally:
            up.terminate()
            try:
                up.communicate(timeout=30)
            finally:
                up.kill()
        assert up.returncode == 130


def _output(environment: dict[str, str], *arguments: str) -> str:
    return subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60).stdout


def test_two_settings_switch_to_servers_of_ones_own(installation: Installation, tmp_path: Path) -> None:
    database = installation.stack.database_url.replace("/postgres?", f"/{DATABASE}?")
    servers = {"INQUEST_TEMPORAL_ADDRESS": installation.stack.temporal_address, "INQUEST_DATABASE_URL": database}
    environment = {**os.environ, **servers, "INQUEST_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "160"}
    done = subprocess.run(
        [*COMMAND, "investigate", "--json", str(default_bundle())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report = Report.model_validate_json(done.stdout)
    assert report.findings.verdict.entity == "service:payment"
    assert installation.ledger(report.run.investigation_id).report() == report
    assert not (tmp_path / "data" / "postgres").exists(), "no embedded server was started"
    healthy = subprocess.run([*COMMAND, "doctor"], env=environment, capture_output=True, text=True, timeout=60)
    assert healthy.returncode == 0, healthy.stdout


def test_doctor_and_settings(run: Run) -> None:
    healthy = run("doctor")
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    assert "append-only" in healthy.stdout
    sick = run("doctor", INQUEST_DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")
    assert sick.returncode == 1
    assert "127.0.0.1" in sick.stdout
    listed = run("settings", INQUEST_DATABASE_URL="postgresql://u:secret-word@h/x").stdout
    assert "INQUEST_TEMPORAL_ADDRESS" in listed
    assert "secret-word" not in listed


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["investigate", "/nowhere"], {}, "/nowhere"),
        (["investigate", str(PROJECT / "README.md")], {}, "README.md"),
        (["show", "ffffffff"], {}, "inquest list"),
        (["investigate", ""], {}, "name the folder of a recorded incident"),
        (["investigate", str(PROJECT / "tests")], {}, "is not a bundle: it has no manifest.json"),
        (["investigate", str(PROJECT), "--seconds", "inf"], {}, "--seconds"),
        (["investigate", str(PROJECT), "--seconds", "nan"], {}, "--seconds"),
        (["bundle", "check", str(PROJECT / "tests")], {}, "is not a bundle"),
        (["lst"], {}, "No such command"),
        (["list"], {"INQUEST_DATADIR": "/x"}, "did you mean INQUEST_DATA_DIR?"),
        (["list"], {"INQUEST_TEMPORAL_ADDRESS": "local host:1"}, "write host:port"),
        (["doctor"], {"INQUEST_TEMPORAL_ADDRESS": "localhost"}, "write host:port"),
        (["list"], {"INQUEST_TEMPORAL_UI_PORT": "abc"}, "temporal_ui_port"),
        (["list"], {"INQUEST_BUDGET_PROBES": "abc"}, "budget_probes"),
        (["list"], {"INQUEST_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "127.0.0.1"),
        (["list"], {"INQUEST_DATA_DIR": "/proc/nowhere"}, "INQUEST_DATA_DIR"),
    ],
)
def test_errors_are_one_line_that_helps(
    home: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    from workers.cli import APP  # noqa: PLC0415 - the command's own entry

    given = {"INQUEST_DATA_DIR": str(home), "COLUMNS": "160", **environment}
    done = CliRunner().invoke(APP, arguments, env=given)
    assert done.exit_code != 0
    assert isinstance(done.exception, SystemExit), "no error goes unexplained"
    plain = " ".join(done.stderr.replace("│", " ").split())
    assert message in plain or message in done.stderr.replace("\n", "")


def test_control_characters_are_refused(run: Run) -> None:
    done = run("show", "\x1b[31mred")
    assert done.returncode != 0
    assert "control character" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_changed_bundle_is_refused(run: Run, bundle: Path) -> None:
    assert run("bundle", "check", str(bundle)).returncode == 0
    logs = bundle / "logs.parquet"
    pl.read_parquet(logs).head(10).write_parquet(logs)
    (bundle / "changes.json").write_text("[]")
    checked = run("bundle", "check", str(bundle))
    assert checked.returncode == 1
    for name in ("logs.parquet", "changes.json"):
        assert f"{name}: was changed after the bundle was written" in " ".join(checked.stderr.split())
    refused = run("investigate", str(bundle))
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert not refused.stdout


def test_help_loads_nothing_heavy() -> None:
    """What `inquest --help` and `--version` import is what makes them slow; the listing is complete all the same."""
    script = (
        "import os, sys; from inquest._command import main; sys.argv = ['inquest', sys.argv[1]]; "
        "os._exit = lambda code: None; main(); "
    )
    script += (
        "print([name for name in ('temporalio', 'sqlalchemy', 'polars', 'duckdb', 'numpy') if name in sys.modules])"
    )
    for option, shown in (("--help", "Investigate a recorded incident"), ("--version", "inquest ")):
        done = subprocess.run(
            [sys.executable, "-c", script, option], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout
        assert done.stdout.rstrip().endswith("[]")
    helped = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=False)
    for name in ("bundle", "capture", "doctor", "eval", "evidence", "list", "settings", "show", "up", "worker"):
        assert f" {name} " in helped.stdout


def test_up_computes_in_processes_that_are_started_again_and_end_with_it() -> None:
    with own_data_dir() as folder:
        environment = {
            **os.environ,
            "INQUEST_DATA_DIR": str(folder),
            "INQUEST_WORKER_PROCESSES": "2",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "160",
        }
        up = subprocess.Popen(
            [*COMMAND, "up"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert up.stdout is not None
            assert "workers are running" in up.stdout.readline()
            first = worker_processes_of(up.pid, 2)
            os.kill(first.pop(), signal.SIGKILL)
            second = worker_processes_of(up.pid, 2)
            assert first < second
            report = asyncio.run(investigated_elsewhere(folder))
            assert report.findings.verdict.entity == "service:payment"
        finally:
            up.kill()
            _, errors = up.communicate(timeout=60)
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{pid}").exists() for pid in second):
            assert time.monotonic() < deadline, "a worker process outlived its command"
            time.sleep(0.1)
        assert "Traceback" not in errors


def worker_processes_of(parent: int, count: int) -> set[int]:
    """The worker processes of a command, once there are so many and they serve their queues."""
    deadline = time.monotonic() + 60
    while True:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        found = {int(pid) for pid in children if b"workers.worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()}
        if len(found) == count:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def investigated_elsewhere(folder: Path) -> Report:
    """By whoever serves the queues: this process only asks."""
    bundle = default_bundle()
    async with Inquest.connect(Settings(data_dir=folder)) as inquest:
        investigation = await inquest.start(open_bundle(bundle).alert, bundle=bundle, memory_scope="elsewhere")
        return await investigation.report(timeout=timedelta(seconds=120))


def test_up_ends_when_its_worker_processes_cannot_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve() -> None:
        async with worker_processes(Settings(data_dir=tmp_path / "file" / "below", worker_processes=2)):
            await asyncio.Event().wait()

    (tmp_path / "file").touch()
    with pytest.raises(WorkerProcessError, match="exit code 1"):
        asyncio.run(serve())
