"""A planted false claim is refused, and supports nothing."""

import polars as pl
import pytest

from activities.analysis.conclusion import conclude, describe
from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.findings import find
from activities.analysis.graph import Graph
from evals.offline import evidence_of
from tests.conftest import recorded
from workflows.contracts.canonical import canonical_json
from workflows.contracts.claim import ClaimState
from workflows.contracts.finding import Direction, EvidenceRef, Finding, FindingFamily
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import RowCount
from workflows.contracts.report import Outcome


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
        signal="failing add",
        summary="1000000 of 1000000 requests add at service:cart fail by themselves",
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
    conclusion = conclude(find(evidence), evidence, data_gaps=[], planned=10)
    assert conclusion.claims
    assert [claim.reason for claim in conclusion.claims if claim.state is not ClaimState.VERIFIED] == []


def test_a_planted_false_claim_is_refused_and_changes_nothing(evidence: Evidence) -> None:
    findings = find(evidence)
    honest = conclude(findings, evidence, data_gaps=[], planned=10)
    misled = conclude([planted(evidence), *findings], evidence, data_gaps=[], planned=10)
    refused = [claim for claim in misled.claims if claim.state is not ClaimState.VERIFIED]
    assert [claim.state for claim in refused] == [ClaimState.CONTRADICTED]
    assert misled.hypotheses == honest.hypotheses
    report = describe(misled, evidence, data_gaps=[])
    assert report.claims_refused == 1
    assert "1000000" not in report.model_dump_json()


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
    first, second = (
        describe(conclude(find(item), item, data_gaps=[], planned=10), item, data_gaps=[])
        for item in (evidence, shuffled)
    )
    assert canonical_json(first) == canonical_json(second)


def test_without_answers_the_verdict_is_inconclusive(evidence: Evidence) -> None:
    nothing = Evidence(
        alerts=evidence.alerts, as_of=evidence.as_of, answers=(), graph=Graph.from_answer(pl.DataFrame())
    )
    conclusion = conclude(find(nothing), nothing, data_gaps=[], planned=10)
    assert conclusion.verdict.outcome is Outcome.INCONCLUSIVE
    assert conclusion.hypotheses[0].entity is None


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
    verdict = conclude(find(found), found, data_gaps=[], planned=10).verdict
    assert verdict.entity == entity
    assert verdict.change_id == change
    if kind is not None:
        assert verdict.fault_kind is kind
