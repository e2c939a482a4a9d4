"""What log lines say: templates that appear, vanish or change their share of an operation or of another template."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from activities.analysis.counts import best_anchors, broken_ratios
from activities.analysis.evidence import Evidence
from activities.analysis.facts import LEAST_STRENGTH, FactMaker
from activities.analysis.log_kinds import kind_of_text
from activities.analysis.parameters import Parameters
from activities.analysis.splits import Average, Cut, Split, cut, splits_of
from activities.answers import TIMESTAMP
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
    lines = _numbered(evidence)
    if lines.rows.is_empty():
        return []
    collected: dict[tuple[EntityId, bool], Average] = {}
    splits = splits_of(evidence, parameters)
    pairs: pl.DataFrame | None = None
    for split in splits:
        sums = cut(lines.rows, ["line"], ["count"], split, parameters)
        signals, anchors = _signals(lines, sums, split, parameters)
        if pairs is None:
            pairs = best_anchors(signals, anchors, parameters)
        signs = [
            broken_ratios(pairs, signals, anchors, parameters),
            _broken_order(lines.names, sums, parameters),
            _speaking_errors(lines.names, sums, split, parameters),
        ]
        for key, row in _strongest(signs).items():
            collected.setdefault(key, Average()).add(float(str(row["strength"])), split, row)
    for average in collected.values():
        average.total /= len(splits)
    return _told(facts, lines, {key: item for key, item in collected.items() if item.total >= LEAST_STRENGTH})


@dataclass(frozen=True)
class _Lines:
    """Lines by the number of their template, so that what is compared again and again are numbers and not texts."""

    names: pl.DataFrame
    """(line, owner, severity, template, after, probe, example), and what stands for them in comparisons: `statement`,
    `before` (that of the line before; null where it is not told), `signal` (severity and statement), `step` (both and
    the statement before)."""

    rows: pl.DataFrame
    """(line, ts, count)."""

    operations: pl.DataFrame
    """(number, owner, anchor): operations of spans, which templates of the same entity may follow."""

    spans: pl.DataFrame
    """(number, ts, count)."""


def _signals(lines: _Lines, sums: Cut, split: Split, parameters: Parameters) -> tuple[Cut, Cut]:
    """Counts per template, and of all that may predict them: other templates and operations."""
    signals = sums.named(lines.names, "line", ["owner", "signal"])
    templates = sums.named(lines.names.with_columns(anchor="signal"), "line", ["owner", "anchor"])
    spans = cut(lines.spans, ["number"], ["count"], split, parameters)
    operations = spans.named(lines.operations, "number", ["owner", "anchor"])
    anchors = Cut(
        before=pl.concat([templates.before, operations.before.select(templates.before.columns)]),
        after=pl.concat([templates.after, operations.after.select(templates.after.columns)]),
    )
    return signals, anchors


def _broken_order(names: pl.DataFrame, sums: Cut, parameters: Parameters) -> pl.DataFrame:
    """Statements that used to follow another always or never within a request, and no longer do."""
    told = names.filter(pl.col("before").is_not_null())
    steps = told.filter(pl.col("before") != "").select(
        "line", "owner", signal="step", anchor=pl.lit(AFTER) + pl.col("before")
    )
    befores = told.select("line", "owner", anchor=pl.lit(AFTER) + pl.col("statement"))
    return broken_ratios(
        steps.drop("line").unique(),
        sums.named(steps, "line", ["owner", "signal"]),
        sums.named(befores, "line", ["owner", "anchor"]),
        parameters,
        parts=True,
    )


def _strongest(signs: list[pl.DataFrame]) -> dict[tuple[EntityId, bool], dict[str, object]]:
    """The strongest sign per entity and whether it is severe."""
    ordered = pl.concat(signs, how="diagonal").sort("strength", "signal")
    return {
        (EntityId(row["owner"]), str(row["signal"]).partition(SEPARATOR)[0] in SEVERE): row
        for row in ordered.iter_rows(named=True)
    }


def _told(facts: FactMaker, lines: _Lines, collected: dict[tuple[EntityId, bool], Average]) -> list[Finding]:
    """Findings of what is worth telling; only its rows are looked at again."""
    told = sorted(collected)
    signals = [SEPARATOR.join(str(collected[key].detail["signal"]).split(SEPARATOR)[:2]) for key in told]
    wanted = pl.DataFrame(
        {"owner": [entity for entity, _ in told], "signal": signals}, schema={"owner": pl.String, "signal": pl.String}
    )
    names = lines.names.join(wanted.unique(), on=["owner", "signal"], how="semi")
    templates = names.partition_by("owner", "signal", as_dict=True)
    counts = lines.rows.join(names.select("line"), on="line", how="semi").partition_by("line", as_dict=True)
    found = []
    for (entity, severe), signal in zip(told, signals, strict=True):
        alike = templates[entity, signal]
        occurred = pl.concat([counts[(line,)] for line in alike["line"]]).join(alike, on="line")
        found.append(_finding(facts, occurred, entity, collected[entity, severe], severe=severe))
    return found


def _numbered(evidence: Evidence) -> _Lines:
    """Every answer about lines; answers of earlier versions do not tell what a line came after."""
    lines = evidence.rows("logs").rename({"entity": "owner"})
    keys = ["owner", "severity", "template", "after"]
    names = lines.group_by(keys).agg(pl.col("probe").first(), pl.col("example").min()).sort(keys)
    names = names.with_row_index("line").with_columns(statement=_statement("template"), before=_statement("after"))
    names = names.with_columns(
        signal=pl.concat_str("severity", "statement", separator=SEPARATOR),
        step=pl.concat_str("severity", "statement", "before", separator=SEPARATOR),
    )
    rows = lines.join(names.select("line", *keys), on=keys, nulls_equal=True).select("line", "ts", "count")
    return _Lines(_most_telling(names, rows, evidence), rows, *_operations(evidence))


def _speaking_errors(names: pl.DataFrame, sums: Cut, split: Split, parameters: Parameters) -> pl.DataFrame:
    """Errors whose text names a kind of fault need no ratio: each one more than usual in the time counts."""
    severe = names.filter(pl.col("severity").is_in(list(SEVERE)))
    texts = severe.select(pl.concat_str("template", pl.lit(" "), "example")).to_series()
    named = pl.Series([kind_of_text(text) is not None for text in texts], dtype=pl.Boolean)
    counted = sums.named(severe.filter(named), "line", ["owner", "signal"])
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
