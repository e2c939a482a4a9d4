"""Choosers of known quality on one recording: the oracle reaches the truth, the hostile one cannot move it away."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals.deliberation import CHOOSERS, Scripted, everything, loop, score_choosers
from evals.eval_commands import eval_group
from evals.recorded_case import RecordedCase, recorded_case
from evals.suites import LAB, open_suite
from tests.conftest import recorded
from workflows.contracts.identifiers import EntityId

NAMES = ("information gain", "hostile", "oracle")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> RecordedCase:
    return recorded_case(open_suite(LAB, None, None), recorded("bad_deploy").name, tmp_path_factory.mktemp("case"))


@pytest.mark.parametrize("name", ["hostile", "random", "constant", "oracle"])
def test_a_well_evidenced_cause_stays_whoever_chooses(case: RecordedCase, name: str) -> None:
    script = CHOOSERS[name](case)
    assert script is not None
    found = loop(case, Scripted(script))
    whole = everything(case)
    assert found.hypotheses[0].entity == whole.hypotheses[0].entity == EntityId("service:payment")
    assert 0 < found.asked < whole.asked
    assert 0 < found.tokens < 20_000


def test_scores_are_of_each_system_and_chooser(case: RecordedCase) -> None:
    rows = score_choosers([case], {name: CHOOSERS[name] for name in NAMES})
    assert [row.chooser for row in rows] == ["everything at once", *NAMES]
    assert [row.first.value for row in rows] == [1, 1, 1, 1]
    named = {row.chooser: row.change for row in rows}
    assert all(item is not None for item in named.values())
    assert rows[0].asked == 1
    assert all(row.asked < 1 for row in rows[1:])


def test_the_command_names_choosers_that_there_are() -> None:
    found = CliRunner().invoke(eval_group, ["deliberation", LAB, "--chooser", "wizard"])
    assert found.exit_code == 1
    assert "there is no chooser wizard" in found.output.replace("\n", "")


def test_the_command_prints_a_line_for_each(tmp_path: Path) -> None:
    folder = tmp_path / "suite"
    for kind in ("bundles", "truths"):
        (folder / kind).mkdir(parents=True)
    bundle = recorded("bad_deploy")
    (folder / "bundles" / bundle.name).symlink_to(bundle)
    truth = bundle.parents[1] / "truths" / f"{bundle.name}.json"
    (folder / "truths" / truth.name).write_bytes(truth.read_bytes())
    found = CliRunner().invoke(eval_group, ["deliberation", str(folder), "--chooser", "oracle"])
    assert found.exit_code == 0, found.output
    assert "everything at once" in found.output
    assert "oracle" in found.output
