"""The report's body: only what holds, words that follow the probabilities, terms that add up."""

from dataclasses import replace

import polars as pl
import pytest

from activities.analysis.context import IncidentContext
from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.findings import find
from activities.analysis.graph import Graph
from activities.answers import COLUMNS
from activities.reporting.verdict import verdict_of
from evals.offline import diagnose, evidence_of
from tests.conftest import recorded
from tests.evals.reports import check_report
from workflows.contracts.canonical import canonical_json
from workflows.contracts.finding import Direction, EvidenceRef, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import RowCount
from workflows.contracts.report import Outcome, ReportFindings


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return evidence_of(recorded("bad_deploy"))[0]


def planted(evidence: Evidence) -> Finding:
    """A finding as strong as can be whose statement is false: cart failed a million requests."""
    answer = next(item for item in evidence.of("traces") if "service:cart" in item.probe.model_dump_json())
    return Finding(
        key="trace-planted",
        family=FindingFamily.TRACE,
        entity=EntityId("service:cart"),
        mechanism=Mechanism.ORIGINATING_ERRORS,
        signal="add",
        summary="1000000 of 1000000 requests add at service:cart fail with an error originating there",
        direction=Direction.APPEARED,
        strength=1.0,
        fault_kinds={FaultKind.ERROR: 1.0},
        evidence=(EvidenceRef(probe_key=answer.probe.key, artifact=answer.artifact),),
        predicate=RowCount(
            probe_key=answer.probe.key,
            select={},
            column="originating_errors",
            window=evidence.window,
            at_least=1_000_000,
        ),
    )


def test_every_own_claim_holds(evidence: Evidence) -> None:
    report = diagnose(evidence, probes_planned=10)
    assert report.claim_counts.verified > 20
    assert report.claim_counts.rejected == 0


def test_a_planted_false_claim_is_rejected_and_changes_nothing(evidence: Evidence) -> None:
    findings = find(evidence)
    honest = diagnose(evidence, probes_planned=10)
    misled = diagnose(evidence, probes_planned=10, findings=[planted(evidence), *findings])
    assert misled.claim_counts.contradicted == 1
    assert misled.hypotheses == honest.hypotheses
    assert "1000000" not in misled.model_dump_json()


def test_row_order_does_not_matter(evidence: Evidence) -> None:
    shuffled = Evidence(
        alerts=evidence.alerts,
        as_of=evidence.as_of,
        graph=evidence.graph,
        answers=tuple(
            AnsweredProbe(
                probe=item.probe, artifact=item.artifact, rows=item.rows.sample(fraction=1, shuffle=True, seed=3)
            )
            for item in reversed(evidence.answers)
        ),
    )
    first, second = (diagnose(item, probes_planned=10) for item in (evidence, shuffled))
    assert canonical_json(first) == canonical_json(second)


def test_owners_of_what_is_touched_are_named_the_suspects_first(evidence: Evidence) -> None:
    owners = pl.DataFrame(
        [
            ("service:payment", "team:money", "owned_by", "declared", 1.0),
            ("service:checkout", "team:shop", "owned_by", "declared", 1.0),
            ("service:mail", "team:mail", "owned_by", "declared", 1.0),
        ],
        schema=COLUMNS["topology"],
        orient="row",
    )
    [topology] = evidence.of("topology")
    owned = replace(evidence, graph=Graph.from_answer(pl.concat([topology.rows, owners], how="diagonal_relaxed")))
    report = diagnose(owned, probes_planned=10)
    assert [item.owner for item in report.owners][:2] == ["team:money", "team:shop"]
    assert report.owners[0].owns == ("service:payment",)
    assert "team:mail" not in str(report.owners)
    assert diagnose(evidence, probes_planned=10).owners == ()
    assert report.hypotheses == diagnose(evidence, probes_planned=10).hypotheses


def test_without_answers_the_verdict_is_inconclusive(evidence: Evidence) -> None:
    nothing = Evidence(
        alerts=evidence.alerts, as_of=evidence.as_of, answers=(), graph=Graph.from_answer(pl.DataFrame())
    )
    report = diagnose(nothing, probes_planned=10)
    assert report.verdict.outcome is Outcome.INCONCLUSIVE
    assert report.hypotheses[0].entity is None
    assert report.verdict.partial


@pytest.mark.parametrize(
    ("case", "entity", "kind", "change"),
    [
        ("bad_deploy", "service:payment", FaultKind.ERROR, "deploy-payment-r2"),
        ("memory_leak", "service:recommend", FaultKind.MEMORY, "flag-recommend-remember-answers"),
        ("row_lock", "database:shopdb", FaultKind.LOCK, None),
        ("slow_dependency", "service:shipping", None, None),
        ("stopped_process", "service:catalog", FaultKind.CRASH, None),
    ],
)
def test_shipped_incidents(case: str, entity: str, kind: FaultKind | None, change: str | None) -> None:
    found, _ = evidence_of(recorded(case))
    verdict = diagnose(found, probes_planned=10).verdict
    assert verdict.entity == entity
    assert verdict.change_id == change
    if kind is not None:
        assert verdict.fault_kind is kind


def test_the_change_is_named_with_where_it_can_be_read(evidence: Evidence) -> None:
    """An address at the beginning of a change's text is where its diff is, and says nothing about the fault."""
    address = "https://git.example/acme/shop/commit/1"
    linked = [
        replace(item, rows=item.rows.with_columns(detail=pl.concat_str(pl.lit(f"{address}\n"), "detail")))
        if item.probe.tool == "changes"
        else item
        for item in evidence.answers
    ]
    plain, report = (diagnose(item, probes_planned=10) for item in (evidence, replace(evidence, answers=tuple(linked))))
    assert f"read the diff of deploy-payment-r2 ({address})" in report.next_steps[0]
    assert "https://" not in plain.next_steps[0]
    assert [item.probability for item in report.hypotheses] == [item.probability for item in plain.hypotheses]


def test_a_body_is_as_it_should_be_before_and_after_it_is_published(evidence: Evidence) -> None:
    """The gate looks at every recording's published one in the same way."""
    report = diagnose(evidence, probes_planned=10)
    check_report(report)
    check_report(ReportFindings.model_validate_json(canonical_json(report)))


def named(entity: str, probability: float, rank: int) -> Hypothesis:
    return Hypothesis(
        rank=rank,
        entity=EntityId(entity),
        fault_kind=FaultKind.CPU,
        fault_kind_probability=0.4,
        mechanism="m",
        probability=probability,
    )


def test_two_alike_are_candidates_and_an_unclear_kind_is_called_so(evidence: Evidence) -> None:
    context = IncidentContext.of(evidence, probes_planned=10)
    verdict = verdict_of([named("service:a", 0.53, 1), named("service:b", 0.47, 2)], context)
    assert verdict.outcome is Outcome.CANDIDATES
    assert verdict.sentence == ("The root cause may be service:a (53%) or service:b (47%); kind of fault: unclear")
