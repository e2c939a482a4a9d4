"""The loop: a look at everything, then what tells the suspects apart; without a model, with one, with a bad one."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

import activities.deliberation
from activities.memory.ledger import Ledger
from activities.telemetry.recorded import open_bundle
from evals.capture import capture_investigation
from tests.conftest import recorded
from tests.faulty_server import Reply, json_reply
from tests.running import finish, start
from tests.scripted_model import Script, a_model, hostile
from workers.installation import Installation
from workers.rendering.plain_text import model_lines
from workers.replaying import replay
from workflows import steps
from workflows.contracts.identifiers import InvestigationId
from workflows.contracts.investigation import Budget, Purpose
from workflows.contracts.report import Report

LOOKS = Budget(rounds=3)
EVENTS_OF_A_ROUND = 30


@pytest.fixture
async def client(installation: Installation) -> AsyncIterator[Client]:
    connected = await installation.client()
    async with installation.workers(connected):
        yield connected


async def looked(
    installation: Installation, client: Client, name: str, budget: Budget
) -> tuple[InvestigationId, Report]:
    investigation_id = await start(installation, client, recorded(name), budget=budget)
    return investigation_id, await finish(installation, client, investigation_id)


def check_the_choice(ledger: Ledger) -> int:
    """Every look asks what its turn chose from the menu, once; returns how many looks there were after the first."""
    menu, turns = {probe.key for probe in ledger.menu()}, ledger.turns()
    chosen: set[str] = {probe.key for probe in ledger.probes(0)}
    for number, turn in enumerate(turns):
        keys = [item.probe_key for item in turn.chosen]
        assert turn.round == number
        assert [probe.key for probe in ledger.probes(number + 1)] == keys
        assert menu.issuperset(keys)
        assert chosen.isdisjoint(keys)
        assert [item.gain > 0 for item in turn.chosen] == [True] * len(keys)
        assert ledger.answered_keys(number + 1) == set(keys)
        chosen.update(keys)
    assert turns[-1].left == len(menu - chosen)
    return sum(bool(turn.chosen) for turn in turns)


@pytest.mark.parametrize("name", ["bad_deploy", "exhausted_pool"])
async def test_fewer_queries_end_in_the_same_root_cause(installation: Installation, client: Client, name: str) -> None:
    _, whole = await looked(installation, client, name, Budget())
    investigation_id, report = await looked(installation, client, name, LOOKS)
    assert report.findings.verdict.entity == whole.findings.verdict.entity
    assert report.findings.verdict.change_id == whole.findings.verdict.change_id
    assert not report.findings.verdict.partial, "what is not worth running is no data gap"
    assert report.run.probes_answered < 0.75 * whole.run.probes_answered
    assert report.run.probes_planned + report.run.probes_left_open == whole.run.probes_planned
    assert whole.run.probes_left_open == 0
    further = check_the_choice(installation.ledger(investigation_id))
    assert report.run.rounds == 1 + further
    assert report.findings.hypotheses == tuple(installation.ledger(investigation_id).hypotheses(further))
    history = await client.get_workflow_handle(f"inv-{investigation_id}").fetch_history()
    turns = len(installation.ledger(investigation_id).turns())
    assert len(history.events) <= 120 + EVENTS_OF_A_ROUND * turns
    assert sum(event.ByteSize() for event in history.events) <= 150_000


async def test_the_same_looks_are_taken_again(installation: Installation, client: Client, tmp_path: Path) -> None:
    investigation_id, report = await looked(installation, client, "exhausted_pool", LOOKS)
    folder, _ = capture_investigation(installation, investigation_id, tmp_path)
    opened = await replay(
        installation, client, open_bundle(folder), scope="captured", purpose=Purpose.REPLAY, budget=Budget()
    )
    again = await finish(installation, client, opened.request.investigation_id)
    assert again.findings_sha256 == report.findings_sha256
    earlier, later = (installation.ledger(item.run.investigation_id).turns() for item in (report, again))
    assert later == earlier
    assert earlier[0].chosen


async def test_the_budget_of_queries_holds_over_all_looks(installation: Installation, client: Client) -> None:
    _, free = await looked(installation, client, "exhausted_pool", LOOKS)
    first = len(installation.ledger(free.run.investigation_id).probes(0))
    most = first + 2
    assert free.run.probes_planned > most
    _, report = await looked(installation, client, "exhausted_pool", Budget(rounds=3, probes=most))
    assert report.run.probes_answered == most
    assert report.run.probes_left_open > 0


MODEL = Budget(rounds=2, tokens=20_000)
WITHOUT = Budget(rounds=2)
_without_a_model: list[str] = []


async def without_a_model(installation: Installation) -> str:
    """The digest of the findings that the same looks end in without a model, computed once a test process."""
    if not _without_a_model:
        client = await installation.client()
        async with installation.workers(client):
            _, report = await looked(installation, client, "exhausted_pool", WITHOUT)
        _without_a_model.append(report.findings_sha256)
    return _without_a_model[0]


@contextmanager
def knowing(installation: Installation, path: Path) -> Iterator[Installation]:
    """The same servers, with a models file."""
    yield replace(installation, settings=installation.settings.model_copy(update={"models_file": path}))


async def with_model(
    installation: Installation,
    folder: Path,
    script: Script,
    *,
    budget: Budget = MODEL,
    cleared: str = "T3",
    name: str = "exhausted_pool",
    changes: str = "unsure",
) -> tuple[Report, list[dict[str, Any]], Ledger]:
    """The report of an investigation that may ask this model."""
    with (
        a_model(folder, script, cleared=cleared, changes=changes) as (path, asked),
        knowing(installation, path) as own,
    ):
        client = await own.client()
        async with own.workers(client):
            bundle = open_bundle(recorded(name))
            opened = await replay(own, client, bundle, scope=str(folder), purpose=Purpose.REPLAY, budget=budget)
            report = await finish(own, client, opened.request.investigation_id)
    return report, asked, installation.ledger(opened.request.investigation_id)


async def test_a_model_has_a_bounded_say_and_the_report_names_it(installation: Installation, tmp_path: Path) -> None:
    report, asked, ledger = await with_model(installation, tmp_path, hostile)
    assert asked, "it was asked"
    [used] = report.run.models
    assert (used.endpoint, used.model, used.fingerprint) == ("scripted", "smol", "script-1")
    assert used.calls == len(asked) == len([turn for turn in ledger.turns() if turn.calls])
    assert report.run.tokens == used.tokens == 940 * used.calls
    assert report.run.model_problem == ""
    [told] = model_lines(report.run)
    assert told.startswith("model smol at scripted, script-1: ")
    assert report.findings.verdict.entity == "service:cart", "a well-evidenced cause stays"
    opinions = [turn.opinions for turn in ledger.turns()]
    assert any(opinion.weight for turn in opinions for opinion in turn)
    for item in report.findings.hypotheses:
        terms = [*item.supporting, *item.contradicting]
        assert sum(part.log_odds for part in terms) == pytest.approx(item.score, abs=1e-6)
    system = {body["messages"][0]["content"] for body in asked}
    assert len(system) == 1, "a prefix that a server can keep"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (lambda _: Reply(503, b"overloaded"), "unreachable"),
        (lambda _: Reply(wait_s=20), "unreachable"),
        (lambda _: "I think that it is the cart.", "invalid"),
        (lambda _: "x" * 500_000, "invalid"),
        (lambda _: '{"queries": ["Q1"], "judgements": [', "invalid"),
        (lambda _: '{"antwort": "Der Warenkorb ist schuld."}', "invalid"),
        (lambda _: Reply(404, b'{"error": {"message": "The model `smol` does not exist."}}'), "refused"),
        (
            lambda _: Reply(400, b'{"error": {"message": "This model\'s maximum context length is 9"}}'),
            "context_overflow",
        ),
    ],
    ids=["down", "hanging", "prose", "500 kB", "truncated", "German", "unknown model", "overflow"],
)
async def test_a_bad_model_costs_its_opinion_and_nothing_else(
    installation: Installation, tmp_path: Path, script: Script, problem: str
) -> None:
    report, asked, _ = await with_model(installation, tmp_path, script)
    assert report.run.model_problem == problem
    assert asked
    assert report.findings_sha256 == await without_a_model(installation)


async def test_another_model_in_the_middle_is_named_as_well(installation: Installation, tmp_path: Path) -> None:
    said = json.dumps({"queries": [], "judgements": [], "propose": None})
    turns: list[str] = []

    def script(_: str) -> Reply:
        turns.append("asked")
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        return json_reply({"choices": [choice], "system_fingerprint": f"build-{len(turns)}"})

    report, _, _ = await with_model(installation, tmp_path, script)
    assert [item.fingerprint for item in report.run.models] == [f"build-{n + 1}" for n in range(len(turns))]
    assert len(turns) > 1


async def test_a_workload_that_a_model_may_not_see_is_not_shown_to_it(
    installation: Installation, tmp_path: Path
) -> None:
    report, asked, _ = await with_model(installation, tmp_path, hostile, cleared="T2")
    assert asked == []
    assert report.run.models == ()


@pytest.mark.parametrize("defect", [False, True], ids=["nobody works for it", "a defect in asking it"])
async def test_what_keeps_a_model_from_answering_costs_its_say_alone(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, defect: bool
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(steps, "MODEL_PATIENCE", timedelta(seconds=60 if defect else 2))
    if defect:
        monkeypatch.setattr(activities.deliberation, "question", broken)
    with a_model(tmp_path, hostile) as (path, asked), knowing(installation, path) as own:
        client = await own.client()
        bundle = open_bundle(recorded("exhausted_pool"))
        opened = await replay(own, client, bundle, scope=str(tmp_path), purpose=Purpose.REPLAY, budget=MODEL)
        async with (own if defect else installation).workers(client):
            report = await finish(own, client, opened.request.investigation_id)
    assert asked == []
    assert report.run.model_problem == "unreachable"
    assert report.findings_sha256 == await without_a_model(installation)


async def test_tokens_are_a_budget(installation: Installation, tmp_path: Path) -> None:
    report, asked, _ = await with_model(installation, tmp_path, hostile, budget=Budget(rounds=2, tokens=100))
    assert asked == []
    assert report.run.model_problem == "budget"
    assert report.run.tokens == 0


async def test_changes_are_asked_about_once_each_and_their_text_goes_nowhere_else(
    installation: Installation, tmp_path: Path
) -> None:
    report, asked, ledger = await with_model(installation, tmp_path, hostile, name="bad_deploy", changes="yes")
    about = [body["messages"][1]["content"] for body in asked if "Text of the change" in str(body["messages"])]
    judged = [item for turn in ledger.turns() for item in turn.changes]
    assert judged
    assert len(about) == len(judged) == len({item.change_id for item in judged})
    assert report.findings.verdict.change_id in {item.change_id for item in judged}
    quoted = [json.loads(text.rpartition("Text of the change: ")[2]) for text in about]
    others = " ".join(str(body["messages"]) for body in asked if "Text of the change" not in str(body["messages"]))
    assert all(text.split("\n")[0] not in others for text in quoted if len(text.split("\n")[0]) > 10)
