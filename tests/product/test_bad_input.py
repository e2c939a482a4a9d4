"""Bad input gets an error that names the file and the remedy, or a report that says what it could not read."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from temporalio.client import Client

from activities.telemetry.recorded import BundleError
from tests.conftest import own_data_dir, recorded
from tests.running import check, finish, start
from workers.installation import Installation
from workers.rendering.markdown_report import render_markdown
from workers.rendering.page import render_page
from workflows.contracts.report import Outcome, Report

MEMORY_CAP_BYTES = 2_000_000_000
LOG_LINES = 10_000_000
Damage = Callable[[Path], None]


@pytest.fixture
async def client(installation: Installation) -> AsyncIterator[Client]:
    connected = await installation.client()
    async with installation.workers(connected):
        yield connected


def rewritten(folder: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = folder / f"{name}.parquet"
    change(pl.read_parquet(path)).write_parquet(path)


def in_json(folder: Path, name: str, **fields: object) -> None:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def corrupt_pages(folder: Path, name: str) -> None:
    """A good footer over damaged data."""
    path = folder / f"{name}.parquet"
    content = bytearray(path.read_bytes())
    content[200 : len(content) // 2] = os.urandom(len(content) // 2 - 200)
    path.write_bytes(content)


async def report_on(installation: Installation, client: Client, folder: Path) -> Report:
    return await finish(installation, client, await start(installation, client, folder))


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (lambda folder: (folder / "changes.json").write_text("[{}]"), "changes.json"),
        (lambda folder: (folder / "topology.json").write_text("[" * 100_000), "topology.json"),
        (lambda folder: (folder / "metrics.parquet").write_bytes(b""), "metrics.parquet"),
        (lambda folder: (folder / "traces.parquet").unlink(), "traces.parquet"),
        (lambda folder: in_json(folder, "manifest", schema_version=2), "manifest.json"),
        (lambda folder: in_json(folder, "manifest", as_of="2030-01-01T00:00:00Z"), "manifest.json"),
        (lambda folder: in_json(folder, "alert", starts_at="0001-01-01T00:00:00Z"), "alert.json"),
        (lambda folder: in_json(folder, "alert", starts_at="2026-01-01T00:00:00"), "alert.json"),
        (lambda folder: in_json(folder, "alert", entity="service:a\x00b"), "alert.json"),
        (lambda folder: in_json(folder, "alert", annotations={"a": "x" * 5_000_000}), "alert.json"),
        (
            lambda folder: (folder / "cluster.json").write_text(
                json.dumps(
                    [
                        {
                            "at": "2026-11-21T08:00:00Z",
                            "object_kind": "Pod",
                            "object_name": "p",
                            "type": "t",
                            "healthy": False,
                            "count": 10**30,
                        }
                    ]
                )
            ),
            "cluster.json",
        ),
    ],
)
def test_damage_that_is_found_at_the_door(bundle: Path, damage: Damage, file: str) -> None:
    damage(bundle)
    with pytest.raises(BundleError) as caught:
        check(bundle)
    assert caught.value.file.name == file
    assert caught.value.remedy


async def test_bytes_no_database_can_hold_do_not_stop_it(
    installation: Installation, client: Client, bundle: Path
) -> None:
    rewritten(bundle, "logs", lambda rows: rows.with_columns(message=pl.format("a\x00b {}", "message")))
    rewritten(
        bundle,
        "metrics",
        lambda rows: pl.concat([rows, rows.head(3).with_columns(entity=pl.Series(["service:n\x00l", "", "plain"]))]),
    )
    report = await report_on(installation, client, bundle)
    assert report.findings.verdict.entity == "service:payment"
    assert any("names that cannot be used" in item.reason for item in report.findings.data_gaps)


@pytest.mark.parametrize("name", ["logs", "metrics", "traces"])
async def test_damaged_pages_cost_one_modality(
    installation: Installation, client: Client, bundle: Path, name: str
) -> None:
    corrupt_pages(bundle, name)
    report = await report_on(installation, client, bundle)
    assert report.run.probes_answered > 20
    assert report.findings.verdict.partial
    assert any(f"{name}.parquet" in item.reason for item in report.findings.data_gaps)


async def test_extreme_numbers_and_hostile_names(installation: Installation, client: Client, bundle: Path) -> None:
    hostile = "service:<script>alert(1)</script>'; DROP TABLE ledger.step; -- $(reboot) \x1b[31m [x](http://evil)"
    rewritten(
        bundle,
        "metrics",
        lambda rows: pl.concat(
            [
                rows,
                rows.with_columns(entity=pl.lit(hostile.replace("\x1b", ""))),
                rows.head(6).with_columns(
                    value=pl.Series([1.7e308, -1.7e308, float("nan"), float("inf"), 1e299, -1e299])
                ),
            ]
        ),
    )
    report = await report_on(installation, client, bundle)
    assert report.findings.verdict.entity == "service:payment"
    assert any("not finite" in item.reason for item in report.findings.data_gaps)
    page, text = render_page(report), render_markdown(report)
    assert "<script" not in page
    assert re.search(r"(?<!\\)<script", text) is None
    assert "](http://" not in text


@pytest.mark.parametrize("kept", ["metrics", "logs", "traces", None])
async def test_missing_modalities_are_told(
    installation: Installation, client: Client, bundle: Path, kept: str | None
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    dropped = [name for name in ("metrics", "logs", "traces", "topology", "changes", "cluster") if name != kept]
    (bundle / "manifest.json").write_text(
        json.dumps({key: value for key, value in manifest.items() if key not in dropped})
    )
    report = await report_on(installation, client, bundle)
    assert any(item.status == "not_recorded" for item in report.findings.data_gaps)
    if kept is None:
        assert report.findings.verdict.outcome is Outcome.INCONCLUSIVE
        assert report.findings.verdict.partial


async def test_shifted_clocks_and_duplicates_keep_the_cause(
    installation: Installation, client: Client, bundle: Path
) -> None:
    skewed = (
        pl.when(pl.col("entity") == "service:payment").then(pl.duration(seconds=2)).otherwise(pl.duration(seconds=0))
    )
    rewritten(bundle, "traces", lambda rows: pl.concat([rows, rows]).with_columns(ts=pl.col("ts") + skewed))
    rewritten(
        bundle,
        "logs",
        lambda rows: pl.concat(
            [rows, rows.with_columns(ts=pl.lit(datetime(2150, 1, 1, tzinfo=UTC)).cast(rows.schema["ts"]))]
        ),
    )
    report = await report_on(installation, client, bundle)
    assert report.findings.verdict.entity == "service:payment"


def capped(folder: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run the command; returns it with the largest resident size of its process, in bytes."""
    with own_data_dir() as data:
        script = (
            "import os, resource, subprocess, sys\n"
            "done = subprocess.run(sys.argv[1:], stdout=sys.stdout, stderr=sys.stderr)\n"
            "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
            "print(f'peak {peak}', file=sys.stderr); sys.exit(done.returncode)\n"
        )
        command = str(Path(sys.executable).parent / "inquest")
        done = subprocess.run(
            [sys.executable, "-c", script, command, "investigate", "--json", str(folder), *options],
            env={**os.environ, "INQUEST_DATA_DIR": str(data)},
            capture_output=True,
            text=True,
            timeout=280,
        )
    return done, int(done.stderr.rsplit("peak ", 1)[1])


def seal(folder: Path) -> None:
    """Let the manifest name the log file that lies there now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    with (folder / "logs.parquet").open("rb") as file:
        manifest["logs"]["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_ten_million_log_lines(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded("bad_deploy"), tmp_path / "bundle"))
    manifest = json.loads((folder / "manifest.json").read_text())
    start = datetime.fromisoformat(manifest["visible"]["start"])
    numbers = pl.int_range(LOG_LINES, eager=True)
    entities = pl.Series(["service:cart", "service:catalog", "service:payment", "service:shipping"])
    pl.DataFrame(
        {
            "ts": pl.Series([start]).cast(pl.Datetime("us", "UTC")).gather(numbers * 0)
            + (numbers * 15).cast(pl.Duration("us")),
            "entity": entities.gather((numbers * 4) // LOG_LINES),
            "severity": pl.Series(["info"]).gather(numbers * 0),
            "message": pl.select(pl.format("request {} served in {} ms", numbers, numbers % 97)).to_series(),
            "trace_id": pl.Series([""]).gather(numbers * 0),
            "span_id": pl.Series([""]).gather(numbers * 0),
        }
    ).write_parquet(folder / "logs.parquet", row_group_size=100_000)
    seal(folder)
    done, peak = capped(folder)
    assert done.returncode == 0, done.stderr
    report = Report.model_validate_json(done.stdout)
    assert report.findings.verdict.entity == "service:payment"
    assert peak < MEMORY_CAP_BYTES


def test_a_file_that_unpacks_to_more_than_memory(tmp_path: Path) -> None:
    """A small file that unpacks to three gigabytes: lines of a megabyte, all alike."""
    folder = Path(shutil.copytree(recorded("bad_deploy"), tmp_path / "bundle"))
    logs = folder / "logs.parquet"
    one = pl.read_parquet(logs).head(1).with_columns(message=pl.lit("x" * 1_000_000))
    one.write_parquet(tmp_path / "one.parquet")
    with duckdb.connect(config={"memory_limit": "1GB", "preserve_insertion_order": "false"}) as database:
        database.execute(
            f"COPY (SELECT one.* FROM read_parquet('{tmp_path}/one.parquet') one, range(3000)) "
            f"TO '{logs}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE_BYTES '32MB')"
        )
    assert logs.stat().st_size < 10_000_000
    seal(folder)
    done, peak = capped(folder, "--seconds", "60")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert peak < MEMORY_CAP_BYTES
