"""What log lines say: templates that appear, vanish or change their share of an operation or of another template."""

from datetime import datetime

import polars as pl

from activities.analysis.counts import best_anchors, broken_ratios
from activities.analysis.evidence import Evidence
from activities.analysis.facts import FactMaker
from activities.analysis.log_kinds import kind_of_text
from activities.analysis.parameters import Parameters
from activities.analysis.splits import Average, splits_of
from workflows.contracts.finding import Direction, Finding, FindingFamily
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import AllOf, RowCount
from workflows.contracts.probe import entity_of

SEPARATOR = "\x1f"
MASK = "<*>"
LEAST_START = 16
"""Characters that a statement must begin with to be recognised by them."""

TEMPLATES_COMPARED = 150
"""Templates per entity that are compared with each other, the most frequent and the newest first."""

SEVERE = frozenset(("warn", "warning", "error", "err", "fatal", "critical", "panic", "severe", "emergency", "alert"))


def find_in_logs(evidence: Evidence, parameters: Parameters, facts: FactMaker) -> list[Finding]:
    """At most one finding per entity and direction of severity: its most surprising template."""
    frames = [
        item.rows.with_columns(owner=pl.lit(entity_of(item.probe)), probe=pl.lit(item.probe.key))
        for item in evidence.of("logs")
        if item.rows.height
    ]
    if not frames:
        return []
    lines = pl.concat(frames).with_columns(signal=pl.concat_str("severity", _statement(), separator=SEPARATOR))
    lines = _most_telling(lines, evidence)
    anchors = pl.concat([lines.select("ts", "count", "owner", anchor="signal"), _operations(evidence)])
    collected: dict[tuple[EntityId, bool], Average] = {}
    splits = splits_of(evidence, parameters)
    signals = lines.select("ts", "count", "owner", "signal")
    signals = signals.join(best_anchors(signals, anchors, splits[0], parameters), on=["owner", "signal"])
    for split in splits:
        strongest: dict[tuple[EntityId, bool], dict[str, object]] = {}
        for row in broken_ratios(signals, anchors, split, parameters).sort("surprise", "signal").iter_rows(named=True):
            severe = str(row["signal"]).partition(SEPARATOR)[0] in SEVERE
            strongest[(EntityId(row["owner"]), severe)] = row
        for key, row in strongest.items():
            squared = float(str(row["surprise"])) ** 2
            strength = squared / (squared + parameters.ratio_knee**2)
            collected.setdefault(key, Average()).add(strength, split, row)
    found = []
    for (entity, severe), average in sorted(collected.items(), key=lambda item: item[0]):
        average.total /= len(splits)
        if average.best > 0:
            found.append(_finding(facts, lines, entity, average, severe=severe))
    return found


def _statement() -> pl.Expr:
    """What a statement of the program writes before its first variable part: many templates may come from one."""
    start = pl.col("template").str.split(MASK).list.first()
    long = start.str.len_chars() >= LEAST_START
    return pl.when(long & (start != pl.col("template"))).then(start + MASK).otherwise(pl.col("template"))


def _most_telling(lines: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """Templates of each entity that can be compared with each other in bounded time."""
    ranked = (
        lines.group_by("owner", "signal")
        .agg(total=pl.col("count").sum(), late=(pl.col("count") * (pl.col("ts") >= evidence.alert_at)).sum())
        .sort("owner", "late", "total", "signal", descending=[False, True, True, False])
        .group_by("owner", maintain_order=True)
        .head(TEMPLATES_COMPARED)
    )
    return lines.join(ranked.select("owner", "signal"), on=["owner", "signal"], how="semi")


def _commonest(alike: pl.DataFrame, *, later: bool, split: datetime) -> str:
    """The template of a statement that occurs most on the side of the split where the statement does."""
    counted = alike.group_by("template").agg(
        side=(pl.col("count") * ((pl.col("ts") >= split) == later)).sum(), total=pl.col("count").sum()
    )
    return str(counted.sort("side", "total", "template", descending=[True, True, False])["template"][0])


def _operations(evidence: Evidence) -> pl.DataFrame:
    """Spans per operation as anchors for templates of the same entity."""
    frames = [
        item.rows.select("ts", "count", owner=pl.lit(entity_of(item.probe)), anchor="operation")
        for item in evidence.of("traces")
        if item.rows.height
    ]
    empty = pl.DataFrame(
        schema={"ts": pl.Datetime("us", "UTC"), "count": pl.Int64, "owner": pl.String, "anchor": pl.String}
    )
    return pl.concat(frames) if frames else empty


def _finding(facts: FactMaker, lines: pl.DataFrame, entity: EntityId, average: Average, *, severe: bool) -> Finding:
    assert average.split is not None
    row, after = average.detail, average.split.after
    severity, _, _ = str(row["signal"]).partition(SEPARATOR)
    seen, expected = float(str(row["seen"])), float(str(row["expected"]))
    alike = lines.filter(pl.col("owner") == entity, pl.col("signal") == row["signal"])
    more = seen > expected
    template = _commonest(alike, later=more, split=after.start)
    rows = alike.filter(pl.col("template") == template).sort("ts")
    note = f"about {expected:.0f} are usual"
    if (others := alike["template"].n_unique() - 1) > 0:
        note = f"with {others} alike: {seen:.0f}, and {note}"
    text = " ".join(template.split())[:120]
    past = float(rows.filter(pl.col("ts") < after.start)["count"].sum())
    now = float(rows.filter(pl.col("ts") >= after.start)["count"].sum())
    if more and past == 0:
        summary, direction = f"{entity} logs something new, {now:.0f} times: {text}", Direction.APPEARED
    else:
        summary = f"{entity} logs {now:.0f} times since {after.start:%H:%M:%S}, {past:.0f} times before: {text}"
        direction = Direction.UP if more else Direction.VANISHED if now == 0 else Direction.DOWN
    kinds = {FaultKind.ERROR: 0.7, FaultKind.BEHAVIOUR: 0.3} if severe else {FaultKind.BEHAVIOUR: 1.0}
    named = kind_of_text(f"{template} {row.get('example', '')}") if more else None
    if named is not None:
        kinds = {named: 0.8, FaultKind.ERROR: 0.2}
    return facts.counted(
        rows,
        family=FindingFamily.LOG,
        entity=entity,
        signal=f"{severity} {text}",
        summary=summary,
        direction=direction,
        strength=average.total,
        fault_kinds=kinds,
        predicate=AllOf(
            parts=tuple(
                RowCount(
                    probe_key=ProbeKey(rows["probe"][0]),
                    select={"severity": severity, "template": template},
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
