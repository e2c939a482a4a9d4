"""The same incident told otherwise keeps its answer; periods before a fault are cut where nothing of it is seen."""

from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from activities.answers import encode
from evals import eval_commands
from evals.metamorphic import TRANSFORMATIONS, score_transformations
from evals.no_fault import BEFORE, periods_without_fault, score_no_fault, share
from evals.offline import diagnose
from evals.recorded_case import RecordedCase, only, recorded_case
from evals.suites import LAB, open_suite
from tests.conftest import recorded
from workflows.contracts.canonical import digest_of


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> RecordedCase:
    return recorded_case(open_suite(LAB, None, None), recorded("bad_deploy").name, tmp_path_factory.mktemp("case"))


def told(case: RecordedCase) -> tuple[object, ...]:
    rows = [(item.probe.key, digest_of(encode(item.rows))) for item in case.evidence.answers]
    return (*case.evidence.alerts, *rows)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_the_answer_stays_however_it_is_told(case: RecordedCase, name: str) -> None:
    changed = TRANSFORMATIONS[name](case)
    assert changed is not None
    assert told(changed) != told(case)
    report = diagnose(changed.evidence, probes_planned=changed.planned)
    assert report.hypotheses[0].entity == changed.roots[0].entity
    assert report.claim_counts.rejected == 0


def test_scores_are_of_the_cases_that_a_transformation_changes(case: RecordedCase) -> None:
    traced = only(case, "traces")
    assert {item.probe.tool for item in traced.evidence.answers}.isdisjoint({"metrics", "logs"})
    [row] = score_transformations([traced], ["rows in another order", "metrics twice"])
    assert (row.transformation, row.cases, row.plain.value, row.transformed.value) == (
        "rows in another order",
        1,
        1.0,
        1.0,
    )


def test_a_period_without_a_fault_ends_before_it_and_accuses_nobody(case: RecordedCase) -> None:
    assert case.injected_at is not None
    start = case.evidence.window.start
    later = replace(case, injected_at=start + timedelta(minutes=2) + BEFORE)
    [period] = periods_without_fault(later, ())
    assert period.roots == ()
    assert all(
        item.rows["ts"].max() < period.evidence.as_of  # type: ignore[operator]
        for item in period.evidence.answers
        if "ts" in item.rows.columns and item.rows.height
    )
    [score] = score_no_fault([period])
    assert (score.accused.value, score.suspected.value, score.accused.n) == (0.0, 0.0, 1)
    assert list(periods_without_fault(later, [start + timedelta(seconds=1)])) == [], (
        "an earlier fault may still be seen"
    )
    assert list(periods_without_fault(replace(case, injected_at=None), ())) == []
    assert list(periods_without_fault(replace(case, roots=(), injected_at=None), ())) == [], "nobody says where"
    healthy = replace(case, roots=(), nothing_wrong=True)
    assert [id(item) for item in periods_without_fault(healthy, ())] == [id(healthy)]


def test_an_interval_is_not_empty_where_nothing_was_hit() -> None:
    found = share([False] * 45)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(0.0787, abs=1e-3), "Wilson's, by R's prop.test without correction"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metamorphic", LAB, "--transformation", "nothing"], "there is no transformation nothing"),
        (["no-fault", LAB, "--only", "rumours"], "there is no telemetry rumours"),
    ],
)
def test_what_is_not_there_is_said(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(eval_commands.eval_group, arguments)
    assert done.exit_code == 1
    assert message in " ".join(done.stderr.split())
