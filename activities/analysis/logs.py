"""What log lines say: templates that appear, vanish or change their share of an operation or of another template."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from activities.analysis.change_points import Average, ChangePoint, PrePostSums, micros
from activities.analysis.evidence import Evidence, Numbered, Numbers
from activities.analysis.finding_factory import LEAST_STRENGTH, FindingFactory
from activities.analysis.invariants import (
    Counted,
    best_references,
    counted,
    invariant_violations,
    numbers_in,
    together,
)
from activities.analysis.log_kinds import kind_of_text
from activities.analysis.parameters import Parameters
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import AllOf, RowCount

MASK = "<*>"

LEAST_START = 16
"""Characters that a statement must begin with to be recognised by them."""

MOST_REPORTED = 500
"""Findings in all, the strongest first."""

TEMPLATES_COMPARED = 150
"""Templates per entity that are compared with each other, the most frequent and the newest first."""

SEVERE = frozenset(("warn", "warning", "error", "err", "fatal", "critical", "panic", "severe", "emergency", "alert"))


def find_in_logs(
    evidence: Evidence,
    spans: Numbered,
    change_points: list[ChangePoint],
    parameters: Parameters,
    factory: FindingFactory,
) -> list[Finding]:
    """At most one finding per entity and direction of severity: its most unusual template."""
    lines = _read(evidence, spans)
    if lines.names.is_empty():
        return []
    order, speaking = _order(lines.names), _speaking(lines.names)
    collected: dict[tuple[EntityId, bool], Average] = {}
    pairs: pl.DataFrame | None = None
    for change_point in change_points:
        sums = PrePostSums(lines.rows, change_point)
        signals = counted(sums, lines.names["signal"].to_numpy(), lines.signals.height)
        references = together(
            signals, counted(PrePostSums(spans, change_point), lines.operation, len(lines.operations))
        )
        if pairs is None:
            own = lines.signals["entity"].to_numpy()
            pairs = best_references(signals, references, (own, np.concatenate([own, lines.operations])), parameters)
        signs = [
            invariant_violations(pairs, signals, references, parameters).join(lines.signals, on="signal"),
            _order_violations(order, sums, parameters),
            _speaking_errors(lines.signals, counted(sums, speaking, lines.signals.height), change_point, parameters),
        ]
        for row in _strongest(signs).iter_rows(named=True):
            key = (EntityId(row["owner"]), row["severe"])
            collected.setdefault(key, Average()).add(row["strength"], change_point, row)
    for average in collected.values():
        average.total /= len(change_points)
    return _told(factory, lines, {key: item for key, item in collected.items() if item.total >= LEAST_STRENGTH})


@dataclass(frozen=True)
class _Lines:
    """Lines by the number of their template, and what stands for them in comparisons."""

    names: pl.DataFrame
    """(number, owner, severity, template, example, after, probe, statement, before, signal): `before` is the statement
    of the line before, null where it is not told; `signal` is -1 for templates that are not compared."""

    rows: Numbered

    signals: pl.DataFrame
    """(signal, owner, severity, statement, severe, entity): `entity` is the number of the owner."""

    operation: Numbers
    """The operation of each edge of the spans, which templates of the same entity may follow."""

    operations: Numbers
    """The number of the owner of each operation; -1 where it has no lines."""


@dataclass(frozen=True)
class _Order:
    """Which statement follows which within a request."""

    steps: pl.DataFrame
    """(signal, owner, severity, statement, before, reference, severe)."""

    step: Numbers
    """The step that each template is; -1 where the line before is not told, or there is none."""

    reference: Numbers
    """What each template is to those after it; -1 where that is not told."""

    references: int


def _order(names: pl.DataFrame) -> _Order:
    told = names.filter(pl.col("before").is_not_null(), pl.col("signal") >= 0)
    references = told.select("owner", before="statement").unique().sort("owner", "before").with_row_index("reference")
    keys = ["owner", "severity", "statement", "before"]
    steps = (
        told.select(keys)
        .unique()
        .join(references.with_columns(pl.col("reference").cast(pl.Int64)), on=["owner", "before"])
        .sort(keys)
        .with_row_index("signal")
        .with_columns(pl.col("signal").cast(pl.Int64), severe=pl.col("severity").is_in(list(SEVERE)))
    )
    known = names.with_columns(told=pl.when(pl.col("before").is_not_null() & (pl.col("signal") >= 0)).then("statement"))
    return _Order(
        steps=steps,
        step=numbers_in(steps, "signal", names, {key: key for key in keys}),
        reference=numbers_in(references, "reference", known, {"owner": "owner", "told": "before"}),
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


def _speaking(names: pl.DataFrame) -> Numbers:
    """The signal of each template that is an error and whose text names a kind of fault, otherwise -1."""
    severe = names["severity"].is_in(list(SEVERE))
    texts = names.select(pl.concat_str("template", pl.lit(" "), "example")).to_series()
    named = [bad and kind_of_text(text) is not None for bad, text in zip(severe, texts, strict=True)]
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
    """The strongest sign per entity and whether it is severe."""
    every = pl.concat(signs, how="diagonal").select(
        "owner", "severe", "severity", "statement", "before", "seen", "expected", "strength"
    )
    keys = ["owner", "severe"]
    ties = ["severity", "statement", "before"]
    return every.sort(*keys, "strength", *ties, descending=[False, False, *(True for _ in range(4))]).unique(
        keys, keep="first", maintain_order=True
    )


def _told(factory: FindingFactory, lines: _Lines, collected: dict[tuple[EntityId, bool], Average]) -> list[Finding]:
    """Findings of what is worth telling; only its rows are looked at again."""
    told = sorted(sorted(collected, key=lambda key: (-collected[key].total, key))[:MOST_REPORTED])
    keys = ["owner", "severity", "statement"]
    signals = [(entity, *(str(collected[entity, severe].detail[key]) for key in keys[1:])) for entity, severe in told]
    wanted = pl.DataFrame(signals, schema=dict.fromkeys(keys, pl.String), orient="row").unique()
    names = lines.names.join(wanted, on=keys, how="semi")
    templates = names.partition_by(keys, as_dict=True)
    found = []
    for (entity, severe), signal in zip(told, signals, strict=True):
        alike = templates[signal]
        occurred = lines.rows.rows(alike["number"]).join(alike, on="number")
        found.append(_finding(factory, occurred, entity, collected[entity, severe], severe=severe))
    return found


def _read(evidence: Evidence, spans: Numbered) -> _Lines:
    """Every answer about lines; answers of earlier versions do not tell what a line came after."""
    found = evidence.numbered("logs", ["severity", "template", "after"], ["count"], ("example",))
    names = found.names.rename({"entity": "owner"}).with_columns(
        statement=_statement("template"), before=_statement("after")
    )
    keys = ["owner", "severity", "statement"]
    signals = (
        _most_telling(names, found, evidence)
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


def _statement(column: str) -> pl.Expr:
    """What a statement of the program writes before its first variable part: many templates may come from one."""
    start = pl.col(column).str.split(MASK).list.first()
    long = start.str.len_chars() >= LEAST_START
    return pl.when(long & (start != pl.col(column))).then(start + MASK).otherwise(pl.col(column))


def _most_telling(names: pl.DataFrame, lines: Numbered, evidence: Evidence) -> pl.DataFrame:
    """Signals (owner, severity, statement) of each entity that can be compared with each other in bounded time."""
    count = lines.values["count"]
    total = np.bincount(lines.number, weights=count, minlength=names.height)
    late = np.bincount(lines.number, weights=count * (lines.at >= micros(evidence.alert_at)), minlength=names.height)
    return (
        names.with_columns(total=pl.Series(total), late=pl.Series(late))
        .group_by("owner", "severity", "statement")
        .agg(pl.col("total").sum(), pl.col("late").sum())
        .sort("owner", "late", "total", "severity", "statement", descending=[False, True, True, False, False])
        .group_by("owner", maintain_order=True)
        .head(TEMPLATES_COMPARED)
        .select("owner", "severity", "statement")
    )


def _commonest(alike: pl.DataFrame, names: list[str], *, later: bool, change_point: datetime) -> dict[str, str]:
    """The templates of a statement that occur most on the side of the change point where the statement does."""
    counted = alike.group_by(names).agg(
        side=(pl.col("count") * ((pl.col("ts") >= change_point) == later)).sum(), total=pl.col("count").sum()
    )
    best = counted.sort("side", "total", *names, descending=[True, True, *(False for _ in names)])
    return {name: str(best[name][0]) for name in names}


def _finding(
    factory: FindingFactory, alike: pl.DataFrame, entity: EntityId, average: Average, *, severe: bool
) -> Finding:
    assert average.change_point is not None
    row, after = average.detail, average.change_point.post
    severity, before = str(row["severity"]), row["before"]
    seen, expected = float(str(row["seen"])), float(str(row["expected"]))
    if before is not None:
        alike = alike.filter(pl.col("before") == before)
    more = seen > expected
    ordered = before is not None
    shown = _commonest(alike, ["template", "after"] if ordered else ["template"], later=more, change_point=after.start)
    template = shown["template"]
    rows = alike.filter(*(pl.col(name) == value for name, value in shown.items())).sort("ts")
    note = f"about {expected:.0f} are usual"
    if (others := alike.select(list(shown)).unique().height - 1) > 0:
        note = f"with {others} alike: {seen:.0f}, and {note}"
    text = " ".join(template.split())[:120]
    past = float(rows.filter(pl.col("ts") < after.start)["count"].sum())
    now = float(rows.filter(pl.col("ts") >= after.start)["count"].sum())
    what, signal = text, f"{severity} {text}"
    if before is not None:
        what = f"{text} (right after {' '.join(shown['after'].split())[:120]})"
        signal = f"{signal} after {' '.join(shown['after'].split())[:120]}"
    if more and past == 0:
        summary, direction = f"{entity} logs something new, {now:.0f} times: {what}", Direction.APPEARED
        mechanism = Mechanism.NEW_TEMPLATE
    else:
        summary = f"{entity} logs {now:.0f} times since {after.start:%H:%M:%S}, {past:.0f} times before: {what}"
        direction = Direction.UP if more else Direction.VANISHED if now == 0 else Direction.DOWN
        mechanism = Mechanism.MISSING_TEMPLATE if now == 0 else Mechanism.TEMPLATE_RATE
    kinds = {FaultKind.ERROR: 0.7, FaultKind.BEHAVIOUR: 0.3} if severe else {FaultKind.BEHAVIOUR: 1.0}
    named = kind_of_text(f"{template} {rows['example'][0]}") if more else None
    if named is not None:
        kinds = {named: 0.8, FaultKind.ERROR: 0.2}
    return factory.counted(
        rows,
        family=FindingFamily.LOG,
        mechanism=mechanism,
        entity=entity,
        signal=signal,
        summary=summary,
        direction=direction,
        strength=average.total,
        fault_kinds=kinds,
        predicate=AllOf(
            parts=tuple(
                RowCount(
                    probe_key=ProbeKey(rows["probe"][0]),
                    select={"severity": severity, **shown},
                    column="count",
                    window=window,
                    at_least=number,
                    at_most=number,
                )
                for window, number in ((after, now), (average.change_point.pre, past))
            )
        ),
        since=after.start,
        note=note,
        column="count",
    )
