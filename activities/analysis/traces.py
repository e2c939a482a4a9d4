"""What spans say: where time is spent anew, on which edge it is lost, where requests fail, which calls vanish."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from activities.analysis.counts import broken_ratios
from activities.analysis.evidence import Evidence
from activities.analysis.facts import LEAST_STRENGTH, FactMaker, Shift
from activities.analysis.parameters import Parameters
from activities.analysis.splits import Average, Cut, Split, cut, splits_of
from workflows.contracts.finding import Direction, Finding, FindingFamily
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import AllOf, RowCount

SUMS = ["count", "own_errors", "duration_us", "exclusive_us", "gap_us"]
EDGE = ["entity", "operation", "caller", "caller_operation", "peer", "unanswered"]
Slots = dict[tuple[EntityId, str], Average]


def find_in_traces(evidence: Evidence, parameters: Parameters, facts: FactMaker) -> list[Finding]:
    """Findings of the trace family, at most one of each kind per entity.

    Exclusive time per (service, operation, caller) and the gap between a caller's and a callee's span are compared
    with their history in logarithms, with a robust spread; the excess is shared out among all entities, so that
    one slow callee does not accuse its callers.
    """
    recorded = evidence.rows("traces")
    if recorded.is_empty():
        return []
    spans = _numbered(_owned(recorded))
    slots: Slots = {}
    splits = splits_of(evidence, parameters)
    for split in splits:
        sums = cut(spans.rows, ["edge"], SUMS, split, parameters)
        load = _load(spans, sums, split, parameters)
        _slowness(spans, sums, evidence, split, parameters, slots=slots, load=load)
        _surges(load, split, parameters, slots)
        _failures(spans, sums, split, parameters, slots)
        _vanished(spans, sums, split, parameters, slots)
    describe: dict[str, Callable[[EntityId, Average], Finding | None]] = {
        "latency": lambda entity, average: _latency_finding(facts, spans, entity, average),
        "network": lambda entity, average: _gap_finding(facts, spans, entity, average),
        "failure": lambda entity, average: _failure_finding(facts, spans, entity, average),
        "structure": lambda entity, average: _structure_finding(facts, entity, average),
        "surge": lambda entity, average: _surge_finding(facts, spans, entity, average),
    }
    found = []
    for (entity, slot), average in sorted(slots.items(), key=lambda item: item[0]):
        average.total /= len(splits)
        finding = describe[slot](entity, average) if average.total >= LEAST_STRENGTH else None
        if finding is not None:
            found.append(finding)
    return found


@dataclass(frozen=True)
class _Spans:
    """Spans by the number of their edge, so that what is compared again and again are numbers and not names."""

    edges: pl.DataFrame
    """(edge, owner, *EDGE, probe, entered)."""

    rows: pl.DataFrame
    """(edge, ts, *SUMS)."""

    def of(self, row: dict[str, object]) -> pl.DataFrame:
        """Every row of the edge in `row`, by time."""
        edge = self.edges.row(int(str(row["edge"])), named=True)
        return self.rows.filter(pl.col("edge") == row["edge"]).sort("ts").with_columns(probe=pl.lit(edge["probe"]))


def _numbered(spans: pl.DataFrame) -> _Spans:
    keys = ["owner", *EDGE]
    edges = spans.group_by(keys).agg(pl.col("probe").first()).sort(keys).with_row_index("edge")
    # An operation that others call is entered by nobody: its callers' spans are only not finished yet.
    called = (pl.col("caller") != "").any().over("entity", "operation")
    numbered = spans.join(edges.select("edge", *keys), on=keys).select("edge", "ts", *SUMS)
    return _Spans(edges.with_columns(entered=(pl.col("caller") == "") & ~called), numbered)


def _owned(spans: pl.DataFrame) -> pl.DataFrame:
    """Who answers for a row: the peer of a call that left no span there, otherwise the span's own entity."""
    own = spans["entity"].unique().to_list()
    opaque = (pl.col("peer") != "") & ~pl.col("peer").is_in(own)
    lost = (pl.col("peer") != "") & pl.col("unanswered")
    return spans.with_columns(owner=pl.when(opaque | lost).then(pl.col("peer")).otherwise(pl.col("entity")))


def _excess(edges: pl.DataFrame, sums: Cut, column: str, parameters: Parameters) -> pl.DataFrame:
    """Per edge: how much of `column` (microseconds) exceeds its history, weighted by how sure that is."""
    history = (
        sums.before.join(edges.select("edge"), on="edge", how="semi")
        .with_columns(x=(pl.col(column) / pl.col("count") + 1).log())
        .group_by("edge")
        .agg(
            usual=pl.col("x").median(),
            spread=(pl.col("x") - pl.col("x").median()).abs().median() * 1.4826,
            past=pl.col("count").sum(),
        )
        .filter(pl.col("past") >= parameters.least_history)
    )
    joined = sums.after.select("edge", "count", column).join(history, on="edge").join(edges, on="edge")
    variance = (
        pl.col("spread") ** 2
        + parameters.latency_noise**2
        + parameters.latency_sampling**2 * (1 / pl.col("count") + 1 / pl.col("past"))
    )
    moved = (pl.col(column) / pl.col("count") + 1).log() - pl.col("usual")
    squared = (moved / variance.sqrt()).clip(0) ** 2
    base = pl.col("count") * (pl.col("usual").exp() - 1)
    return (
        joined.with_columns(weight=squared / (squared + parameters.latency_knee**2), base=base)
        .with_columns(excess=pl.col("weight") * (pl.col(column) - pl.col("base")).clip(0))
        .sort("owner", *EDGE)
    )


def _load(spans: _Spans, sums: Cut, split: Split, parameters: Parameters) -> dict[EntityId, dict[str, float]]:
    """Requests per entity: how many came after the split, and how many would have at the usual rate.

    `entered` and `usual_entered` count those that no recorded span asked for. The usual rate is that of the pieces of
    history in which anything was recorded.
    """
    if sums.before.is_empty():
        return {}
    pieces = _pieces_recorded(spans, sums, split, parameters)
    after = (split.after.end - split.at) / parameters.chunk
    edges = spans.edges.select("edge", "entity", "entered", inbound=pl.col("caller") != pl.col("entity"))
    figures = [
        pl.col("count").filter(pl.col("inbound")).sum().alias("served"),
        pl.col("count").filter(pl.col("entered")).sum().alias("entered"),
    ]
    before = sums.before.select("edge", "chunk", "count").join(edges, on="edge")
    chunks = before.group_by("entity", "chunk").agg(figures).group_by("entity")
    # The last piece may lack spans that had not ended: where traffic is steady, the median is the better rate.
    usual = chunks.agg(
        pl.max_horizontal(pl.col(name).sum() / pieces, pl.col(name).median()).alias(name)
        for name in ("served", "entered")
    )
    later = sums.after.select("edge", "count").join(edges, on="edge").group_by("entity").agg(figures)
    joined = later.join(usual, on="entity", how="left", suffix="_before").fill_null(0)
    return {
        EntityId(row["entity"]): {
            "served": float(row["served"]),
            "usual": row["served_before"] * after,
            "entered": float(row["entered"]),
            "usual_entered": row["entered_before"] * after,
        }
        for row in joined.iter_rows(named=True)
    }


def _pieces_recorded(spans: _Spans, sums: Cut, split: Split, parameters: Parameters) -> float:
    """Pieces of history in which anything was recorded; the first one only as far as the recording reaches into it."""
    pieces = sums.before["chunk"]
    first = spans.rows["ts"].min()
    last = pieces.max()
    assert isinstance(first, datetime)
    assert isinstance(last, int)
    missing: float = (first - (split.at - (last + 1) * parameters.chunk)) / parameters.chunk
    return max(1e-3, pieces.n_unique() - missing)


def _surges(load: dict[EntityId, dict[str, float]], split: Split, parameters: Parameters, slots: Slots) -> None:
    """Where far more requests enter the system than usual; who only passes them on is not to blame."""
    for name, row in sorted(load.items()):
        more = row["entered"] - row["usual_entered"]
        if more <= 0:
            continue
        noise = math.sqrt(row["usual_entered"] + 1 + (parameters.latency_noise * row["usual_entered"]) ** 2)
        squared = (more / noise) ** 2
        grown = math.log((row["entered"] + 1) / (row["usual_entered"] + 1)) / math.log(parameters.surge_full)
        strength = squared / (squared + parameters.ratio_knee**2) * min(1.0, max(0.0, grown))
        _slot(slots, name, "surge").add(strength, split, dict(row))


def _slowness(
    spans: _Spans,
    sums: Cut,
    evidence: Evidence,
    split: Split,
    parameters: Parameters,
    *,
    slots: Slots,
    load: dict[EntityId, dict[str, float]],
) -> None:
    edges = spans.edges
    own = _waits_shared(_excess(edges, sums, "exclusive_us", parameters), parameters)
    inbound = edges.filter(pl.col("caller") != pl.col("entity"))
    gaps = _excess(inbound.filter(pl.col("caller") != ""), sums, "gap_us", parameters)
    shared, gap_example = _shared_gaps(gaps)
    work = {EntityId(name): value for name, value in own.group_by("owner").agg(pl.col("excess").sum()).iter_rows()}
    example = {EntityId(row["owner"]): row for row in own.sort("excess", maintain_order=True).iter_rows(named=True)}
    total = sum(work.values()) + sum(shared.values())
    if total <= 0:
        return
    slowed = dict(
        own.filter(pl.col("owner") == pl.col("entity")).group_by("owner").agg(pl.col("weight").max()).iter_rows()
    )
    part = {name: (work.get(name, 0.0) + shared.get(name, 0.0)) / total for name in work.keys() | shared.keys()}
    served = _excess(inbound, sums, "duration_us", parameters)
    # What leaves no spans serves nobody visibly; its usual time is that of the waits for it.
    waits = own.filter(pl.col("owner") != pl.col("entity"))
    usual = pl.concat([waits.select("owner", "base"), served.select("owner", "base")])
    base = dict(usual.group_by("owner").agg(pl.col("base").sum()).iter_rows())
    for name in sorted(part):
        behind = max((part.get(other, 0.0) for other in evidence.graph.callees.get(name, ())), default=0.0)
        mine = work.get(name, 0.0) / total * (1 - parameters.explained * behind)
        between = shared.get(name, 0.0) / total
        severity = 1 - math.exp(-(mine + between) * total / (base.get(name, 0.0) + 1.0))
        severity *= _not_for_load(load.get(name), parameters)
        if mine > 0 and name in example:
            _slot(slots, name, "latency").add(severity * math.sqrt(mine), split, example[name])
        if between > 0 and name in gap_example:
            inside = slowed.get(name, 0.0)
            _slot(slots, name, "network").add(
                severity * math.sqrt(between), split, {**gap_example[name], "inside": inside}
            )


def _not_for_load(load: dict[str, float] | None, parameters: Parameters) -> float:
    """The part of a slowdown that more requests than usual do not explain."""
    if load is None:
        return 1.0
    times = (load["served"] + 1) / (load["usual"] + 1)
    return 1.0 if times <= parameters.load_free else parameters.load_free / times


def _waits_shared(own: pl.DataFrame, parameters: Parameters) -> pl.DataFrame:
    """Waits for a callee that left no spans: shared between it and its caller.

    The callee gets them all when every one of its callers waits, and the less the fewer do: then the caller's own
    connections may be what is waited for.
    """
    return _between_ends(own, (pl.col("count") * pl.col("weight")).sum() / pl.col("count").sum(), parameters)


def _between_ends(rows: pl.DataFrame, moved: pl.Expr, parameters: Parameters) -> pl.DataFrame:
    """The `excess` of calls into the dark shared between their ends, by how far all callers of a callee moved."""
    dark = rows.filter(pl.col("owner") != pl.col("entity"))
    if dark.is_empty():
        return rows
    together = (
        dark.group_by("owner", "entity")
        .agg(moved=moved)
        .group_by("owner")
        .agg(together=pl.col("moved").mean() / pl.col("moved").max().clip(1e-9), callers=pl.len())
    )
    alone = parameters.lone_caller_share
    part = pl.when(pl.col("callers") > 1).then(alone + (1 - alone) * pl.col("together")).otherwise(1.0)
    shared = dark.join(together, on="owner").with_columns(part=part)
    callees = shared.with_columns(excess=pl.col("excess") * pl.col("part"))
    callers = shared.with_columns(excess=pl.col("excess") * (1 - pl.col("part")), owner=pl.col("entity"))
    seen = rows.filter(pl.col("owner") == pl.col("entity"))
    return pl.concat([seen, callees.select(rows.columns), callers.select(rows.columns).filter(pl.col("excess") > 0)])


def _given_up(joined: pl.DataFrame, own: list[str], parameters: Parameters) -> pl.DataFrame:
    """Calls that failed although the callee answered, too late or elsewhere: shared with the callee."""
    given_up = (pl.col("owner") == pl.col("entity")) & pl.col("peer").is_in(own) & ~pl.col("unanswered")
    calls = joined.filter(given_up)
    if calls.is_empty():
        return joined
    part = parameters.given_up_share
    callers = calls.with_columns(excess=pl.col("excess") * (1 - part))
    callees = calls.with_columns(excess=pl.col("excess") * part, owner=pl.col("peer"))
    return pl.concat([joined.filter(~given_up), callers, callees])


def _shared_gaps(gaps: pl.DataFrame) -> tuple[dict[EntityId, float], dict[EntityId, dict[str, object]]]:
    """An edge's lost time shared between its ends by how consistently all edges of each end moved."""
    ends = pl.concat(
        [
            gaps.select("count", "weight", end="entity", other="caller"),
            gaps.select("count", "weight", end="caller", other="entity"),
        ]
    )
    consistency = dict(
        ends.group_by("end", "other")
        .agg(moved=(pl.col("count") * pl.col("weight")).sum() / pl.col("count").sum())
        .group_by("end")
        .agg(pl.col("moved").mean())
        .iter_rows()
    )
    shared: dict[EntityId, float] = {}
    example: dict[EntityId, dict[str, object]] = {}
    for row in gaps.sort("excess", maintain_order=True).iter_rows(named=True):
        ends_squared = {name: consistency.get(name, 0.0) ** 2 for name in (row["entity"], row["caller"])}
        whole = sum(ends_squared.values())
        if row["excess"] > 0 and whole > 0:
            for name, value in ends_squared.items():
                shared[EntityId(name)] = shared.get(EntityId(name), 0.0) + row["excess"] * value / whole
                example[EntityId(name)] = row
    return shared, example


def _failures(spans: _Spans, sums: Cut, split: Split, parameters: Parameters, slots: Slots) -> None:
    """Requests that fail where none of their calls failed, above the usual rate."""
    keys = ["owner", *EDGE]
    counted = ["edge", "count", "own_errors"]
    before = sums.before.group_by("edge").agg(pl.col("count").sum(), pl.col("own_errors").sum())
    after = sums.after.select(counted).join(spans.edges, on="edge")
    joined = after.join(before, on="edge", how="left", suffix="_before").fill_null(0).sort(keys)
    usual = (pl.col("own_errors_before") + 0.5) / (pl.col("count_before") + 1)
    joined = joined.with_columns(
        excess=(
            pl.col("own_errors") - pl.when(pl.col("count_before") > 0).then(usual).otherwise(0.0) * pl.col("count")
        ).clip(0)
    )
    joined = _between_ends(joined, pl.col("excess").sum() / pl.col("count").sum(), parameters)
    joined = joined.filter(pl.col("own_errors") > 0)
    joined = _given_up(joined, spans.edges["entity"].unique().to_list(), parameters)
    joined = joined.sort(keys)
    total = float(joined["excess"].sum())
    if total <= 0:
        return
    served = after.filter(pl.col("caller") != pl.col("entity")).group_by("entity").agg(pl.col("count").sum())
    busiest = max((float(count) for count in served["count"]), default=0.0)
    knee = parameters.failure_knee + parameters.failure_share * busiest
    for (name,), rows in joined.group_by("owner", maintain_order=True):
        excess = float(rows["excess"].sum())
        strength = (1 - math.exp(-excess / knee)) * math.sqrt(excess / total)
        row = rows.sort("excess", maintain_order=True).row(-1, named=True)
        _slot(slots, EntityId(str(name)), "failure").add(strength, split, row)


def _vanished(spans: _Spans, sums: Cut, split: Split, parameters: Parameters, slots: Slots) -> None:
    """Calls per operation that kept a constant ratio and no longer do; the caller answers for its path."""
    edges = spans.edges
    calls = edges.filter(pl.col("caller") != "").select(
        "edge",
        owner="caller",
        signal=pl.concat_str("entity", "operation", "caller_operation", separator="\x1f"),
        anchor="caller_operation",
    )
    operations = edges.select("edge", owner="entity", anchor="operation")
    probes = dict(edges.select("entity", "probe").unique().iter_rows())
    lost = _unanswered(spans, sums)
    broken = broken_ratios(
        calls.select("owner", "signal", "anchor").unique(),
        sums.named(calls, "edge", ["owner", "signal"]),
        sums.named(operations, "edge", ["owner", "anchor"]),
        parameters,
    )
    for row in broken.iter_rows(named=True):
        callee, operation, caller_operation = row["signal"].split("\x1f")
        detail = {**row, "callee": callee, "operation": operation, "caller_operation": caller_operation}
        detail |= {"callee_probe": probes.get(callee), "owner_probe": probes.get(row["owner"])}
        strength = row["strength"]
        missing = row["expected"] - row["seen"]
        if missing > 0:
            strength *= 1 - min(1.0, lost.get((row["owner"], caller_operation, callee), 0) / missing)
        _slot(slots, EntityId(row["owner"]), "structure").add(strength, split, detail)


def _unanswered(spans: _Spans, sums: Cut) -> dict[tuple[str, str, str], int]:
    """Calls per (caller, its operation, callee) that were made and got no answer: the caller's path did not change."""
    made = spans.edges.filter(pl.col("unanswered"), pl.col("peer") != "")
    counted = sums.after.join(made, on="edge").group_by("entity", "operation", "peer").agg(pl.col("count").sum())
    return {(entity, operation, peer): count for entity, operation, peer, count in counted.iter_rows()}


def _slot(slots: Slots, entity: EntityId, slot: str) -> Average:
    return slots.setdefault((entity, slot), Average())


def _selection(row: dict[str, object]) -> dict[str, str]:
    chosen = {name: str(row[name]) for name in ("operation", "caller", "caller_operation", "peer")}
    return {**chosen, "unanswered": "true" if row["unanswered"] else "false"}


def _latency_finding(facts: FactMaker, spans: _Spans, entity: EntityId, average: Average) -> Finding | None:
    assert average.split is not None
    row = average.detail
    waiting = bool(row["peer"]) and row["entity"] != entity
    pooled = bool(row["peer"]) and row["entity"] == entity
    what = f"waiting for {row['peer']} in {row['operation']}" if row["peer"] else f"own time of {row['operation']}"
    shift = Shift(
        rows=spans.of(row),
        select=_selection(row),
        column="exclusive_us",
        per="count",
        split=average.split,
    )
    kinds = {FaultKind.LATENCY: 0.7, FaultKind.CPU: 0.2, FaultKind.SATURATION: 0.1}
    if waiting:
        kinds = {FaultKind.LATENCY: 0.6, FaultKind.LOCK: 0.2, FaultKind.SATURATION: 0.2}
    elif pooled:
        kinds = {FaultKind.SATURATION: 0.8, FaultKind.LATENCY: 0.2}
    return facts.shifted(
        shift,
        family=FindingFamily.TRACE,
        entity=entity,
        signal=f"exclusive {row['operation']}",
        what=f"{what} at {row['entity']}",
        unit="ms",
        scale=1e-3,
        strength=average.total,
        fault_kinds=kinds,
        caller=EntityId(str(row["caller"])) if row["caller"] else None,
    )


def _gap_finding(facts: FactMaker, spans: _Spans, entity: EntityId, average: Average) -> Finding | None:
    assert average.split is not None
    row = average.detail
    shift = Shift(
        rows=spans.of(row),
        select=_selection(row),
        column="gap_us",
        per="count",
        split=average.split,
    )
    return facts.shifted(
        shift,
        family=FindingFamily.TRACE,
        entity=entity,
        signal=f"gap {row['caller']} to {row['entity']}",
        what=f"time on the way from {row['caller']} to {row['operation']} at {row['entity']}",
        unit="ms",
        scale=1e-3,
        strength=average.total,
        fault_kinds=_kinds_of_gap(float(str(row["inside"]))),
        caller=EntityId(str(row["caller"])),
    )


def _kinds_of_gap(inside: float) -> dict[FaultKind, float]:
    """Time lost before an answer begins: on the way when the work inside is as quick as ever, else in the process."""
    if inside > 0.5:
        return {FaultKind.LATENCY: 0.8, FaultKind.CPU: 0.1, FaultKind.SATURATION: 0.1}
    return {FaultKind.NETWORK: 0.8, FaultKind.SATURATION: 0.2}


def _failure_finding(facts: FactMaker, spans: _Spans, entity: EntityId, average: Average) -> Finding | None:
    assert average.split is not None
    row = average.detail
    rows = spans.of(row)
    failed, count = int(str(row["own_errors"])), int(str(row["count"]))
    unreached = bool(row["peer"]) and row["entity"] != entity
    pooled = bool(row["peer"]) and bool(row["unanswered"]) and row["entity"] == entity
    what = f"calls of {row['entity']} to {entity}" if unreached else f"requests {row['operation']} at {entity}"
    kinds = {FaultKind.CRASH: 0.6, FaultKind.ERROR: 0.3, FaultKind.LOCK: 0.1} if unreached else {FaultKind.ERROR: 1.0}
    late = unreached and not row["unanswered"]
    if late:
        kinds = {FaultKind.LATENCY: 0.5, FaultKind.ERROR: 0.3, FaultKind.SATURATION: 0.2}
    if pooled:
        kinds = {FaultKind.SATURATION: 0.6, FaultKind.ERROR: 0.4}
    return facts.counted(
        rows,
        family=FindingFamily.TRACE,
        entity=entity,
        signal=f"failing {row['operation']}",
        summary=f"{failed} of {count} {what} fail by themselves"
        if not unreached
        else f"{failed} of {count} {what} fail {'though it answers' if late else 'without an answer'}",
        direction=Direction.APPEARED,
        strength=average.total,
        fault_kinds=kinds,
        predicate=AllOf(
            parts=tuple(
                RowCount(
                    probe_key=rows["probe"][0],
                    select=_selection(row),
                    column=column,
                    window=average.split.after,
                    at_least=number,
                    at_most=number,
                )
                for column, number in (("own_errors", failed), ("count", count))
            )
        ),
        column="own_errors",
        since=average.split.at,
        caller=EntityId(str(row["caller"])) if row["caller"] else None,
    )


def _surge_finding(facts: FactMaker, spans: _Spans, entity: EntityId, average: Average) -> Finding | None:
    assert average.split is not None
    own = spans.rows.join(spans.edges.filter(pl.col("entity") == entity, pl.col("caller") == ""), on="edge")
    busiest = (
        own.filter(pl.col("ts") >= average.split.at)
        .group_by("operation", "peer", "unanswered", "probe")
        .agg(pl.col("count").sum())
    )
    if busiest.is_empty():
        return None
    row = busiest.sort("count", "operation", descending=[True, False]).row(0, named=True)
    expected = float(str(average.detail["usual_entered"]))
    return facts.counted(
        own.filter(pl.col("operation") == row["operation"]).sort("ts"),
        family=FindingFamily.TRACE,
        entity=entity,
        signal=f"enter {row['operation']}",
        summary=f"{row['count']} requests {row['operation']} enter at {entity} since {average.split.at:%H:%M:%S}",
        note=f"about {expected:.0f} of all kinds are usual",
        direction=Direction.UP,
        strength=average.total,
        fault_kinds={FaultKind.TRAFFIC: 1.0},
        predicate=RowCount(
            probe_key=ProbeKey(row["probe"]),
            select={
                "operation": row["operation"],
                "caller": "",
                "peer": row["peer"],
                "unanswered": "true" if row["unanswered"] else "false",
            },
            column="count",
            window=average.split.after,
            at_least=float(row["count"]),
            at_most=float(row["count"]),
        ),
        column="count",
        since=average.split.at,
    )


def _structure_finding(facts: FactMaker, entity: EntityId, average: Average) -> Finding | None:
    assert average.split is not None
    row, after = average.detail, average.split.after
    if row["callee_probe"] is None or row["owner_probe"] is None:
        return None
    seen, anchors = float(str(row["seen"])), float(str(row["anchors"]))
    select = {
        "operation": str(row["operation"]),
        "caller": entity,
        "caller_operation": str(row["caller_operation"]),
    }
    more = seen > float(str(row["expected"]))
    counted = RowCount(
        probe_key=ProbeKey(str(row["callee_probe"])),
        select=select,
        column="count",
        window=after,
        at_least=seen,
        at_most=seen,
    )
    parent = RowCount(
        probe_key=ProbeKey(str(row["owner_probe"])),
        select={"operation": str(row["anchor"])},
        column="count",
        window=after,
        at_least=anchors,
        at_most=anchors,
    )
    return facts.stated(
        family=FindingFamily.TRACE,
        entity=entity,
        signal=f"calls {row['caller_operation']} to {row['operation']}",
        summary=(
            f"{row['caller_operation']} at {entity} makes {seen:.0f} calls of {row['operation']} at {row['callee']} "
            f"in {anchors:.0f} requests"
        ),
        direction=Direction.UP if more else Direction.VANISHED if seen == 0 else Direction.DOWN,
        strength=average.total,
        fault_kinds={FaultKind.BEHAVIOUR: 0.7, FaultKind.ERROR: 0.3},
        predicate=AllOf(parts=(counted, parent)),
        note=f"about {float(str(row['expected'])):.0f} are usual",
    )
