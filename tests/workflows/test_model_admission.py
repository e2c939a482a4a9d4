"""Sensitive workloads are shown only to models that somebody admitted, and what endpoints do is counted."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from activities.telemetry.recorded import open_bundle
from tests.conftest import recorded
from tests.running import finish
from tests.scripted_model import a_model, hostile
from workers.installation import Installation
from workers.model_commands import GROUP
from workers.model_metrics import ModelMetrics
from workers.replaying import replay
from workflows.contracts.identifiers import Tenant
from workflows.contracts.investigation import Budget, Purpose
from workflows.contracts.report import Report

BUDGET = Budget(rounds=1, tokens=20_000)


def invoked(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(GROUP, list(arguments))
    return found.exit_code, " ".join(found.output.split())


async def asked_in(own: Installation, scope: str) -> Report:
    client = await own.client()
    async with own.workers(client):
        bundle = open_bundle(recorded("exhausted_pool"))
        opened = await replay(own, client, bundle, scope=scope, purpose=Purpose.REPLAY, budget=BUDGET)
        return await finish(own, client, opened.request.investigation_id)


async def test_only_what_was_admitted_is_asked_and_only_while_it_is_the_same(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "a lighthouse"

    def script(prompt: str) -> str:
        return hostile(prompt) if "Suspects:" in prompt else f'{{"answer": "{words} {len(prompt)}"}}'

    with a_model(tmp_path, script, also="admitted_from: T3\n") as (path, asked):
        tenant = Tenant("admission-test")
        settings = installation.settings.model_copy(update={"models_file": path, "tenant": tenant})
        own = replace(installation, settings=settings)
        for name, value in settings.environment().items():
            monkeypatch.setenv(name, value)

        report = await asked_in(own, "nobody admitted it")
        assert (report.run.model_problem, asked) == ("not_admitted", [])

        code, text = invoked("admit", "scripted", "--by", "ada", "--reason", "evaluated", "--licence", "Apache-2.0")
        assert code == 0, text
        assert "known by its answers to 6 prompts (0.1, Apache-2.0) admitted by ada" in text
        [admission] = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", text)
        del asked[:]
        metrics = ModelMetrics(installation.store.model_service(tenant))
        report = await asked_in(own, "admitted")
        assert report.run.model_problem == ""
        assert len(asked) > 6, "the fixed prompts, and the questions"
        lines = metrics.lines()
        assert metrics.lines() == lines, "each is counted once"
        calls = len(asked) - 6
        who = 'endpoint="scripted",model="smol"'
        assert f'inquest_model_requests_total{{{who},outcome="answered"}} {calls}' in lines
        assert f"inquest_model_prompt_tokens_total{{{who}}} {900 * calls}" in lines
        assert f'inquest_model_seconds_bucket{{{who},le="+Inf"}} {calls}' in lines
        told = f"{calls} requests, available 100.0%, failed 0.0%, invalid 0.0%"
        assert told.replace("1 requests", "1 request") in invoked("usage")[1]

        words = "another model"
        assert (await asked_in(own, "changed")).run.model_problem == "not_admitted"

        assert invoked("revoke", admission, "--by", "bob", "--reason", "old")[0] == 0
        assert "taken back by bob" in invoked("admitted")[1]
        assert installation.store.admissions(tenant).valid() == []
        code, text = invoked("revoke", admission)
        assert code == 1
        assert "no admission" in text
        code, text = invoked("admit", "scripted", "--evaluation", "01a1fd6b-9743-79f2-bf13-9e2bb6e14cae")
        assert code == 1
        assert "there is no evaluation" in text
    assert installation.store.admissions(installation.tenant).known() == [], "another tenant's"
