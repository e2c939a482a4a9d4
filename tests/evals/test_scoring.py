"""Scores: every figure again by code that shares nothing with the scorer; ties, several roots, what is left out."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.bundles import Root
from evals.comparison import compare, mcnemar
from evals.results import (
    SCHEMA_FILE,
    CaseResult,
    CaseTruth,
    CaseVerdict,
    EvaluationFile,
    MovedFinding,
    Ranked,
    ResultsError,
    schema,
)
from evals.scoring import accuracy_at, names_root, names_root_and_kind, ranks, score
from tests.evals import oracle
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.report import ClaimCounts, Outcome

NAMES = [EntityId(f"service:{letter}") for letter in "abcdefghij"]
KINDS = [FaultKind.CPU, FaultKind.ERROR, FaultKind.UNKNOWN]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def results(cases: list[CaseResult]) -> EvaluationFile:
    return EvaluationFile(
        evaluation_id="e",
        suite="made",
        engine_version="0",
        started_at=NOON,
        finished_at=NOON,
        wall_seconds=0,
        cpu_count=1,
        cases=tuple(cases),
        scores=score(cases),
    )


def a_case(name: str, root: str | None, order: list[str], **fields: object) -> CaseResult:
    """A case whose entities were ranked in that order, the first with probability .9."""
    ranking = tuple(
        Ranked(entity=EntityId(f"service:{entity}"), fault_kind=FaultKind.CPU, probability=0.9 / 2**place)
        for place, entity in enumerate(order)
    )
    truth = CaseTruth(entity=EntityId(f"service:{root}") if root else None, fault_kind=FaultKind.CPU)
    return CaseResult(id=name, case=name, system="s", truth=truth, ranking=ranking).model_copy(update=fields)


@st.composite
def cases(draw: st.DrawFn) -> CaseResult:
    """Any replay: ties, several roots, healthy systems, failures, aliases."""
    number = draw(st.integers(0, 12))
    named = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=10))
    ranking = tuple(
        Ranked(
            entity=name,
            fault_kind=draw(st.sampled_from(KINDS)),
            probability=draw(st.sampled_from([0.0, 0.03, 0.1, 0.25, 0.3, 0.5, 0.77, 1.0])),
        )
        for name in named
    )
    ranking = tuple(sorted(ranking, key=lambda item: (-item.probability, item.entity)))
    entity = draw(st.sampled_from([None, *NAMES]))
    other = draw(st.sampled_from(NAMES))
    also = () if entity is None or draw(st.booleans()) else (Root(entity=other, fault_kind=FaultKind.ERROR),)
    said = draw(st.sampled_from([None, *NAMES]))
    outcome = Outcome.CAUSE_FOUND if said and draw(st.booleans()) else Outcome.CANDIDATES
    return CaseResult(
        id=f"c{number}",
        case=f"case {number}",
        system=draw(st.sampled_from(["one", "two"])),
        failed=draw(st.sampled_from([None, None, "broke"])),
        truth=draw(
            st.sampled_from(
                [
                    None,
                    CaseTruth(
                        entity=entity,
                        aliases=(NAMES[0],) if entity else (),
                        fault_kind=draw(st.sampled_from(KINDS)),
                        change_id=draw(st.sampled_from([None, "deploy"])) if entity else None,
                        changes_recorded=draw(st.booleans()),
                        also=also,
                    ),
                ]
            )
        ),
        truth_problem=draw(st.sampled_from([None, None, "names a stranger"])),
        verdict=CaseVerdict(
            outcome=outcome,
            entity=said,
            fault_kind=FaultKind.CPU,
            probability=0.5,
            change_id=draw(st.sampled_from([None, "deploy"])),
            sentence="",
            partial=False,
        ),
        ranking=ranking,
        claims=ClaimCounts(verified=draw(st.integers(0, 5)), contradicted=draw(st.integers(0, 2))),
        wall_seconds=draw(st.floats(0, 100)),
        peak_memory_bytes=draw(st.integers(0, 10**9)),
        baselines={"plain": ranking[::-1]} if draw(st.booleans()) else {},
    )


@settings(max_examples=25)
@given(st.lists(cases(), min_size=1, max_size=30))
def test_every_figure_comes_out_again_from_the_file_alone(replays: list[CaseResult]) -> None:
    oracle.check(json.loads(results(replays).model_dump_json()))


def test_the_oracle_can_tell_a_wrong_figure() -> None:
    document = json.loads(results([a_case("x", "a", ["a", "b"]), a_case("y", "b", ["a", "b"])]).model_dump_json())
    oracle.check(document)
    document["scores"]["systems"][0]["entity"]["mrr"]["value"] = 0.76
    with pytest.raises(AssertionError, match="mrr"):
        oracle.check(document)


def test_ties_share_the_mean_of_their_ranks() -> None:
    level = [Ranked(entity=name, probability=0.25) for name in NAMES[:4]]
    assert ranks(level, [Root(entity=NAMES[2])], names_root) == [2.5]
    assert accuracy_at(1, [2.5]) == 0
    assert accuracy_at(3, [2.5]) == 1


def test_two_roots_count_by_their_share() -> None:
    ranking = [Ranked(entity=name, probability=1 / (place + 1)) for place, name in enumerate(NAMES)]
    found = ranks(ranking, [Root(entity=NAMES[0]), Root(entity=NAMES[4])], names_root)
    assert found == [1, 5]
    assert [accuracy_at(k, found) for k in (1, 3, 5)] == [1, 0.5, 1]


def test_one_entry_finds_one_root() -> None:
    ranking = [Ranked(entity=NAMES[0], probability=0.6), Ranked(entity=NAMES[1], probability=0.4)]
    twice = [Root(entity=NAMES[0]), Root(entity=NAMES[0], fault_kind=FaultKind.ERROR)]
    assert ranks(ranking, twice, names_root) == [1, float("inf")]
    shared = [Root(entity=NAMES[0], aliases=(NAMES[1],)), Root(entity=NAMES[1])]
    assert ranks(ranking, shared, names_root) == [1, 2]


def test_a_healthy_system_without_a_report_is_no_success() -> None:
    group = score([a_case("x", None, [], failed="no report"), a_case("y", None, ["a"])]).systems[0]
    assert (group.abstention.healthy, group.failed) == (1, 1)


def test_naming_somebody_in_healthy_systems_is_a_regression() -> None:
    said = CaseVerdict(
        outcome=Outcome.CAUSE_FOUND,
        entity=NAMES[0],
        fault_kind=FaultKind.CPU,
        probability=0.9,
        change_id=None,
        sentence="",
        partial=False,
    )
    names = [f"h{number}" for number in range(8)]
    before = results([a_case(name, None, ["a"]) for name in names])
    after = results([a_case(name, None, ["a"], verdict=said) for name in names])
    assert compare(before, after).regressed
    assert not compare(after, before).regressed


def test_an_incident_of_which_nobody_says_where_counts_for_its_kind_and_abstention_alone() -> None:
    said = CaseVerdict(
        outcome=Outcome.CAUSE_FOUND,
        entity=NAMES[0],
        fault_kind=FaultKind.CPU,
        probability=0.9,
        change_id=None,
        sentence="",
        partial=False,
    )
    truth = CaseTruth(entity=None, unnamed=True, fault_kind=FaultKind.CPU)
    one = a_case("u", None, ["a"], verdict=said, truth=truth)
    group = score([one]).systems[0]
    assert group.entity is None
    assert group.kind_accuracy is not None
    assert group.kind_accuracy.value == 1
    found = group.abstention
    assert (found.healthy, found.false_alarms, found.incidents, found.unnamed, found.unnamed_missed) == (0, 0, 0, 1, 0)
    with pytest.raises(ResultsError, match="no scored case in common"):
        compare(results([one]), results([one]))


def test_a_verdict_that_says_something_else_than_its_ranking_is_named() -> None:
    none = CaseVerdict(
        outcome=Outcome.INCONCLUSIVE,
        entity=None,
        fault_kind=FaultKind.UNKNOWN,
        probability=0.1,
        change_id=None,
        sentence="",
        partial=False,
    )
    cases = [a_case("sure", "a", ["a", "b"], verdict=none), a_case("unsaid", "a", ["a", "b"])]
    assert score(cases).systems[0].verdict_against_ranking == ("sure",)


def test_the_kind_counts_only_where_it_is_asked_for() -> None:
    ranking = [Ranked(entity=NAMES[0], fault_kind=FaultKind.ERROR, probability=1)]
    root = Root(entity=NAMES[0], fault_kind=FaultKind.CPU)
    assert ranks(ranking, [root], names_root) == [1]
    assert ranks(ranking, [root], names_root_and_kind) == [float("inf")]


def test_a_replay_without_a_report_is_wrong_and_a_strange_truth_is_left_out() -> None:
    replays = [
        a_case("right", "a", ["a", "b"]),
        a_case("broke", "a", [], failed="no report"),
        a_case("strange", "z", ["a"], truth_problem="names service:z, which is no entity of the case"),
    ]
    group = score(replays).systems[0]
    assert group.entity is not None
    assert (group.entity.ac1.value, group.entity.ac1.n) == (0.5, 2)
    assert (group.failed, group.unscorable) == (1, 1)


def test_repeats_are_one_case() -> None:
    replays = [a_case("x", "a", order, repeat=number) for number, order in enumerate((["a", "b"], ["b", "a"]))]
    group = score(replays).systems[0]
    assert group.entity is not None
    assert (group.entity.ac1.value, group.entity.ac1.n, group.cases, group.replays) == (0.5, 1, 1, 2)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (5, 0), (6, 0), (3, 9), (10, 10), (1, 40)])
def test_mcnemar_is_the_exact_binomial(lost: int, won: int) -> None:
    assert np.isclose(mcnemar(lost, won), oracle.mcnemar(lost, won))


def test_a_significant_fall_is_a_regression_and_names_what_moved() -> None:
    moved = MovedFinding(entity=NAMES[0], finding_key="f", log_odds=2.0, reason="p95 of service:a rises")
    names = [f"c{number}" for number in range(8)]
    before = results([a_case(name, "a", ["a", "b"], contributions=(moved,)) for name in names])
    after = results([a_case(name, "a", ["b", "a"]) for name in names])
    found = compare(before, after)
    assert found.regressed
    assert found.groups[0].lost == 8
    assert np.isclose(found.groups[0].p_value, oracle.mcnemar(8, 0))
    assert (found.groups[0].difference.value, found.groups[0].difference.high) == (-1, -1)
    assert found.cases[0].worse
    assert "rank 1 -> 2" in found.cases[0].sentence
    assert found.cases[0].moved == ("-2.00 for service:a: p95 of service:a rises",)
    assert not compare(after, before).regressed
    assert not compare(before, before).cases


def test_one_lost_case_is_told_and_is_no_regression() -> None:
    names = [f"c{number}" for number in range(8)]
    before = results([a_case(name, "a", ["a", "b"]) for name in names])
    after = results([a_case(name, "a", ["b", "a"] if name == "c3" else ["a", "b"]) for name in names])
    found = compare(before, after)
    assert not found.regressed
    assert [item.case for item in found.cases] == ["c3"]


def test_runs_without_a_case_in_common_are_rejected() -> None:
    with pytest.raises(ResultsError, match="in common"):
        compare(results([a_case("x", "a", ["a"])]), results([a_case("y", "a", ["a"])]))


def test_the_published_schema_is_that_of_the_models() -> None:
    assert SCHEMA_FILE.read_text() == schema()
