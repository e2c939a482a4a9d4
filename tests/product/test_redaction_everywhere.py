"""Nothing that the bundle holds in secret reaches the ledger, Temporal, a file of the data folder or a report."""

import json
import shutil
from pathlib import Path

import polars as pl
import zstandard
from sqlalchemy import select

from activities.memory.tables import ARTIFACT, METADATA
from tests.activities.safety.corpus import documented
from tests.conftest import recorded
from tests.running import finish, start
from workers.installation import Installation
from workers.rendering.markdown_report import render_markdown
from workers.rendering.page import render_page

SECRETS = ["swordfish-99", "ann.other@example.com", "AKIA" + "IOSFODNN7EXAMPLE", "4111111111111111"]
LINES = [*documented.secrets()[::9], *documented.personal(each=1)]
"""Some of every way in which the documented set writes things."""


def planted(folder: Path) -> None:
    """Secrets in log lines, an operation's name, a metric's name, a change and the alert."""
    line = f"login password={SECRETS[0]} of {SECRETS[1]} with {SECRETS[2]} card {SECRETS[3]}"
    logs = pl.read_parquet(folder / "logs.parquet")
    texts = [f"{line} {number}" for number in range(3)] + [item.text for item in LINES]
    wanted = pl.Series("planted", [texts[number % len(texts)] for number in range(logs.height)])
    logs.with_columns(message=pl.format("{} {}", "message", wanted)).write_parquet(folder / "logs.parquet")
    traces = pl.read_parquet(folder / "traces.parquet")
    traces.with_columns(operation=pl.format("{} {}", "operation", pl.lit(SECRETS[1]))).write_parquet(
        folder / "traces.parquet"
    )
    for name, field in (("changes", "detail"), ("alert", "annotations")):
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        if isinstance(content, list):
            content[0][field] = line
        else:
            content[field] = {"text": line}
        path.write_text(json.dumps(content))


async def test_secrets_stay_outside(installation: Installation, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded("bad_deploy"), tmp_path / "bundle"))
    planted(folder)
    client = await installation.client()
    async with installation.workers(client):
        investigation_id = await start(installation, client, folder)
        report = await finish(installation, client, investigation_id)
    assert report.findings.verdict.entity == "service:payment"
    seen = [render_page(report), render_markdown(report), report.model_dump_json()]
    seen.append((await client.get_workflow_handle(f"inv-{investigation_id}").fetch_history()).to_json())
    with installation.engine.connect() as connection:
        for table in METADATA.sorted_tables:
            rows = connection.execute(select(table).limit(10_000)).all()
            if table is ARTIFACT:
                unpack = zstandard.ZstdDecompressor().decompress
                seen += [unpack(row.content).decode("latin-1") for row in rows]
            else:
                seen.append(str(rows))
    files = [path for path in installation.settings.data_dir.rglob("*") if path.is_file()]
    assert any(path.name.startswith("temporal.db") for path in files)
    seen += [path.read_bytes().decode("latin-1") for path in files]
    survivors = {
        secret: item.kind
        for item in LINES
        for secret in item.secrets
        if secret.isascii() and len(secret) >= 9 and any(secret in text for text in seen)
    }
    assert survivors == {}
    for secret in SECRETS:
        assert not any(secret in text for text in seen), secret
    assert any("[email]" in text or "[email:" in text for text in seen)
