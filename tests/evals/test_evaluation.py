"""Evaluations run for real: blind, resumed after kills, with damaged cases, and on captured incidents."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from activities.analysis.parameters import DEFAULT
from activities.memory.tables import EVALUATION, INVESTIGATION, OUTCOME
from activities.telemetry.recorded import open_bundle
from evals import eval_commands
from evals.capture import NotCapturedError, capture_investigation
from evals.comparison import compare
from evals.evaluation import begin_or_resume
from evals.plan import Plan
from evals.results import EvaluationFile, read_results
from evals.suites import open_suite
from infra.settings import Settings
from tests.conftest import PROJECT, own_data_dir, recorded
from tests.evals import oracle
from tests.running import finish, options_for, quick_ingestion, start
from workers.installation import Installation, budget_of, open_installation
from workers.replaying import replay
from workflows.contracts.alert import Alert
from workflows.contracts.identifiers import InvestigationId
from workflows.contracts.investigation import Budget, Purpose

CASES = ("bad_deploy", "row_lock", "false_alert", "no_traces")


@pytest.fixture(scope="module")
def own_installation() -> Iterator[Installation]:
    """An installation of its own: two sets of workers on one queue would share the cases."""
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as opened:
        yield opened


def a_suite(folder: Path, cases: tuple[str, ...] = CASES) -> Path:
    """A folder of bundles with their truths."""
    for case in cases:
        bundle = recorded(case)
        shutil.copytree(bundle, folder / "bundles" / bundle.name)
        (folder / "truths").mkdir(exist_ok=True)
        shutil.copy(bundle.parents[1] / "truths" / f"{bundle.name}.json", folder / "truths")
    return folder


def plan_of(folder: Path, **fields: object) -> Plan:
    names = tuple(open_suite(str(folder), None, None).names())
    return Plan(suite=str(folder), cases=names, jobs=2).model_copy(update=fields)


async def run(installation: Installation, plan: Plan) -> EvaluationFile:
    async with begin_or_resume(installation, plan, fresh=True) as results:
        return await results


def rankings(results: EvaluationFile) -> dict[str, str]:
    return {case.id: json.dumps([item.model_dump(mode="json") for item in case.ranking]) for case in results.cases}


async def test_labels_have_no_way_into_a_ranking(own_installation: Installation, tmp_path: Path) -> None:
    right = a_suite(tmp_path / "right")
    wrong = a_suite(tmp_path / "wrong")
    files = sorted((wrong / "truths").iterdir())
    texts = [path.read_text() for path in files]
    for path, text in zip(files, texts[1:] + texts[:1], strict=True):
        path.write_text(json.dumps({**json.loads(text), "bundle_id": path.stem}))
    blind = a_suite(tmp_path / "blind")
    shutil.rmtree(blind / "truths")
    seen = await run(own_installation, plan_of(right, baselines=True))
    permuted = await run(own_installation, plan_of(wrong, baselines=True))
    unlabelled = await run(own_installation, plan_of(blind, blind=True))
    assert rankings(seen) == rankings(permuted) == rankings(unlabelled)
    assert seen.scores != permuted.scores
    assert unlabelled.scores is None
    assert all(case.truth is None for case in unlabelled.cases)
    for case in seen.cases:
        assert len(case.ranking) >= min(10, len(case.entities) - 1)
        assert case.history_events <= 120
        assert case.cpu_seconds > 0
        assert case.peak_memory_bytes > 50_000_000
    oracle.check(json.loads(seen.model_dump_json()))


async def test_a_damaged_case_and_a_strange_truth_are_results(own_installation: Installation, tmp_path: Path) -> None:
    suite = a_suite(tmp_path / "suite")
    damaged = suite / "bundles" / recorded("bad_deploy").name
    (damaged / "alert.json").write_text("{")
    strange = suite / "truths" / f"{recorded('row_lock').name}.json"
    strange.write_text(json.dumps({**json.loads(strange.read_text()), "entity": "service:nobody"}))
    (suite / "truths" / f"{recorded('no_traces').name}.json").unlink()
    results = await run(own_installation, plan_of(suite))
    by_id = {case.id: case for case in results.cases}
    broken = next(case for case in results.cases if case.failed)
    assert "alert.json" in (broken.failed or "")
    assert "service:nobody" in (by_id[recorded("row_lock").name].truth_problem or "")
    assert "label" in (by_id[recorded("no_traces").name].truth_problem or "")
    assert results.scores is not None
    group = results.scores.systems[0]
    assert (group.replays, group.failed, group.unscorable) == (4, 1, 2), "what has no usable truth is in no figure"
    assert group.entity is not None
    assert (group.entity.ac1.value, group.entity.ac1.n) == (0, 1), "what came to no report counts as unsolved"


async def test_copies_and_mislabelled_truths_are_named(own_installation: Installation, tmp_path: Path) -> None:
    suite = a_suite(tmp_path / "suite", ("bad_deploy", "row_lock"))
    original = suite / "bundles" / recorded("bad_deploy").name
    shutil.copytree(original, suite / "bundles" / "bcopy")
    truths = sorted((suite / "truths").iterdir())
    shutil.copy(truths[0], truths[1])
    results = await run(own_installation, plan_of(suite))
    copied = next(case for case in results.cases if case.case == "bcopy")
    assert "a copy, or misnamed" in (copied.failed or "")
    assert [case.truth_problem for case in results.cases if "mislabelled" in (case.truth_problem or "")]
    assert len({case.investigation_id for case in results.cases}) == 3, "two, and none for the copy"


async def test_a_result_that_nobody_got_is_fetched_again(own_installation: Installation, tmp_path: Path) -> None:
    """The process dies between the last outcome and the file: nothing is replayed again."""
    plan = plan_of(a_suite(tmp_path / "suite", ("bad_deploy",)))
    first = await run(own_installation, plan)
    resumed = begin_or_resume(own_installation, plan, fresh=False)
    async with resumed as results:
        again = await results
    assert again.evaluation_id == first.evaluation_id
    assert again.cases == first.cases
    resumed.delivered()
    (tmp_path / "suite" / "truths" / "more.json").write_text("{}")
    async with begin_or_resume(own_installation, plan, fresh=False) as results:
        changed = await results
    assert changed.evaluation_id != first.evaluation_id


def test_what_cannot_work_is_told_before_anything_runs(tmp_path: Path) -> None:
    suite = a_suite(tmp_path / "suite", ("bad_deploy",))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    name = recorded("bad_deploy").name
    for arguments, message in (
        (["run", str(suite), "--json", str(tmp_path / "file" / "x.json")], "cannot write"),
        (["run", str(suite), "--case", "other"], "no such case"),
        (["run", str(suite), "--visible-until", "60"], "for corpora"),
        (["run", str(tmp_path / "empty")], "holds no bundle"),
        (["run", "nezha"], "--root"),
        (["run", "nosuch"], "neither a suite"),
        (["score", str(tmp_path / "file"), "--truth", str(suite)], "no results file"),
        (["compare", str(tmp_path / "absent"), str(tmp_path / "file")], "No such file"),
        (["label", name, "--folder", str(suite), "--entity", "nonsense", "--kind", "cpu"], "names no entity"),
        (["label", "../bundles/x", "--folder", str(suite), "--healthy"], "there is no bundle"),
        (["label", name, "--folder", str(suite)], "say either"),
    ):
        done = CliRunner().invoke(eval_commands.eval_group, arguments, env={"INQUEST_DATA_DIR": str(tmp_path / "data")})
        assert done.exit_code == 1, arguments
        assert isinstance(done.exception, SystemExit)
        assert message in " ".join(done.stderr.split()), done.stderr
    assert not (tmp_path / "data").exists()


async def test_a_case_learns_from_no_other(own_installation: Installation, tmp_path: Path) -> None:
    results = await run(own_installation, plan_of(a_suite(tmp_path / "suite", ("bad_deploy",)), repeat=3))
    assert len({case.findings_sha256 for case in results.cases}) == 1
    for case in results.cases:
        report = own_installation.ledger(InvestigationId(case.investigation_id)).report()
        assert report is not None
        assert report.findings.recalled == ()


async def test_a_capture_replays_to_the_same_findings(own_installation: Installation, tmp_path: Path) -> None:
    """An incident with an earlier one to recall and a second alert, captured and replayed."""
    bundle = open_bundle(recorded("row_lock"))
    client = await own_installation.client()
    ingestion = quick_ingestion(own_installation, client)
    options = replace(options_for(bundle.folder), memory_scope="shared")

    def alert(group: str, fingerprint: str, **fields: object) -> Alert:
        return bundle.alert.model_copy(update={"group_key": group, "fingerprint": fingerprint, **fields})

    async with own_installation.workers(client):
        earlier = await ingestion.receive(alert("earlier", "a"), options)
        await finish(own_installation, client, earlier.request.investigation_id)
    opened = await ingestion.receive(alert("now", "a"), options)
    joined = await ingestion.receive(alert("now", "b", entity="service:checkout"), options)
    assert joined.joined == "new_alert"
    async with own_installation.workers(client):
        live = await finish(own_installation, client, opened.request.investigation_id)
        assert len(live.findings.recalled) == 1
        assert live.run.alert_count == 2
        folder, notes = capture_investigation(own_installation, opened.request.investigation_id, tmp_path)
        assert notes == []
        captured = open_bundle(folder)
        assert captured.manifest.metrics is None, "answers are kept, not telemetry"
        again = await replay(own_installation, client, captured, scope="again", purpose=Purpose.REPLAY, budget=Budget())
        replayed = await finish(own_installation, client, again.request.investigation_id)
    assert replayed.findings_sha256 == live.findings_sha256
    with pytest.raises(FileExistsError):
        capture_investigation(own_installation, opened.request.investigation_id, tmp_path)
    with pytest.raises(NotCapturedError, match="no report"):
        capture_investigation(own_installation, InvestigationId("01a1fdde-b5d2-7a5f-aff9-0585e2e2c51b"), tmp_path)


async def test_a_labelled_capture_is_a_case(own_installation: Installation, tmp_path: Path) -> None:
    bundle = open_bundle(recorded("bad_deploy"))
    client = await own_installation.client()
    async with own_installation.workers(client):
        investigation_id = await start(own_installation, client, bundle.folder)
        await finish(own_installation, client, investigation_id)
    folder, _ = capture_investigation(own_installation, investigation_id, tmp_path)
    eval_commands.label(
        folder.name, folder=tmp_path, entity="service:payment", kind="error", change="deploy-payment-r2"
    )
    results = await run(own_installation, plan_of(tmp_path, baselines=True))
    assert results.cases[0].truth_problem is None
    assert results.scores is not None
    group = results.scores.systems[0]
    assert group.entity is not None
    assert group.entity.ac1.value == 1
    assert group.changes is not None
    assert group.changes.right == 1


async def test_another_engine_says_what_it_would_say_now(own_installation: Installation, tmp_path: Path) -> None:
    """The captured incident replayed by an engine that sees no failures and holds strange metrics against nobody."""
    bundle = open_bundle(recorded("bad_deploy"))
    client = await own_installation.client()
    async with own_installation.workers(client):
        investigation_id = await start(own_installation, client, bundle.folder)
        await finish(own_installation, client, investigation_id)
    folder, _ = capture_investigation(own_installation, investigation_id, tmp_path)
    eval_commands.label(folder.name, folder=tmp_path, entity="service:payment", kind="error")
    before = await run(own_installation, plan_of(tmp_path))
    changes = {"failure_scale": 1e9, "half_saturation": 1e9, "weight_metric": -1.0}
    kept = {name: getattr(DEFAULT, name) for name in changes}
    for name, value in changes.items():
        object.__setattr__(DEFAULT, name, value)  # the parameters are frozen: this stands for a new version
    try:
        changed = await run(own_installation, plan_of(tmp_path))
    finally:
        for name, value in kept.items():
            object.__setattr__(DEFAULT, name, value)
    found = compare(before, changed)
    assert [case.case for case in found.cases] == [folder.name]
    assert found.cases[0].worse
    assert any("fail" in line for line in found.cases[0].moved)


def command(folder: Path, data_dir: Path, out: Path) -> list[str]:
    script = "import sys; from workers.cli import main; sys.argv[0] = 'inquest'; main()"
    return [sys.executable, "-c", script, "eval", "run", f"{folder}/", "--json", str(out)]


def figures(results: EvaluationFile) -> tuple[object, ...]:
    assert results.scores is not None
    system = results.scores.systems[0]
    return rankings(results), system.entity, system.abstention, system.changes, system.calibration


@pytest.mark.timeout(600)
async def test_killed_five_times_it_ends_with_the_same_scores(own_installation: Installation, tmp_path: Path) -> None:
    """SIGKILL to the whole command at drawn moments; finished cases are not replayed again."""
    suite = a_suite(tmp_path / "suite", ("bad_deploy", "row_lock", "false_alert", "stopped_process", "bad_flag"))
    undisturbed = await run(own_installation, plan_of(suite, budget=budget_of(Settings())))
    rng, out = random.Random(5), tmp_path / "results.json"
    with own_data_dir() as data_dir:
        environment = {**os.environ, "INQUEST_DATA_DIR": str(data_dir)}
        with open_installation(Settings(data_dir=data_dir)) as opened:  # its servers outlive the command
            for _ in range(5):
                process = subprocess.Popen(command(suite, data_dir, out), cwd=PROJECT, env=environment)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(rng.uniform(4, 10))
                if process.poll() == 0:
                    break  # it ended before its next kill; running it again would be a second evaluation
                process.kill()
                process.wait()
            else:
                subprocess.run(command(suite, data_dir, out), cwd=PROJECT, env=environment, check=True, timeout=300)
            with opened.engine.connect() as connection:
                assert connection.scalar(select(func.count()).select_from(OUTCOME)) == 5
                assert connection.scalar(select(func.count()).select_from(INVESTIGATION)) == 5
                assert connection.scalar(select(func.count()).select_from(EVALUATION)) == 1
    assert figures(read_results(out)) == figures(undisturbed)
