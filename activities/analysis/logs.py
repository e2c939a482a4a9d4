"""What log lines say: templates that appear, vanish or change their share of an operation or of another template."""

from datetime import datetime

import polars as pl

from activities.analysis.counts import best_anchors, broken_ratios
from activities.analysis.evidence import Evidence
from activities.analysis.facts import LEAST_STRENGTH, FactMaker
from activities.analysis.log_kinds import kind_of_text
from activities.analysis.parameters import Parameters
from activities.analysis.splits import Average, Cut, Split, cut, splits_of
from activities.answers import COLUMNS, TIMESTAMP
from workflows.contracts.finding import Direction, Finding, FindingFamily
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import AllOf, RowCount
from workflows.contracts.probe import entity_of

SEPARATOR = "\x1f"
MASK = "<*>"
AFTER = "after "
"""How anchors are named that are the line before."""

LEAST_START = 16
"""Characters that a statement must begin with to be recognised by them."""

TEMPLATES_COMPARED = 150
"""Templates per entity that are compared with each other, the most frequent and the newest first."""

SEVERE = frozenset(("warn", "warning", "error", "err", "fatal", "critical", "panic", "severe", "emergency", "alert"))


def find_in_logs(evidence: Evidence, parameters: Parameters, facts: FactMaker) -> list[Finding]:
    """At most one finding per entity and direction of severity: its most surprising template."""
    names, rows = _numbered(evidence)
    if rows.is_empty():
        return []
    names = _most_telling(names, rows, evidence)
    operations, spans = _operations(evidence)
    collected: dict[tuple[EntityId, bool], Average] = {}
    splits = splits_of(evidence, parameters)
    pairs = None
    followed = names.filter(pl.col("before").is_not_null() & (pl.col("before") != ""))
    steps = followed.select("owner", signal="step", anchor=pl.lit(AFTER) + pl.col("before")).unique()
    speaking = _speaking(names)
    for split in splits:
        lines = cut(rows, ["line"], ["count"], split, parameters)
        signals = lines.named(names, "line", ["owner", "signal"])
        anchors = _together(
            lines.named(names.with_columns(anchor="signal"), "line", ["owner", "anchor"]),
            cut(spans, ["number"], ["count"], split, parameters).named(operations, "number", ["owner", "anchor"]),
        )
        if pairs is None:
            pairs = best_anchors(signals, anchors, parameters)
        broken = [broken_ratios(pairs, signals, anchors, parameters)]
        if steps.height:
            ordered = names.filter(pl.col("before").is_not_null()).with_columns(
                anchor=pl.lit(AFTER) + pl.col("statement")
            )
            broken.append(
                broken_ratios(
                    steps,
                    lines.named(followed.drop("signal").rename({"step": "signal"}), "line", ["owner", "signal"]),
                    lines.named(ordered, "line", ["owner", "anchor"]),
                    parameters,
                    parts=True,
                )
            )
        strongest: dict[tuple[EntityId, bool], dict[str, object]] = {}
        broken.append(_speaking_errors(speaking, lines, split, parameters))
        for row in pl.concat(broken, how="diagonal").sort("strength", "signal").iter_rows(named=True):
            severe = str(row["signal"]).partition(SEPARATOR)[0] in SEVERE
            strongest[(EntityId(row["owner"]), severe)] = row
        for key, row in strongest.items():
            collected.setdefault(key, Average()).add(float(str(row["strength"])), split, row)
    for average in collected.values():
        average.total /= len(splits)
    told = [key for key in sorted(collected) if collected[key].total >= LEAST_STRENGTH]
    statements = pl.DataFrame(
        {
            "owner": [entity for entity, _ in told],
            "signal": [SEPARATOR.join(str(collected[key].detail["signal"]).split(SEPARATOR)[:2]) for key in told],
        },
        schema={"owner": pl.String, "signal": pl.String},
    )
    names = names.join(statements.unique(), on=["owner", "signal"], how="semi")
    templates = names.partition_by("owner", "signal", as_dict=True)
    counts = rows.join(names.select("line"), on="line", how="semi").partition_by("line", as_dict=True)
    found = []
    for (entity, severe), signal in zip(told, statements["signal"], strict=True):
        alike = templates[entity, signal]
        occurred = pl.concat([counts[(line,)] for line in alike["line"]]).join(alike, on="line")
        found.append(_finding(facts, occurred, entity, collected[entity, severe], severe=severe))
    return found


def _numbered(evidence: Evidence) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Templates with what is known of them, and how often each number of a template occurred in each bucket.

    Answers of earlier versions do not tell what a line came after; there it is null.
    """
    frames = [
        item.rows.with_columns(owner=pl.lit(entity_of(item.probe)), probe=pl.lit(item.probe.key))
        for item in evidence.of("logs")
        if item.rows.height
    ]
    empty = pl.DataFrame(schema={**COLUMNS["logs"], "owner": pl.String, "probe": pl.String})
    lines = pl.concat([empty, *frames], how="diagonal")
    keys = ["owner", "severity", "template", "after"]
    names = lines.group_by(keys).agg(pl.col("probe").first(), pl.col("example").min()).sort(keys)
    names = names.with_row_index("line").with_columns(statement=_statement("template"), before=_statement("after"))
    names = names.with_columns(
        signal=pl.concat_str("severity", "statement", separator=SEPARATOR),
        step=pl.concat_str("severity", "statement", "before", separator=SEPARATOR),
    )
    numbers = names.select("line", *keys)
    return names, lines.join(numbers, on=keys, nulls_equal=True).select("line", "ts", "count")


def _speaking(names: pl.DataFrame) -> pl.DataFrame:
    """Errors whose text names a kind of fault."""
    severe = names.filter(pl.col("severity").is_in(list(SEVERE)))
    named = [
        kind_of_text(f"{template} {example}") is not None
        for template, example in severe.select("template", "example").iter_rows()
    ]
    return severe.filter(pl.Series(named, dtype=pl.Boolean))


def _speaking_errors(speaking: pl.DataFrame, lines: Cut, split: Split, parameters: Parameters) -> pl.DataFrame:
    """Errors that say what is wrong need no ratio to anything: each one more than usual in the time counts."""
    counted = lines.named(speaking, "line", ["owner", "signal"])
    usual = counted.before.group_by("owner", "signal").agg(pl.col("count").sum())
    times = split.after.length / max(split.before.length, parameters.chunk)
    excess = (pl.col("seen") - pl.col("expected")).clip(0)
    strength = parameters.new_signal_trust * (1 - (-excess / parameters.failure_knee).exp())
    return (
        counted.after.rename({"count": "seen"})
        .join(usual, on=["owner", "signal"], how="left")
        .with_columns(expected=pl.col("count").fill_null(0) * times)
        .select("owner", "signal", "seen", "expected", strength=strength)
    )


def _together(first: Cut, second: Cut) -> Cut:
    return Cut(
        before=pl.concat([first.before, second.before.select(first.before.columns)]),
        after=pl.concat([first.after, second.after.select(first.after.columns)]),
    )


def _statement(column: str) -> pl.Expr:
    """What a statement of the program writes before its first variable part: many templates may come from one."""
    start = pl.col(column).str.split(MASK).list.first()
    long = start.str.len_chars() >= LEAST_START
    return pl.when(long & (start != pl.col(column))).then(start + MASK).otherwise(pl.col(column))


def _most_telling(names: pl.DataFrame, rows: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """Templates of each entity that can be compared with each other in bounded time."""
    late = (pl.col("count") * (pl.col("ts") >= evidence.alert_at)).sum()
    ranked = (
        rows.group_by("line")
        .agg(total=pl.col("count").sum(), late=late)
        .join(names, on="line")
        .group_by("owner", "signal")
        .agg(pl.col("total").sum(), pl.col("late").sum())
        .sort("owner", "late", "total", "signal", descending=[False, True, True, False])
        .group_by("owner", maintain_order=True)
        .head(TEMPLATES_COMPARED)
    )
    return names.join(ranked.select("owner", "signal"), on=["owner", "signal"], how="semi")


def _commonest(alike: pl.DataFrame, names: list[str], *, later: bool, split: datetime) -> dict[str, str]:
    """The templates of a statement that occur most on the side of the split where the statement does."""
    counted = alike.group_by(names).agg(
        side=(pl.col("count") * ((pl.col("ts") >= split) == later)).sum(), total=pl.col("count").sum()
    )
    best = counted.sort("side", "total", *names, descending=[True, True, *(False for _ in names)])
    return {name: str(best[name][0]) for name in names}


def _operations(evidence: Evidence) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Operations as anchors for templates of the same entity, and how often each number of one occurred."""
    frames = [
        item.rows.select("ts", "count", owner=pl.lit(entity_of(item.probe)), anchor="operation")
        for item in evidence.of("traces")
        if item.rows.height
    ]
    schema = {"ts": TIMESTAMP, "count": pl.Int64(), "owner": pl.String(), "anchor": pl.String()}
    spans = pl.concat([pl.DataFrame(schema=schema), *frames])
    names = spans.select("owner", "anchor").unique().sort("owner", "anchor").with_row_index("number")
    return names, spans.join(names, on=["owner", "anchor"]).select("number", "ts", "count")


def _finding(facts: FactMaker, alike: pl.DataFrame, entity: EntityId, average: Average, *, severe: bool) -> Finding:
    assert average.split is not None
    row, after = average.detail, average.split.after
    severity, _, *before = str(row["signal"]).split(SEPARATOR)
    seen, expected = float(str(row["seen"])), float(str(row["expected"]))
    if before:
        alike = alike.filter(pl.col("before") == before[0])
    more = seen > expected
    shown = _commonest(alike, ["template", "after"] if before else ["template"], later=more, split=after.start)
    template = shown["template"]
    rows = alike.filter(*(pl.col(name) == value for name, value in shown.items())).sort("ts")
    note = f"about {expected:.0f} are usual"
    if (others := alike.select(list(shown)).unique().height - 1) > 0:
        note = f"with {others} alike: {seen:.0f}, and {note}"
    text = " ".join(template.split())[:120]
    past = float(rows.filter(pl.col("ts") < after.start)["count"].sum())
    now = float(rows.filter(pl.col("ts") >= after.start)["count"].sum())
    what, signal = text, f"{severity} {text}"
    if before:
        what = f"{text} (right after {' '.join(shown['after'].split())[:120]})"
        signal = f"{signal} after {' '.join(shown['after'].split())[:120]}"
    if more and past == 0:
        summary, direction = f"{entity} logs something new, {now:.0f} times: {what}", Direction.APPEARED
    else:
        summary = f"{entity} logs {now:.0f} times since {after.start:%H:%M:%S}, {past:.0f} times before: {what}"
        direction = Direction.UP if more else Direction.VANISHED if now == 0 else Direction.DOWN
    kinds = {FaultKind.ERROR: 0.7, FaultKind.BEHAVIOUR: 0.3} if severe else {FaultKind.BEHAVIOUR: 1.0}
    named = kind_of_text(f"{template} {row.get('example', '')}") if more else None
    if named is not None:
        kinds = {named: 0.8, FaultKind.ERROR: 0.2}
    return facts.counted(
        rows,
        family=FindingFamily.LOG,
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
                for window, number in ((after, now), (average.split.before, past))
            )
        ),
        since=after.start,
        note=note,
        column="count",
    )
