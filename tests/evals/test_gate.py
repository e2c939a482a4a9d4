"""The regression gate: every recording of the lab is answered at least as well as it was."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.evaluation import begin_or_resume
from evals.gate import NOWHERE, Standing, expected, falls, standings
from evals.page import render_evaluation
from evals.plan import Plan
from evals.results import EvaluationFile, read_results, write_results
from evals.suites import LAB, open_suite
from infra.settings import Settings
from tests.conftest import own_data_dir
from tests.evals import oracle
from tests.evals.reports import check_report
from workers.installation import Installation, budget_of, open_installation
from workflows.contracts.identifiers import InvestigationId

AS_PEOPLE_RUN_IT = budget_of(Settings())
"""The looks that an investigation takes unless somebody says otherwise: what is measured is what people read."""


@pytest.fixture
def own_installation() -> Iterator[Installation]:
    """No other test's workers serve its queues."""
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as opened:
        yield opened


@pytest.mark.timeout(900)
async def test_no_recording_is_answered_worse_than_before(own_installation: Installation, tmp_path: Path) -> None:
    plan = Plan(
        suite=LAB, cases=tuple(open_suite(LAB, None, None).names()), jobs=2, baselines=True, budget=AS_PEOPLE_RUN_IT
    )
    async with begin_or_resume(own_installation, plan, fresh=True) as running:
        results = await running
    assert [case.failed for case in results.cases if case.failed] == []
    fallen = falls(expected(), standings(results))
    assert not fallen, "\n".join(fallen)
    assert {case.id for case in results.cases} == expected().keys(), "keep new recordings with python -m evals.gate"
    check_that_people_read_what_is_measured(own_installation, results)
    write_results(results, tmp_path / "results.json")
    again = read_results(tmp_path / "results.json")
    assert again == results
    oracle.check(json.loads((tmp_path / "results.json").read_text()))
    page = render_evaluation(again, own_installation)
    assert "<script" not in page
    assert "http" not in page.replace("http_request", "").replace("http-", "")
    for case in results.cases:
        assert case.investigation_id in page


def check_that_people_read_what_is_measured(installation: Installation, results: EvaluationFile) -> None:
    """The ranking of every case is its published report's, and no verdict says something else."""
    for case in results.cases:
        report = installation.ledger(InvestigationId(case.investigation_id)).report()
        assert report is not None
        named = [item for item in report.findings.hypotheses if item.entity is not None]
        assert [(item.entity, item.fault_kind, item.probability) for item in named] == [
            (item.entity, item.fault_kind, item.probability) for item in case.ranking
        ]
        assert case.claims == report.findings.claim_counts
        check_report(report.findings)
    assert results.scores is not None
    for group in results.scores.systems:
        assert group.verdict_against_ranking == ()
        assert "alerted-entity" in group.baselines


def test_a_fall_names_its_case() -> None:
    good = Standing(case="row_lock", rank=1, verdict=1, change=True)
    before = {"b1": good, "b2": good.model_copy(update={"case": "bad_deploy"})}
    assert falls(before, before) == []
    now = {"b1": Standing(case="row_lock", rank=NOWHERE, verdict=-1, change=False)}
    assert falls(before, now) == [
        "row_lock: the root fell from rank 1 to 1000",
        "row_lock: the verdict fell from right to wrong",
        "row_lock: the change that brought it in is no longer named",
        "bad_deploy: is no longer replayed",
    ]
    assert falls(now | {"b2": good}, before) == [], "better is no fall"
