"""What people know: said by command, used by an investigation, proposed, accepted and withdrawn."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from activities.memory.uuid7 import uuid7
from infra.settings import Settings
from tests.conftest import own_data_dir, recorded
from tests.evals.reports import check_report
from tests.running import finish, start
from workers.installation import open_installation
from workers.rendering.markdown_report import render_markdown
from workers.rendering.page import render_page
from workflows.contracts.fact import Fact, FactDecision, FactEffect, FactState

STATEMENT = "Ask ops@example.com: errors after a deploy are expected <script>alert(1)</script>"


async def test_from_a_statement_to_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.cli import APP  # noqa: PLC0415 - the command's own entry

    def told(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(APP, ["fact", *words])
        assert done.exit_code == code, done.output
        return done.stdout if code == 0 else " ".join(done.output.replace("│", "").split())

    with own_data_dir() as folder:
        monkeypatch.setenv("INQUEST_DATA_DIR", str(folder))
        with open_installation(Settings(data_dir=folder)) as installation:
            client, bundle = await installation.client(), recorded("bad_deploy")
            async with installation.workers(client):
                before = await finish(installation, client, await start(installation, client, bundle))
                suspect = before.findings.verdict.entity
                assert suspect is not None
                options = ("--expects", "all", "--after-change", "1h", "--owner", "team-shop")
                said = told("add", suspect, STATEMENT, *options)
                fact_id = said.split()[0]
                proposed = Fact(
                    fact_id=str(uuid7()),
                    subject=suspect,
                    statement="it is always so",
                    effect=FactEffect.EXPECTED,
                    added_at=datetime.now(UTC),
                )
                facts = installation.store.facts(installation.tenant)
                waiting = FactDecision(state=FactState.PROPOSED, decided_at=datetime.now(UTC))
                assert facts.add(proposed, waiting)
                assert not facts.add(proposed, waiting), "the same once more"
                after = await finish(installation, client, await start(installation, client, bundle))
                note = ["feedback", after.run.investigation_id, "partly", "--note", "the canary shares a quota"]
                assert "proposed as a fact" in CliRunner().invoke(APP, note).stdout
                assert told("withdraw", fact_id, "--note", "no longer").startswith("withdrawn")
                again = await finish(installation, client, await start(installation, client, bundle))
            listed = [json.loads(line) for line in told("list", "--json").splitlines()]
            every = [json.loads(line)["decision"]["state"] for line in told("list", "--all", "--json").splitlines()]
            assert "proposed" in told("list")
            assert told("accept", proposed.fact_id).startswith("accepted")
            assert told("reject", proposed.fact_id).startswith("rejected")
            shown = told("show", fact_id)
            for words, problem in (
                (["add", "checkout", "x"], "kind:name"),
                (["add", "service:a", "x", "--expects", "nonsense"], "no kind of symptom"),
                (["add", "service:a", "x", "--expects", "error", "--known-cause"], "add two"),
                (["add", "service:a", "x", "--up-to", "many"], "no share"),
                (["add", "service:a", "x", "--label", "eu"], "no label"),
                (["add", "service:a", "x", "--every", "FREQ=DAILY"], "needs its first occurrence"),
                (["add", "service:a", "x", "--timezone", "Mars/Base"], "no time zone"),
                (
                    ["add", "service:a", "x", "--valid-from", "2026-01-02", "--valid-until", "2026-01-01"],
                    "must come after",
                ),
                (["add", "service:a", "x" * 1001], "at most 1000"),
                (["show", "nothing"], "no fact begins so"),
                (
                    ["add", "service:a", "x", "--every", "FREQ=HOURLY", "--begins", "2026-01-01", "--lasts", "1h"],
                    "FREQ must be",
                ),
            ):
                assert problem in told(*words, code=2), words
    assert after.findings.verdict.sentence != before.findings.verdict.sentence
    assert "expected: team-shop knows: " in after.findings.verdict.sentence
    assert "ops@example.com" not in after.model_dump_json(), "redacted before it was stored"
    [used] = after.findings.facts
    assert used.used
    check_report(after.findings)
    assert "What people know" in render_markdown(after)
    assert "<script>" not in render_page(after)
    assert again.findings.hypotheses == before.findings.hypotheses
    assert again.findings.facts == ()
    assert {item["fact"]["statement"] for item in listed} == {proposed.statement, "the canary shares a quota"}
    assert sorted(every) == ["proposed", "proposed", "withdrawn"]
    assert "withdrawn by" in shown
    assert "no longer" in shown
