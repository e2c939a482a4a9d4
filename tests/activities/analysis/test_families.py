"""Each family on numbers made for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from activities.analysis.change_points import micros
from activities.analysis.evidence import AnsweredProbe, Evidence
from activities.analysis.findings import find
from activities.analysis.graph import Graph
from activities.analysis.metrics import onset_of
from activities.analysis.parameters import DEFAULT
from activities.analysis.ranking import SENTENCES
from activities.analysis.verification import evaluate
from activities.answers import COLUMNS
from evals.offline import diagnose
from tests.running import an_alert
from workflows.contracts.change import ChangeKind
from workflows.contracts.claim import ClaimState
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import Digest, EntityId
from workflows.contracts.probe import ChangeProbe, ClusterProbe, LogProbe, MetricProbe, Probe, Window

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AS_OF = NOON + timedelta(minutes=1)
DAY = Window(start=NOON - timedelta(days=1), end=AS_OF)
FRONT, BACK = EntityId("service:front"), EntityId("service:back")
LOG = FindingFamily.LOG
FAULT_S = 90
"""The fault of these tests begins so long before the alert."""


def answered(probe: Probe, rows: list[dict[str, object]]) -> AnsweredProbe:
    return AnsweredProbe(
        probe=probe, artifact=Digest("0" * 64), rows=pl.DataFrame(rows, schema=COLUMNS[probe.tool], orient="row")
    )


def together(*answers: AnsweredProbe) -> AnsweredProbe:
    """One answer with the rows of several to the same query."""
    return replace(answers[0], rows=pl.concat([item.rows for item in answers]))


def graph() -> Graph:
    columns = ["source", "target", "kind", "origin", "confidence"]
    rows = [
        (FRONT, "", "service", "declared", 1.0),
        (BACK, "", "service", "declared", 1.0),
        (FRONT, BACK, "calls", "declared", 1.0),
    ]
    return Graph.from_answer(pl.DataFrame(rows, schema=columns, orient="row"))


def evidence(*answers: AnsweredProbe) -> Evidence:
    return Evidence(alerts=(an_alert(starts_at=NOON),), as_of=AS_OF, answers=answers, graph=graph())


def metric(entity: EntityId, name: str, usual: float, faulty: float) -> AnsweredProbe:
    """An hour of samples every ten seconds, with a little wave, and another level since the fault."""
    rows = []
    for number in range(360 + 6):
        moment = NOON + timedelta(seconds=10 * (number - 360))
        value = faulty if moment >= NOON - timedelta(seconds=FAULT_S) else usual + 0.01 * usual * (number % 5)
        rows.append({"metric": name, "ts": moment, "value": float(value)})
    return answered(MetricProbe(backend="b", window=DAY, entity=entity), rows)


def lines(entity: EntityId, per_bucket: dict[str, tuple[int, int]]) -> AnsweredProbe:
    """Templates with their usual and their faulty count in ten seconds."""
    rows = []
    for number in range(360 + 6):
        moment = NOON + timedelta(seconds=10 * (number - 360))
        late = moment >= NOON - timedelta(seconds=FAULT_S)
        for template, (usual, faulty) in per_bucket.items():
            count = faulty if late else usual
            if count:
                rows.append({"severity": "error", "template": template, "ts": moment, "count": count, "example": ""})
    return answered(LogProbe(backend="b", window=DAY, entity=entity), rows)


def changes(*items: tuple[str, int, str, str]) -> AnsweredProbe:
    """(id, seconds before the alert, title, detail)."""
    rows = [
        {
            "id": name,
            "ts": NOON - timedelta(seconds=before),
            "kind": ChangeKind.DEPLOY.value,
            "target": BACK,
            "title": title,
            "detail": detail,
            "revision": "r",
        }
        for name, before, title, detail in items
    ]
    return answered(ChangeProbe(backend="b", window=DAY), rows)


def of_family(findings: list[Finding], family: FindingFamily) -> list[Finding]:
    return [item for item in findings if item.family is family]


def test_a_metric_that_leaves_its_range_is_found_with_its_onset() -> None:
    (found,) = find(evidence(metric(BACK, "cpu_usage", 0.2, 0.9)))
    assert (found.family, found.entity, found.direction) == (FindingFamily.METRIC, BACK, Direction.UP)
    assert found.fault_kinds == {FaultKind.CPU: 1.0}
    assert found.onset is not None
    assert abs((found.onset - (NOON - timedelta(seconds=FAULT_S))).total_seconds()) <= 10


def test_an_alert_that_starts_to_fire_is_a_finding_that_its_answer_bears_out() -> None:
    """Of a monitoring system's own alerts only the moments at which they fire are recorded."""
    firing = [NOON - timedelta(seconds=seconds) for seconds in (3_000, 90, 60, 30)]
    name = 'ALERTS{alertname="cpu_high"}'
    alerts = answered(
        MetricProbe(backend="b", window=DAY, entity=FRONT), [{"metric": name, "ts": ts, "value": 1.0} for ts in firing]
    )
    given = evidence(metric(BACK, "cpu_usage", 0.2, 0.203), alerts)
    (found,) = find(given)
    assert (found.entity, found.signal, found.direction) == (FRONT, name, Direction.UP)
    assert evaluate(found.predicate, given.frames()) == (ClaimState.VERIFIED, "")


def test_a_steady_metric_is_no_finding() -> None:
    assert find(evidence(metric(BACK, "cpu_usage", 0.2, 0.203))) == []


def test_a_units_scale_does_not_matter() -> None:
    small, large = (find(evidence(metric(BACK, "cpu_usage", 0.2 * k, 0.9 * k)))[0] for k in (1, 1000))
    assert abs(small.strength - large.strength) < 1e-6


def test_a_slow_ramp_is_dated_from_its_foot() -> None:
    at = np.array([micros(NOON + timedelta(minutes=n)) for n in range(60)])
    values = np.array([1.0 + (n % 3) * 0.01 + max(0, n - 30) * 0.2 for n in range(60)])
    onset = onset_of(at, values, NOON + timedelta(minutes=50), DEFAULT)
    assert onset is not None
    assert abs((onset - NOON).total_seconds() / 60 - 31) <= 2


def test_a_new_template_appears_and_a_vanished_one_is_missed() -> None:
    found = of_family(find(evidence(lines(BACK, {"served": (8, 8), "boom": (0, 5)}))), FindingFamily.LOG)
    assert found[0].direction is Direction.APPEARED
    assert "boom" in found[0].summary
    found = of_family(
        find(evidence(lines(BACK, {"accepted": (8, 8), "served": (8, 8), "saved": (8, 0)}))), FindingFamily.LOG
    )
    assert found[0].direction is Direction.VANISHED
    assert "saved" in found[0].summary


def test_templates_of_one_statement_are_counted_together() -> None:
    """Each of them alone is too rare to be missed."""
    usual = {f"PriceController {verb} a request of shopper <*>": (1, 1) for verb in ("opens", "serves", "closes")}
    prices = {f"PriceController found a price for <*> and train {name}": (1, 0) for name in "abcdefgh"}
    rows = lines(BACK, usual)
    every = pl.concat(
        [
            rows.rows,
            *(
                lines(BACK, {template: counts}).rows.gather_every(8, offset)
                for offset, (template, counts) in enumerate(prices.items())
            ),
        ]
    )
    found = find(evidence(replace(rows, rows=every)))
    vanished = [item for item in of_family(found, FindingFamily.LOG) if "found a price" in item.summary]
    assert vanished
    assert vanished[0].direction is Direction.VANISHED
    assert "with 7 alike" in vanished[0].note


def ordered_lines(entity: EntityId, usual: list[str], faulty: list[str]) -> AnsweredProbe:
    """One request every 30 seconds that writes these lines one after the other."""
    rows: list[dict[str, object]] = []
    for number in range(120 + 2):
        moment = NOON + timedelta(seconds=30 * (number - 120))
        order = faulty if moment >= NOON - timedelta(seconds=FAULT_S) else usual
        for before, template in zip(["", *order], order, strict=False):
            row = {"severity": "info", "template": template, "ts": moment, "count": 1, "example": "", "after": before}
            rows.append(row)
    return answered(LogProbe(backend="b", window=DAY, entity=entity), rows)


def test_a_few_requests_that_leave_their_only_path_are_found() -> None:
    """Every statement occurs as often as before; only what follows what is new."""
    usual = ["received", "looked up", "priced", "answered"]
    found = of_family(find(evidence(ordered_lines(BACK, usual, ["received", "priced", "looked up", "answered"]))), LOG)
    assert found
    assert " after " in found[0].summary
    assert found[0].fault_kinds == {FaultKind.BEHAVIOUR: 1.0}
    assert of_family(find(evidence(ordered_lines(BACK, usual, usual))), LOG) == []


def test_answers_that_do_not_tell_the_order_of_lines_still_count() -> None:
    """Those of earlier versions have no column for it."""
    rows = lines(BACK, {"served": (8, 8), "boom": (0, 5)})
    older = replace(rows, rows=rows.rows.drop("after"))
    assert of_family(find(evidence(older)), LOG) == of_family(find(evidence(rows)), LOG)


def test_more_traffic_alone_breaks_no_ratio() -> None:
    assert of_family(find(evidence(lines(BACK, {"served": (8, 24), "saved": (8, 24)}))), FindingFamily.LOG) == []


def test_a_condition_that_recovered_counts_little() -> None:
    def condition(reason: str, seconds: int, *, healthy: bool) -> dict[str, object]:
        return {
            "ts": NOON - timedelta(seconds=seconds),
            "object_kind": "Pod",
            "object_name": "back-0",
            "entity": BACK,
            "type": "Ready",
            "healthy": healthy,
            "reason": reason,
            "message": "",
            "count": 1,
        }

    probe = ClusterProbe(backend="b", window=DAY)
    (lasting,) = find(evidence(answered(probe, [condition("OOMKilled", 60, healthy=False)])))
    (over,) = find(
        evidence(answered(probe, [condition("OOMKilled", 60, healthy=False), condition("", 30, healthy=True)]))
    )
    assert lasting.fault_kinds == {FaultKind.MEMORY: 1.0}
    assert over.strength < 0.5 * lasting.strength
    assert over.note == "since recovered"


def test_a_change_has_to_fit_in_time_and_words() -> None:
    symptom = metric(BACK, "cache_lookup_errors", 0.1, 5.0)
    listed = changes(
        ("fits", FAULT_S + 60, "shorten the cache lifetime", "cache lookup lifetime 60 to 1"),
        ("docs", FAULT_S + 30, "describe the cache lookup", "docs/cache.md\nREADME.md\ncache lookup"),
        ("old", FAULT_S + 7200, "rewrite the cache lookup", "cache lookup"),
        ("late", FAULT_S - 80, "cache lookup again", "cache lookup"),
    )
    found = {
        item.signal: item.strength for item in find(evidence(symptom, listed)) if item.family is FindingFamily.CHANGE
    }
    assert found["fits"] > 0.5
    assert found.get("docs", 0) < found["fits"]
    assert "old" not in found
    assert "late" not in found
    hypotheses = diagnose(evidence(symptom, listed), probes_planned=3).hypotheses
    assert (hypotheses[0].entity, hypotheses[0].change_id) == (BACK, "fits")


def test_no_change_did_it_is_an_answer() -> None:
    symptom = metric(BACK, "cpu_usage", 0.2, 0.9)
    listed = changes(("unrelated", FAULT_S + 1200, "chore: tidy names", "rename a variable"))
    assert diagnose(evidence(symptom, listed), probes_planned=3).hypotheses[0].change_id is None


def test_a_callee_explains_its_caller() -> None:
    both = evidence(
        metric(FRONT, "request_errors", 0.1, 5.0),
        together(metric(BACK, "request_errors", 0.1, 5.0), metric(BACK, "cpu_usage", 0.2, 0.9)),
    )
    hypotheses = diagnose(both, probes_planned=3).hypotheses
    assert hypotheses[0].entity == BACK
    front = next(item for item in hypotheses if item.entity == FRONT)
    assert any("explained by what it calls" in part.reason for part in front.supporting)


def test_contributions_add_up_to_the_odds_and_probabilities_to_one() -> None:
    one = evidence(metric(BACK, "cpu_usage", 0.2, 0.9))
    hypotheses = diagnose(one, probes_planned=3).hypotheses
    assert abs(sum(item.probability for item in hypotheses) - 1) < 1e-4
    assert next(item for item in hypotheses if item.entity == BACK).supporting
    assert [item.rank for item in hypotheses] == list(range(1, len(hypotheses) + 1))


def test_every_kind_of_fault_can_be_told() -> None:
    assert SENTENCES.keys() >= set(FaultKind)


def course(entity: EntityId, name: str, values: list[float]) -> AnsweredProbe:
    """One sample a minute, the last one at the alert."""
    rows = [
        {"metric": name, "ts": NOON - timedelta(minutes=len(values) - 1 - number), "value": value}
        for number, value in enumerate(values)
    ]
    return answered(MetricProbe(backend="b", window=DAY, entity=entity), rows)


def test_a_leak_is_dated_from_where_its_line_leaves_the_usual_level() -> None:
    """Any moment of the last quarter of an hour has the leak on both sides."""
    level = [200.0 + (n % 5) for n in range(40)]
    leak = [200.0 + 2.0 * n + (n % 5) for n in range(120)]
    found = [
        item
        for item in find(evidence(course(BACK, "memory_rss_mb", level + leak)))
        if item.mechanism is Mechanism.TREND
    ]
    assert len(found) == 1
    assert found[0].fault_kinds == {FaultKind.MEMORY: 1.0}
    assert found[0].onset is not None
    assert abs(found[0].onset - (NOON - timedelta(minutes=120))) <= timedelta(minutes=4)


def test_what_goes_up_and_down_is_no_leak() -> None:
    waves = [200.0 + 80.0 * ((n // 20) % 2) + (n % 5) for n in range(160)]
    assert [
        item for item in find(evidence(course(BACK, "memory_rss_mb", waves))) if item.mechanism is Mechanism.TREND
    ] == []


def test_a_full_processor_needs_no_history() -> None:
    found = find(evidence(course(BACK, "cpu_percent", [96.0 + (n % 3) for n in range(20)])))
    assert [(item.entity, item.fault_kinds) for item in found] == [(BACK, {FaultKind.CPU: 1.0})]
    assert "stands at 97 % of 100 %" in found[0].summary
    assert find(evidence(course(BACK, "cpu_percent", [46.0 + (n % 3) for n in range(20)]))) == []


def test_what_has_been_full_all_day_is_how_it_works_there() -> None:
    short, day = (
        find(evidence(course(BACK, "cpu_percent", [96.0 + (n % 3) for n in range(minutes)])))[0].strength
        for minutes in (20, 24 * 60)
    )
    assert day < short / 2


def test_an_error_that_says_what_is_wrong_needs_no_ratio() -> None:
    """One other line is all that was ever logged."""
    rows: list[dict[str, object]] = [
        {"severity": severity, "template": text, "ts": NOON - timedelta(seconds=before), "count": 3, "example": text}
        for severity, text, before in (
            ("info", "started", 600),
            ("error", "lookup failed: no such host db.internal", 20),
        )
    ]
    found = of_family(find(evidence(answered(LogProbe(backend="b", window=DAY, entity=BACK), rows))), LOG)
    assert len(found) == 1
    assert max(found[0].fault_kinds, key=lambda kind: found[0].fault_kinds[kind]) is FaultKind.CONFIGURATION
