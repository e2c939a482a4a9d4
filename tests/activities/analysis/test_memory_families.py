"""What people know and what was seen before: what it changes in a ranking of real recordings, and how little it can."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import polars as pl
import pytest

from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.findings import find
from activities.analysis.parameters import DEFAULT
from activities.analysis.signs import likeness, rarity, signs_of
from activities.answers import COLUMNS, encode
from evals.offline import diagnose, evidence_of
from tests.conftest import recorded
from workflows.contracts.canonical import digest_of
from workflows.contracts.fact import Fact, FactCondition, FactEffect
from workflows.contracts.finding import FindingFamily, Mechanism
from workflows.contracts.hypothesis import ContributionTerm, FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.past_incident import Sign
from workflows.contracts.probe import FactsProbe, MemoryTool, PastIncidentsProbe, Probe, Window
from workflows.contracts.report import Outcome, ReportFindings


@cache
def evidence(case: str) -> Evidence:
    return evidence_of(recorded(case))[0]


def remembering(given: Evidence, tool: MemoryTool, rows: Sequence[dict[str, object]]) -> Evidence:
    now = Window(start=given.as_of, end=given.as_of)
    probe: Probe = FactsProbe(backend="memory", window=now)
    if tool == "past_incidents":
        probe = PastIncidentsProbe(backend="memory", window=now, scope="live")
    frame = pl.DataFrame(rows, schema=COLUMNS[tool])
    answer = AnsweredProbe(probe=probe, artifact=digest_of(encode(frame)), rows=frame)
    return replace(given, answers=(*given.answers, answer))


def a_fact(subject: str, **fields: object) -> Fact:
    given = {
        "fact_id": f"f-{subject}",
        "subject": subject,
        "statement": f"{subject} does that, and it is fine",
        "effect": FactEffect.EXPECTED,
        "owner": "team-shop",
        "added_at": datetime(2025, 1, 1, tzinfo=UTC),
        **fields,
    }
    return Fact.model_validate(given)


def knowing(case: str, *facts: Fact) -> ReportFindings:
    rows: list[dict[str, object]] = [
        {
            "fact_id": fact.fact_id,
            "ts": fact.added_at,
            "subject": fact.subject,
            "statement": fact.statement,
            "effect": fact.effect.value,
            "owner": fact.owner,
            "body": fact.model_dump_json(),
        }
        for fact in facts
    ]
    return diagnosed(remembering(evidence(case), "facts", rows))


def diagnosed(given: Evidence) -> ReportFindings:
    return diagnose(given, probes_planned=len(given.answers))


def score(report: ReportFindings, entity: EntityId | None) -> float:
    return next(item.score for item in report.hypotheses if item.entity == entity)


@cache
def plain(case: str) -> ReportFindings:
    return diagnosed(evidence(case))


def the_suspect(case: str) -> EntityId:
    suspect = plain(case).verdict.entity
    assert suspect is not None
    return suspect


def test_an_expected_symptom_counts_less_and_the_verdict_says_so() -> None:
    suspect = the_suspect("bad_deploy")
    before = plain("bad_deploy")
    after = knowing("bad_deploy", a_fact(suspect, confidence=0.95))
    assert score(after, suspect) < 0.3 * score(before, suspect)
    assert after.verdict.outcome is not Outcome.CAUSE_FOUND or after.verdict.entity != suspect
    assert "expected: team-shop knows:" in after.verdict.sentence
    for item in after.hypotheses:
        assert item.score == pytest.approx(sum(part.log_odds for part in (*item.supporting, *item.contradicting)))
    [reported] = after.facts
    assert reported.used
    assert reported.why.startswith("expected: ")
    [finding] = [item for item in after.findings if item.family is FindingFamily.MEMORY]
    assert finding.mechanism is Mechanism.EXPECTED
    assert finding.evidence, "it is cited like any evidence"
    assert any(claim.findings == (finding.key,) for claim in after.claims)
    assert all(finding.key not in entry.findings for entry in after.timeline)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"valid_until": datetime(2025, 6, 1, tzinfo=UTC)}, "it expired on 2025-06-01"),
        ({"valid_from": datetime(2199, 1, 1, tzinfo=UTC)}, "it holds from 2199-01-01"),
        ({"review_by": datetime(2025, 6, 1, tzinfo=UTC)}, "its review is overdue since 2025-06-01: ask team-shop"),
        ({"condition": FactCondition(labels={"region": "mars"})}, "no alert carries its labels"),
        ({"condition": FactCondition(up_to=1e-6)}, "nothing that it is about"),
        ({"fault_kinds": (FaultKind.EXPIRY,)}, "nothing that it is about"),
        ({"effect": FactEffect.NOTE}, "a note"),
        (
            {
                "condition": FactCondition(
                    recurrence="FREQ=YEARLY",
                    begins_at=datetime(2000, 1, 1, tzinfo=UTC),
                    lasts=timedelta(seconds=1),
                )
            },
            "nothing that it is about",
        ),
    ],
)
def test_what_does_not_apply_is_shown_and_moves_nothing(fields: dict[str, object], why: str) -> None:
    suspect = the_suspect("bad_deploy")
    after = knowing("bad_deploy", a_fact(suspect, **fields))
    assert after.hypotheses == plain("bad_deploy").hypotheses
    assert after.verdict == plain("bad_deploy").verdict
    [reported] = after.facts
    assert not reported.used
    assert why in reported.why


def test_a_fact_about_what_follows_a_change_needs_the_change() -> None:
    suspect = the_suspect("bad_deploy")
    soon = a_fact(suspect, condition=FactCondition(after_change=timedelta(minutes=30)))
    assert score(knowing("bad_deploy", soon), suspect) < score(plain("bad_deploy"), suspect)
    without = the_suspect("row_lock")
    unchanged = knowing("row_lock", a_fact(without, condition=FactCondition(after_change=timedelta(seconds=1))))
    assert unchanged.hypotheses == plain("row_lock").hypotheses


def test_a_fact_may_be_about_many_and_a_workload_speaks_for_its_instances() -> None:
    suspect = the_suspect("bad_deploy")
    kind, _, name = suspect.partition(":")
    many = knowing("bad_deploy", a_fact(f"{kind}:{name[:3]}*"))
    assert score(many, suspect) < score(plain("bad_deploy"), suspect)
    assert knowing("bad_deploy", a_fact("service:nobody")).facts == ()


def test_a_fact_that_cannot_be_read_costs_no_other() -> None:
    suspect = the_suspect("bad_deploy")
    good = a_fact(suspect)
    row: dict[str, object] = {
        "ts": good.added_at,
        "subject": suspect,
        "statement": good.statement,
        "owner": "team-shop",
    }
    row |= {"effect": good.effect.value, "fact_id": good.fact_id, "body": good.model_dump_json()}
    broken = {**row, "fact_id": "f-broken", "body": "{"}
    after = diagnosed(remembering(evidence("bad_deploy"), "facts", [broken, row]))
    assert [item.fact_id for item in after.facts] == [good.fact_id]
    assert after.facts[0].used


def test_a_weak_point_gains_no_more_than_its_weight() -> None:
    report = plain("bad_deploy")
    second = next(item.entity for item in report.hypotheses[1:] if item.entity is not None and item.score > 0)
    after = knowing("bad_deploy", *(a_fact(second, fact_id=f"f{n}", effect=FactEffect.KNOWN_CAUSE) for n in range(50)))
    [part] = [
        part
        for item in after.hypotheses
        if item.entity == second
        for part in item.supporting
        if part.term is ContributionTerm.FACT
    ]
    assert 0 < part.log_odds <= 2
    assert after.verdict.entity == report.verdict.entity


@cache
def signs_seen(case: str) -> tuple[Sign, ...]:
    return signs_of(find(evidence(case)), evidence(case).graph)


def a_past_incident(case: str, number: int = 0, *, cause: str = "", judgement: str = "") -> dict[str, object]:
    given = evidence(case)
    return {
        "investigation_id": f"i{number}",
        "ts": given.as_of - timedelta(days=1 + number % 300),
        "title": "earlier",
        "entity": the_suspect(case),
        "fault_kind": "error",
        "sentence": f"{the_suspect(case)} is the root cause",
        "judgement": judgement,
        "cause": cause,
        "alerting": sorted(given.alerting),
        "signs": [sign.model_dump(mode="json") for sign in signs_seen(case)],
    }


def remembering_incidents(case: str, *rows: dict[str, object]) -> ReportFindings:
    return diagnosed(remembering(evidence(case), "past_incidents", rows))


def test_a_confirmed_cause_is_a_bounded_reason_and_an_unjudged_one_is_none() -> None:
    suspect, before = the_suspect("row_lock"), plain("row_lock")
    unjudged = remembering_incidents("row_lock", a_past_incident("row_lock"))
    assert unjudged.hypotheses == before.hypotheses
    assert "not judged by anybody" in unjudged.recalled[0]
    assert "100% alike: the same alert" in unjudged.recalled[0]
    rejected = remembering_incidents("row_lock", a_past_incident("row_lock", judgement="wrong"))
    assert rejected.hypotheses == before.hypotheses
    confirmed = remembering_incidents("row_lock", a_past_incident("row_lock", judgement="right", cause=suspect))
    assert 0 < score(confirmed, suspect) - score(before, suspect) <= 2
    assert "confirmed by a person" in confirmed.recalled[0]
    rows = [a_past_incident("row_lock", number, judgement="right", cause=suspect) for number in range(5)]
    several = remembering_incidents("row_lock", *rows)
    bound = DEFAULT.weight_past * DEFAULT.inverse_temperature
    assert score(confirmed, suspect) < score(several, suspect) <= score(before, suspect) + bound
    for item in several.hypotheses:
        assert item.score == pytest.approx(sum(part.log_odds for part in (*item.supporting, *item.contradicting)))


def test_what_is_not_alike_is_not_recalled() -> None:
    other = a_past_incident("bad_deploy", judgement="right", cause=the_suspect("bad_deploy"))
    other["alerting"] = ["service:elsewhere"]
    report = remembering_incidents("row_lock", other)
    assert report.recalled == ()
    assert report.hypotheses == plain("row_lock").hypotheses


@pytest.mark.parametrize("case", ["row_lock", "bad_deploy"])
def test_a_poisoned_memory_moves_no_well_evidenced_cause(case: str) -> None:
    before = plain(case)
    innocent = next(
        name for name in sorted(evidence(case).graph.kinds) if name.startswith("service:") and name != the_suspect(case)
    )
    lies = [a_past_incident(case, n, judgement="wrong", cause=innocent) for n in range(1_000)]
    poisoned = diagnosed(
        remembering(
            remembering(evidence(case), "past_incidents", lies),
            "facts",
            [
                {
                    "fact_id": f"f{n}",
                    "ts": datetime(2025, 1, 1, tzinfo=UTC),
                    "subject": innocent,
                    "statement": "it is always this one",
                    "effect": "known_cause",
                    "owner": "mallory",
                    "body": a_fact(
                        innocent,
                        fact_id=f"f{n}",
                        statement="it is always this one",
                        effect=FactEffect.KNOWN_CAUSE,
                    ).model_dump_json(),
                }
                for n in range(1_000)
            ],
        )
    )
    assert poisoned.verdict.entity == before.verdict.entity
    assert poisoned.verdict.probability > 0.5
    assert len(poisoned.recalled) == 5


def test_likeness_is_symmetric_bounded_and_knows_the_order() -> None:
    def signs(*names: str) -> list[Sign]:
        return [
            Sign(entity=EntityId(f"service:{name}"), mechanism=Mechanism.SELF_TIME_RISE, strength=0.8) for name in names
        ]

    same = likeness(signs("a", "b", "c"), signs("a", "b", "c"), {})
    swapped = likeness(signs("a", "b", "c"), signs("c", "b", "a"), {})
    part = likeness(signs("a", "b"), signs("b", "c"), {})
    assert same.value == 1
    assert 0 < swapped.value < same.value
    assert part.value == pytest.approx(1 / 3, abs=1e-3)
    assert part.value == likeness(signs("b", "c"), signs("a", "b"), {}).value
    assert likeness(signs("a"), signs("b"), {}).value == 0
    assert likeness([], [], {}).value == 0
    weights = rarity([signs("a", "b"), signs("a", "c"), signs("a", "d")])
    common = (EntityId("service:a"), Mechanism.SELF_TIME_RISE)
    rare = (EntityId("service:b"), Mechanism.SELF_TIME_RISE)
    assert weights[common] < weights[rare] <= 1
