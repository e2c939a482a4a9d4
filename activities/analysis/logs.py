"""What log lines say: templates that appear, vanish or change their share of an operation or of another template."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from activities.analysis.catalogue import kind_of_text, own_kind_of_text
from activities.analysis.change_points import Averaged, Averages, ChangePoint, PrePostSums, micros
from activities.analysis.evidence import Evidence, Numbered, Numbers
from activities.analysis.failing_callee import failing_callee
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.graph import Graph
from activities.analysis.invariants import (
    Counted,
    best_references,
    counted,
    invariant_violations,
    numbers_in,
    together,
)
from activities.analysis.parameters import Parameters
from activities.analysis.wording import name_of, number, times
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import AllOf, RowCount

MASK = "<*>"

SEVERE = frozenset(("warn", "warning", "error", "err", "fatal", "critical", "panic", "severe", "emergency", "alert"))


@evidence_family(needs={"logs": ["severity", "template", "ts", "count", "example"]})
def find_in_logs(given: AnalysisInput) -> list[Finding]:
    """At most one finding per entity and whether it is severe: its most unusual template."""
    parameters, spans = given.parameters, given.spans.keeping("count")
    lines = _read(given.evidence, spans, parameters)
    if lines.names.is_empty():
        return []
    order, speaking = _order(lines.names), _speaking(lines.names)
    averages: Averages[tuple[EntityId, str, bool], _Sign] = Averages(parameters)
    pairs: pl.DataFrame | None = None
    change_points = given.change_points_of("logs", "traces")
    for change_point in change_points:
        sums = PrePostSums(lines.rows, change_point)
        signals = counted(sums, lines.names["signal"].to_numpy(), lines.signals.height)
        operations = counted(PrePostSums(spans, change_point), lines.operation, len(lines.operations))
        references = together(signals, operations)
        if pairs is None:
            own = lines.signals["entity"].to_numpy()
            pairs = best_references(signals, references, (own, np.concatenate([own, lines.operations])), parameters)
        signs = [
            invariant_violations(pairs, signals, references, parameters).join(lines.signals, on="signal"),
            _order_violations(order, sums, parameters),
            _speaking_errors(lines.signals, counted(sums, speaking, lines.signals.height), change_point, parameters),
        ]
        for row in _strongest(signs).iter_rows(named=True):
            averages.add(
                (EntityId(row["owner"]), row["about"], row["severe"]), row["strength"], change_point, _Sign.of(row)
            )
    found = list(averages.over(change_points, least=parameters.least_strength))
    strongest = sorted(found, key=lambda item: (-item.strength, item.key))[: parameters.most_of_a_family]
    return _reported(given.factory, lines, sorted(strongest, key=lambda item: item.key))


@dataclass(frozen=True, kw_only=True)
class _Sign:
    """How often the most unusual statement of an entity occurs, and how often it usually does."""

    severity: str
    statement: str
    before: str | None
    """The statement that it follows within a request; None where that is not what is unusual."""

    seen: float
    expected: float

    @classmethod
    def of(cls, row: dict[str, Any]) -> "_Sign":
        return cls(
            severity=row["severity"],
            statement=row["statement"],
            before=row["before"],
            seen=float(row["seen"]),
            expected=float(row["expected"]),
        )


@dataclass(frozen=True)
class _Lines:
    """Lines by the number of their template, and what stands for them in comparisons."""

    names: pl.DataFrame
    """(number, owner, severity, template, example, after, probe, about, statement, before, signal): `about` is the
    callee of whose failing calls an error tells, or empty; `before` is the statement of the line before, null where it
    is not known; `signal` is -1 for templates that are not compared."""

    rows: Numbered

    signals: pl.DataFrame
    """(signal, owner, about, severity, statement, severe, entity): `entity` is the number of the owner."""

    operation: Numbers
    """The operation of each edge of the spans, which templates of the same entity may follow."""

    operations: Numbers
    """The number of the owner of each operation; -1 where it has no lines."""


@dataclass(frozen=True)
class _Order:
    """Which statement follows which within a request."""

    steps: pl.DataFrame
    """(signal, owner, about, severity, statement, before, reference, severe)."""

    step: Numbers
    """The step that each template is; -1 where the line before is not known, or there is none."""

    reference: Numbers
    """What each template is to those after it; -1 where that is not known."""

    references: int


def _order(names: pl.DataFrame) -> _Order:
    known = names.filter(pl.col("before").is_not_null(), pl.col("signal") >= 0)
    references = known.select("owner", before="statement").unique().sort("owner", "before").with_row_index("reference")
    keys = ["owner", "about", "severity", "statement", "before"]
    steps = (
        known.select(keys)
        .unique()
        .join(references.with_columns(pl.col("reference").cast(pl.Int64)), on=["owner", "before"])
        .sort(keys)
        .with_row_index("signal")
        .with_columns(pl.col("signal").cast(pl.Int64), severe=pl.col("severity").is_in(list(SEVERE)))
    )
    looked_up = names.with_columns(
        follows=pl.when(pl.col("before").is_not_null() & (pl.col("signal") >= 0)).then("statement")
    )
    return _Order(
        steps=steps,
        step=numbers_in(steps, "signal", names, {key: key for key in keys}),
        reference=numbers_in(references, "reference", looked_up, {"owner": "owner", "follows": "before"}),
        references=references.height,
    )


def _order_violations(order: _Order, sums: PrePostSums, parameters: Parameters) -> pl.DataFrame:
    """Statements that used to follow another always or never within a request, and no longer do."""
    violated = invariant_violations(
        order.steps.select("signal", "reference"),
        counted(sums, order.step, order.steps.height),
        counted(sums, order.reference, order.references),
        parameters,
        parts=True,
    )
    return violated.join(order.steps.drop("reference"), on="signal")


def _kind_named(text: str, about: str) -> FaultKind | None:
    """The kind of fault that an error names: of whom it tells, or else of the program that writes it."""
    return kind_of_text(text) if about else own_kind_of_text(text)


def _speaking(names: pl.DataFrame) -> Numbers:
    """The signal of each template that is an error and whose text names a kind of fault, otherwise -1."""
    severe = names["severity"].is_in(list(SEVERE))
    texts = names.select(pl.concat_str("template", pl.lit(" "), "example")).to_series()
    named = [
        bad and _kind_named(text, about) is not None
        for bad, text, about in zip(severe, texts, names["about"], strict=True)
    ]
    return np.where(named, names["signal"].to_numpy(), -1)


def _speaking_errors(
    signals: pl.DataFrame, speaking: Counted, change_point: ChangePoint, parameters: Parameters
) -> pl.DataFrame:
    """Errors whose text names a kind of fault need no ratio: each one more than usual in the time counts."""
    times = change_point.post.length / max(change_point.pre.length, parameters.bucket)
    excess = (pl.col("seen") - pl.col("expected")).clip(0)
    strength = parameters.half_confidence * (1 - (-excess / parameters.failure_scale).exp())
    return (
        signals.with_columns(
            seen=pl.lit(pl.Series(speaking.after)), expected=pl.lit(pl.Series(speaking.before.sum(axis=1) * times))
        )
        .filter(pl.col("seen") > 0)
        .with_columns(strength=strength)
    )


def _strongest(signs: list[pl.DataFrame]) -> pl.DataFrame:
    """The strongest sign per entity, whom it is about, and whether it is severe."""
    every = pl.concat(signs, how="diagonal").select(
        "owner", "about", "severe", "severity", "statement", "before", "seen", "expected", "strength"
    )
    keys = ["owner", "about", "severe"]
    ties = ["severity", "statement", "before"]
    return every.sort(*keys, "strength", *ties, descending=[False, False, False, *(True for _ in range(4))]).unique(
        keys, keep="first", maintain_order=True
    )


def _reported(
    factory: FindingFactory, lines: _Lines, strongest: list[Averaged[tuple[EntityId, str, bool], _Sign]]
) -> list[Finding]:
    """Findings of what is worth reporting; only its rows are looked at again."""
    keys = ["owner", "severity", "statement"]
    signals = [(item.key[0], item.detail.severity, item.detail.statement) for item in strongest]
    wanted = pl.DataFrame(signals, schema=dict.fromkeys(keys, pl.String), orient="row").unique()
    names = lines.names.join(wanted, on=keys, how="semi")
    templates = names.partition_by(keys, as_dict=True)
    found = []
    for item, signal in zip(strongest, signals, strict=True):
        alike = templates[signal]
        occurred = lines.rows.rows(alike["number"]).join(alike, on="number")
        found.append(_finding(factory, occurred, item))
    return found


def _read(evidence: Evidence, spans: Numbered, parameters: Parameters) -> _Lines:
    """Every answer about lines; answers of earlier versions do not say what a line came after."""
    found = evidence.numbered("logs", ["severity", "template", "after"], ["count"], ("example",))
    names = found.names.rename({"entity": "owner"})
    names = names.with_columns(about=_about(names, evidence.graph)).with_columns(
        statement=pl.concat_str(_statement("template", parameters), "about"), before=_statement("after", parameters)
    )
    keys = ["owner", "severity", "statement"]
    signals = (
        _most_informative(names, found, evidence, parameters)
        .sort(keys)
        .with_row_index("signal")
        .with_columns(
            pl.col("signal").cast(pl.Int64),
            severe=pl.col("severity").is_in(list(SEVERE)),
            entity=pl.col("owner").rle_id().cast(pl.Int64),
        )
    )
    operations = spans.names.select("operation", owner="entity").unique().sort("owner", "operation").with_row_index()
    return _Lines(
        names=names.with_columns(signal=pl.Series(numbers_in(signals, "signal", names, {key: key for key in keys}))),
        rows=found,
        signals=signals,
        operation=numbers_in(operations, "index", spans.names, {"entity": "owner", "operation": "operation"}),
        operations=numbers_in(signals.unique("owner"), "entity", operations, {"owner": "owner"}),
    )


def _about(names: pl.DataFrame, graph: Graph) -> pl.Series:
    """The callee of whose failing calls each error tells, by its name in the text; empty where it tells of none."""
    rows = names.select("owner", "severity", "template", "example").iter_rows()
    found = [
        failing_callee(f"{template} {example}", EntityId(owner), graph) or "" if severity in SEVERE else ""
        for owner, severity, template, example in rows
    ]
    return pl.Series(found, dtype=pl.String)


def _statement(column: str, parameters: Parameters) -> pl.Expr:
    """What a statement of the program writes before its first variable part: many templates may come from one."""
    start = pl.col(column).str.split(MASK).list.first()
    long = start.str.len_chars() >= parameters.template_least_start
    return pl.when(long & (start != pl.col(column))).then(start + MASK).otherwise(pl.col(column))


def _most_informative(names: pl.DataFrame, lines: Numbered, evidence: Evidence, parameters: Parameters) -> pl.DataFrame:
    """Signals (owner, severity, statement) of each entity that can be compared with each other in bounded time."""
    count = lines.values["count"]
    total = np.bincount(lines.number, weights=count, minlength=names.height)
    late = np.bincount(lines.number, weights=count * (lines.at >= micros(evidence.alert_at)), minlength=names.height)
    return (
        names.with_columns(total=pl.Series(total), late=pl.Series(late))
        .group_by("owner", "about", "severity", "statement")
        .agg(pl.col("total").sum(), pl.col("late").sum())
        .sort("owner", "late", "total", "severity", "statement", descending=[False, True, True, False, False])
        .group_by("owner", maintain_order=True)
        .head(parameters.templates_compared)
        .select("owner", "about", "severity", "statement")
    )


def _commonest(alike: pl.DataFrame, names: list[str], *, later: bool, change_point: datetime) -> dict[str, str]:
    """The templates of a statement that occur most on the side of the change point where the statement does."""
    counted = alike.group_by(names).agg(
        side=(pl.col("count") * ((pl.col("ts") >= change_point) == later)).sum(), total=pl.col("count").sum()
    )
    best = counted.sort("side", "total", *names, descending=[True, True, *(False for _ in names)])
    return {name: str(best[name][0]) for name in names}


def _finding(
    factory: FindingFactory, alike: pl.DataFrame, item: Averaged[tuple[EntityId, str, bool], _Sign]
) -> Finding:
    (owner, about, severe), sign, change_point = item.key, item.detail, item.change_point
    if sign.before is not None:
        alike = alike.filter(pl.col("before") == sign.before)
    more = sign.seen > sign.expected
    names = ["template"] if sign.before is None else ["template", "after"]
    shown = _commonest(alike, names, later=more, change_point=change_point.at)
    rows = alike.filter(*(pl.col(name) == value for name, value in shown.items())).sort("ts")
    past = float(rows.filter(pl.col("ts") < change_point.at)["count"].sum())
    now = float(rows.filter(pl.col("ts") >= change_point.at)["count"].sum())
    others = alike.select(list(shown)).unique().height - 1
    usual = f"usually about {number(round(sign.expected))}"
    mechanism, direction = _direction(now, past, more=more)
    tells = bool(about) and more
    return factory.counted(
        rows,
        family=FindingFamily.LOG,
        mechanism=Mechanism.LOGGED_FAILED_CALLS if tells else mechanism,
        entity=EntityId(about) if tells else owner,
        caller=owner if tells else None,
        signal=f"{sign.severity} {_line(shown)}",
        summary=_sentence(owner, shown, now, past, change_point),
        direction=direction,
        strength=item.strength,
        fault_kinds=_fault_kinds(
            f"{shown['template']} {rows['example'][0]}",
            about=about,
            severe=severe,
            more=more,
            parameters=factory.parameters,
        ),
        predicate=AllOf(
            parts=tuple(
                RowCount(
                    probe_key=ProbeKey(rows["probe"][0]),
                    select={"severity": sign.severity, **shown},
                    column="count",
                    window=window,
                    at_least=occurrences,
                    at_most=occurrences,
                )
                for window, occurrences in ((change_point.post, now), (change_point.pre, past))
            )
        ),
        since=change_point.at,
        note=f"with {others} alike: {number(sign.seen)}, {usual}" if others > 0 else usual,
        column="count",
    )


def _direction(now: float, past: float, *, more: bool) -> tuple[Mechanism, Direction]:
    if more and past == 0:
        return Mechanism.NEW_TEMPLATE, Direction.APPEARED
    if now == 0:
        return Mechanism.MISSING_TEMPLATE, Direction.VANISHED
    return Mechanism.TEMPLATE_RATE, Direction.UP if more else Direction.DOWN


def _line(shown: dict[str, str]) -> str:
    text = " ".join(shown["template"].split())[:120]
    return f"{text} after {' '.join(shown['after'].split())[:120]}" if "after" in shown else text


def _sentence(entity: EntityId, shown: dict[str, str], now: float, past: float, change_point: ChangePoint) -> str:
    since = f"since {change_point.at:%H:%M:%S}"
    if past == 0:
        return f"New in the log of {name_of(entity)}, {times(now)} {since}: {_line(shown)}"
    return f"Log of {name_of(entity)}: {times(now)} {since}, {times(past)} before: {_line(shown)}"


def _fault_kinds(text: str, *, about: str, severe: bool, more: bool, parameters: Parameters) -> dict[FaultKind, float]:
    named = _kind_named(text, about) if more else None
    if named is not None:
        return {named: parameters.kind_of_message, FaultKind.ERROR: 1 - parameters.kind_of_message}
    return dict(parameters.kinds_severe_template) if severe else {FaultKind.BEHAVIOUR: 1.0}
