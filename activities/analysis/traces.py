"""What spans say: where time is spent anew, on which edge it is lost, where requests fail, which calls vanish."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from activities.analysis.change_points import Average, ChangePoint, PrePostSums, median_of, moment_of
from activities.analysis.evidence import Evidence, Matrix, Numbered, Numbers
from activities.analysis.finding_factory import LEAST_STRENGTH, FindingFactory, Shift
from activities.analysis.invariants import counted, invariant_violations, numbers_in
from activities.analysis.parameters import Parameters
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, ProbeKey
from workflows.contracts.predicate import AllOf, RowCount

SUMS = ["count", "originating_errors", "duration_us", "self_us", "gap_us"]
EDGE = ["entity", "operation", "caller", "caller_operation", "peer", "unanswered"]
Slots = dict[tuple[EntityId, str], Average]


def numbered_spans(evidence: Evidence) -> Numbered:
    """Every answer about spans, by edge."""
    return evidence.numbered("traces", EDGE[1:], SUMS)


def find_in_traces(
    evidence: Evidence,
    recorded: Numbered,
    change_points: list[ChangePoint],
    parameters: Parameters,
    factory: FindingFactory,
) -> list[Finding]:
    """Findings of the trace family, at most one of each kind per entity.

    Exclusive time per (service, operation, caller) and the gap between a caller's and a callee's span are compared
    with their history in logarithms, with a robust spread; the excess is shared out among all entities, so that
    one slow callee does not accuse its callers.
    """
    spans = _read(recorded)
    if spans.edges.is_empty():
        return []
    slots: Slots = {}
    for change_point in change_points:
        sums = _Sums(spans, change_point)
        load = _load(spans, sums, change_point)
        _slowness(spans, sums, evidence, change_point, parameters, slots=slots, load=load)
        _surges(load, change_point, parameters, slots)
        _failures(spans, sums, change_point, parameters, slots)
        _vanished(spans, sums, change_point, parameters, slots)
    describe: dict[str, Callable[[EntityId, Average], Finding | None]] = {
        "latency": lambda entity, average: _latency_finding(factory, spans, entity, average),
        "network": lambda entity, average: _gap_finding(factory, spans, entity, average),
        "failure": lambda entity, average: _failure_finding(factory, spans, entity, average),
        "structure": lambda entity, average: _structure_finding(factory, entity, average),
        "surge": lambda entity, average: _surge_finding(factory, spans, entity, average),
    }
    found = []
    for (entity, slot), average in sorted(slots.items(), key=lambda item: item[0]):
        average.total /= len(change_points)
        finding = describe[slot](entity, average) if average.total >= LEAST_STRENGTH else None
        if finding is not None:
            found.append(finding)
    return found


@dataclass(frozen=True)
class _Spans:
    """Spans by the number of their edge."""

    edges: pl.DataFrame
    """(number, owner, *EDGE, probe, entered), by number."""

    rows: Numbered

    calls: pl.DataFrame
    """(signal, reference, owner, callee, operation, caller_operation, callee_probe, owner_probe): calls that an
    operation of `owner` makes, with the number of that operation."""

    call: Numbers
    """The signal of each edge; -1 for those that no other operation asked for."""

    operation: Numbers
    """The reference of each edge: the operation it is of."""

    operations: int

    def of(self, row: dict[str, object]) -> pl.DataFrame:
        """Every row of the edge in `row`, by time."""
        number = int(str(row["number"]))
        probe = self.edges.row(number, named=True)["probe"]
        return self.rows.rows([number]).with_columns(probe=pl.lit(probe))


class _Sums:
    """Sums per edge on both sides of a change point."""

    def __init__(self, spans: _Spans, change_point: ChangePoint) -> None:
        """Assign the rows of `spans` to both sides."""
        self.cut = PrePostSums(spans.rows, change_point)
        self._every = np.arange(spans.edges.height)

    def before(self, column: str) -> Matrix:
        """Per edge and bucket of history."""
        return self.cut.pre_by_bucket(column, self._every, len(self._every))

    def past(self, column: str) -> Matrix:
        """Per edge, over all of the history."""
        return self.cut.pre(column, self._every, len(self._every))

    def after(self, column: str) -> Matrix:
        """Per edge, since the change point."""
        return self.cut.post(column, self._every, len(self._every))

    @cached_property
    def count(self) -> Matrix:
        """Spans per edge and bucket of history."""
        return self.before("count")


def _read(found: Numbered) -> _Spans:
    # An operation that others call is entered by nobody: its callers' spans are only not finished yet.
    called = (pl.col("caller") != "").any().over("entity", "operation")
    edges = _owned(found.names).with_columns(entered=(pl.col("caller") == "") & ~called)
    operations = edges.select("entity", "operation").unique().sort("entity", "operation").with_row_index("reference")
    probes = edges.select("entity", "probe").unique("entity", maintain_order=True)
    keys = ["owner", "callee", "operation", "caller_operation"]
    calls = (
        edges.filter(pl.col("caller") != "")
        .select("operation", "caller_operation", owner="caller", callee="entity")
        .unique()
        .join(operations.rename({"entity": "owner", "operation": "caller_operation"}), on=["owner", "caller_operation"])
        .join(probes.select(callee="entity", callee_probe="probe"), on="callee")
        .join(probes.select(owner="entity", owner_probe="probe"), on="owner")
        .sort(keys)
        .with_row_index("signal")
        .with_columns(pl.col("signal", "reference").cast(pl.Int64))
    )
    return _Spans(
        edges=edges,
        rows=found,
        calls=calls,
        call=numbers_in(
            calls,
            "signal",
            edges.with_columns(caller=pl.when(pl.col("caller") != "").then("caller")),
            {"caller": "owner", "entity": "callee", "operation": "operation", "caller_operation": "caller_operation"},
        ),
        operation=numbers_in(operations, "reference", edges, {"entity": "entity", "operation": "operation"}),
        operations=operations.height,
    )


def _owned(spans: pl.DataFrame) -> pl.DataFrame:
    """Who answers for a row: the peer of a call that left no span there, otherwise the span's own entity."""
    own = spans["entity"].unique().to_list()
    opaque = (pl.col("peer") != "") & ~pl.col("peer").is_in(own)
    lost = (pl.col("peer") != "") & pl.col("unanswered")
    return spans.with_columns(owner=pl.when(opaque | lost).then(pl.col("peer")).otherwise(pl.col("entity")))


def _excess(edges: pl.DataFrame, sums: _Sums, column: str, parameters: Parameters) -> pl.DataFrame:
    """Per edge: how much of `column` (microseconds) exceeds its history, weighted by how sure that is."""
    number = edges["number"].to_numpy()
    count, now, spent = sums.count[number], sums.after("count")[number], sums.after(column)[number]
    past = count.sum(axis=1)
    known = (past >= parameters.least_history) & (now > 0) & (past > 0)
    number, count, now, spent, past = number[known], count[known], now[known], spent[known], past[known]
    seen = count > 0
    levels = np.log(np.divide(sums.before(column)[number], count, out=np.full(count.shape, np.nan), where=seen) + 1)
    usual = median_of(levels, seen.sum(axis=1))
    spread = 1.4826 * median_of(np.abs(levels - usual[:, None]), seen.sum(axis=1))
    variance = spread**2 + parameters.noise_floor**2 + parameters.latency_sampling**2 * (1 / now + 1 / past)
    squared = np.clip((np.log(spent / now + 1) - usual) / np.sqrt(variance), 0, None) ** 2
    weight = squared / (squared + parameters.half_saturation**2)
    base = now * (np.exp(usual) - 1)
    excess = weight * np.clip(spent - base, 0, None)
    return (
        edges.filter(pl.Series(known))
        .with_columns(count=pl.Series(now), weight=pl.Series(weight), base=pl.Series(base), excess=pl.Series(excess))
        .sort("owner", *EDGE)
    )


def _load(spans: _Spans, sums: _Sums, change_point: ChangePoint) -> dict[EntityId, dict[str, float]]:
    """Requests per entity: how many came after the change point, and how many would have at the usual rate.

    `entered` and `usual_entered` count those that no recorded span asked for. The usual rate is that of the buckets of
    history in which anything was recorded.
    """
    if not sums.count.any():
        return {}
    buckets, after = (
        _buckets_recorded(spans, sums, change_point),
        (change_point.post.end - change_point.at) / change_point.bucket,
    )
    entities = spans.edges["entity"].unique().sort()
    entity = numbers_in(entities.to_frame().with_row_index(), "index", spans.edges, {"entity": "entity"})
    present = sums.cut.pre_by_bucket("count", entity, len(entities)) > 0
    load: dict[EntityId, dict[str, float]] = {EntityId(name): {} for name in entities}
    inbound = (spans.edges["caller"] != spans.edges["entity"]).to_numpy()
    for name, counts in (("served", inbound), ("entered", spans.edges["entered"].to_numpy())):
        thing = np.where(counts, entity, -1)
        before, later = (
            sums.cut.pre_by_bucket("count", thing, len(entities)),
            sums.cut.post("count", thing, len(entities)),
        )
        # The last bucket may lack spans that had not ended: where traffic is steady, the median is the better rate.
        usual = median_of(np.where(present, before, np.nan), present.sum(axis=1))
        usual = np.maximum(before.sum(axis=1) / buckets, np.nan_to_num(usual)) * after
        for row, one in enumerate(load.values()):
            one[name] = float(later[row])
            one["usual" if name == "served" else f"usual_{name}"] = float(usual[row])
    now = sums.cut.post("count", entity, len(entities)) > 0
    return {name: one for (name, one), any_now in zip(load.items(), now, strict=True) if any_now}


def _buckets_recorded(spans: _Spans, sums: _Sums, change_point: ChangePoint) -> float:
    """Pieces of history in which anything was recorded; the first one only as far as the recording reaches into it."""
    recorded = np.nonzero(sums.count.any(axis=0))[0]
    first = moment_of(spans.rows.at.min())
    missing: float = (first - (change_point.at - (int(recorded[-1]) + 1) * change_point.bucket)) / change_point.bucket
    return max(1e-3, len(recorded) - missing)


def _surges(
    load: dict[EntityId, dict[str, float]], change_point: ChangePoint, parameters: Parameters, slots: Slots
) -> None:
    """Where far more requests enter the system than usual; who only passes them on is not to blame."""
    for name, row in sorted(load.items()):
        more = row["entered"] - row["usual_entered"]
        if more <= 0:
            continue
        noise = math.sqrt(row["usual_entered"] + 1 + (parameters.noise_floor * row["usual_entered"]) ** 2)
        squared = (more / noise) ** 2
        grown = math.log((row["entered"] + 1) / (row["usual_entered"] + 1)) / math.log(parameters.surge_full)
        strength = squared / (squared + parameters.half_saturation**2) * min(1.0, max(0.0, grown))
        _slot(slots, name, "surge").add(strength, change_point, dict(row))


def _slowness(
    spans: _Spans,
    sums: _Sums,
    evidence: Evidence,
    change_point: ChangePoint,
    parameters: Parameters,
    *,
    slots: Slots,
    load: dict[EntityId, dict[str, float]],
) -> None:
    edges = spans.edges
    own = _waits_shared(_excess(edges, sums, "self_us", parameters), parameters)
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
            _slot(slots, name, "latency").add(severity * math.sqrt(mine), change_point, example[name])
        if between > 0 and name in gap_example:
            inside = slowed.get(name, 0.0)
            _slot(slots, name, "network").add(
                severity * math.sqrt(between), change_point, {**gap_example[name], "inside": inside}
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
    """The `excess` of calls of uninstrumented callees, shared between both ends by how far all callers moved."""
    uninstrumented = rows.filter(pl.col("owner") != pl.col("entity"))
    if uninstrumented.is_empty():
        return rows
    together = (
        uninstrumented.group_by("owner", "entity")
        .agg(moved=moved)
        .group_by("owner")
        .agg(together=pl.col("moved").mean() / pl.col("moved").max().clip(1e-9), callers=pl.len())
    )
    alone = parameters.lone_caller_share
    part = pl.when(pl.col("callers") > 1).then(alone + (1 - alone) * pl.col("together")).otherwise(1.0)
    shared = uninstrumented.join(together, on="owner").with_columns(part=part)
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
    part = parameters.half_confidence
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


def _failures(spans: _Spans, sums: _Sums, change_point: ChangePoint, parameters: Parameters, slots: Slots) -> None:
    """Requests that fail where none of their calls failed, above the usual rate."""
    keys = ["owner", *EDGE]
    after = spans.edges.with_columns(
        count=pl.Series(sums.after("count")).cast(pl.Int64),
        originating_errors=pl.Series(sums.after("originating_errors")).cast(pl.Int64),
        count_before=pl.Series(sums.past("count")),
        originating_errors_before=pl.Series(sums.past("originating_errors")),
    ).filter(pl.col("count") > 0)
    joined = after.sort(keys)
    usual = (pl.col("originating_errors_before") + 0.5) / (pl.col("count_before") + 1)
    joined = joined.with_columns(
        excess=(
            pl.col("originating_errors")
            - pl.when(pl.col("count_before") > 0).then(usual).otherwise(0.0) * pl.col("count")
        ).clip(0)
    )
    joined = _between_ends(joined, pl.col("excess").sum() / pl.col("count").sum(), parameters)
    joined = joined.filter(pl.col("originating_errors") > 0)
    joined = _given_up(joined, spans.edges["entity"].unique().to_list(), parameters)
    joined = joined.sort(keys)
    total = float(joined["excess"].sum())
    if total <= 0:
        return
    served = after.filter(pl.col("caller") != pl.col("entity")).group_by("entity").agg(pl.col("count").sum())
    busiest = max((float(count) for count in served["count"]), default=0.0)
    knee = parameters.failure_scale + parameters.failure_share * busiest
    for (name,), rows in joined.group_by("owner", maintain_order=True):
        excess = float(rows["excess"].sum())
        strength = (1 - math.exp(-excess / knee)) * math.sqrt(excess / total)
        row = rows.sort("excess", maintain_order=True).row(-1, named=True)
        _slot(slots, EntityId(str(name)), "failure").add(strength, change_point, row)


def _vanished(spans: _Spans, sums: _Sums, change_point: ChangePoint, parameters: Parameters, slots: Slots) -> None:
    """Calls per operation that kept a constant ratio and no longer do; the caller answers for its path."""
    violated = invariant_violations(
        spans.calls.select("signal", "reference"),
        counted(sums.cut, spans.call, spans.calls.height),
        counted(sums.cut, spans.operation, spans.operations),
        parameters,
    ).join(spans.calls.drop("reference"), on="signal")
    missing = pl.col("expected") - pl.col("seen")
    lost = (pl.col("lost").fill_null(0) / missing).clip(0, 1)
    path = ["owner", "caller_operation", "callee"]
    found = (
        violated.join(_unanswered(spans, sums), on=path, how="left")
        .with_columns(strength=pl.col("strength") * pl.when(missing > 0).then(1 - lost).otherwise(1.0))
        .sort("owner", "strength", "signal", descending=[False, True, False])
        .with_columns(total=pl.col("strength").sum().over("owner"))
        .unique("owner", keep="first", maintain_order=True)
    )
    for row in found.iter_rows(named=True):
        _slot(slots, EntityId(row["owner"]), "structure").add(row["total"], change_point, row)


def _unanswered(spans: _Spans, sums: _Sums) -> pl.DataFrame:
    """Calls (owner, caller_operation, callee, lost) that were made and got no answer: their path did not change."""
    counted_now = spans.edges.with_columns(count=pl.Series(sums.after("count")))
    return (
        counted_now.filter(pl.col("unanswered"), pl.col("peer") != "", pl.col("count") > 0)
        .group_by(owner="entity", caller_operation="operation", callee="peer")
        .agg(lost=pl.col("count").sum())
    )


def _slot(slots: Slots, entity: EntityId, slot: str) -> Average:
    return slots.setdefault((entity, slot), Average())


def _selection(row: dict[str, object]) -> dict[str, str]:
    chosen = {name: str(row[name]) for name in ("operation", "caller", "caller_operation", "peer")}
    return {**chosen, "unanswered": "true" if row["unanswered"] else "false"}


def _latency_finding(factory: FindingFactory, spans: _Spans, entity: EntityId, average: Average) -> Finding | None:
    assert average.change_point is not None
    row = average.detail
    waiting = bool(row["peer"]) and row["entity"] != entity
    pooled = bool(row["peer"]) and row["entity"] == entity
    what = f"waiting for {row['peer']} in {row['operation']}" if row["peer"] else f"own time of {row['operation']}"
    shift = Shift(
        rows=spans.of(row),
        select=_selection(row),
        column="self_us",
        per="count",
        change_point=average.change_point,
    )
    kinds = {FaultKind.LATENCY: 0.7, FaultKind.CPU: 0.2, FaultKind.SATURATION: 0.1}
    if waiting:
        kinds = {FaultKind.LATENCY: 0.6, FaultKind.LOCK: 0.2, FaultKind.SATURATION: 0.2}
    elif pooled:
        kinds = {FaultKind.SATURATION: 0.8, FaultKind.LATENCY: 0.2}
    return factory.shifted(
        shift,
        family=FindingFamily.TRACE,
        mechanism=Mechanism.SELF_TIME_RISE,
        entity=entity,
        signal=str(row["operation"]),
        what=f"{what} at {row['entity']}",
        unit="ms",
        scale=1e-3,
        strength=average.total,
        fault_kinds=kinds,
        caller=EntityId(str(row["caller"])) if row["caller"] else None,
    )


def _gap_finding(factory: FindingFactory, spans: _Spans, entity: EntityId, average: Average) -> Finding | None:
    assert average.change_point is not None
    row = average.detail
    shift = Shift(
        rows=spans.of(row),
        select=_selection(row),
        column="gap_us",
        per="count",
        change_point=average.change_point,
    )
    return factory.shifted(
        shift,
        family=FindingFamily.TRACE,
        mechanism=Mechanism.NETWORK_TIME_RISE,
        entity=entity,
        signal=f"{row['caller']} to {row['entity']}",
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


def _failure_finding(factory: FindingFactory, spans: _Spans, entity: EntityId, average: Average) -> Finding | None:
    assert average.change_point is not None
    row = average.detail
    rows = spans.of(row)
    failed, count = int(str(row["originating_errors"])), int(str(row["count"]))
    unreached = bool(row["peer"]) and row["entity"] != entity
    pooled = bool(row["peer"]) and bool(row["unanswered"]) and row["entity"] == entity
    what = f"calls of {row['entity']} to {entity}" if unreached else f"requests {row['operation']} at {entity}"
    kinds = {FaultKind.CRASH: 0.6, FaultKind.ERROR: 0.3, FaultKind.LOCK: 0.1} if unreached else {FaultKind.ERROR: 1.0}
    late = unreached and not row["unanswered"]
    if late:
        kinds = {FaultKind.LATENCY: 0.5, FaultKind.ERROR: 0.3, FaultKind.SATURATION: 0.2}
    if pooled:
        kinds = {FaultKind.SATURATION: 0.6, FaultKind.ERROR: 0.4}
    return factory.counted(
        rows,
        family=FindingFamily.TRACE,
        mechanism=Mechanism.ORIGINATING_ERRORS,
        entity=entity,
        signal=str(row["operation"]),
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
                    window=average.change_point.post,
                    at_least=number,
                    at_most=number,
                )
                for column, number in (("originating_errors", failed), ("count", count))
            )
        ),
        column="originating_errors",
        since=average.change_point.at,
        caller=EntityId(str(row["caller"])) if row["caller"] else None,
    )


def _surge_finding(factory: FindingFactory, spans: _Spans, entity: EntityId, average: Average) -> Finding | None:
    change_point = average.change_point
    assert change_point is not None
    edges = spans.edges.filter(pl.col("entity") == entity, pl.col("caller") == "")
    own = spans.rows.rows(edges["number"]).join(edges, on="number")
    busiest = (
        own.filter(pl.col("ts") >= change_point.at)
        .group_by("operation", "peer", "unanswered", "probe")
        .agg(pl.col("count").sum())
    )
    if busiest.is_empty():
        return None
    row = busiest.sort("count", "operation", descending=[True, False]).row(0, named=True)
    expected = float(str(average.detail["usual_entered"]))
    return factory.counted(
        own.filter(pl.col("operation") == row["operation"]).sort("ts"),
        family=FindingFamily.TRACE,
        mechanism=Mechanism.LOAD_SURGE,
        entity=entity,
        signal=str(row["operation"]),
        summary=f"{row['count']} requests {row['operation']} enter at {entity} since {change_point.at:%H:%M:%S}",
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
            window=change_point.post,
            at_least=float(row["count"]),
            at_most=float(row["count"]),
        ),
        column="count",
        since=change_point.at,
    )


def _structure_finding(factory: FindingFactory, entity: EntityId, average: Average) -> Finding | None:
    assert average.change_point is not None
    row, after = average.detail, average.change_point.post
    seen, references = float(str(row["seen"])), float(str(row["references"]))
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
        select={"operation": str(row["caller_operation"])},
        column="count",
        window=after,
        at_least=references,
        at_most=references,
    )
    return factory.stated(
        family=FindingFamily.TRACE,
        mechanism=Mechanism.EXTRA_CALL if more else Mechanism.MISSING_CALL,
        entity=entity,
        signal=f"{row['caller_operation']} to {row['operation']}",
        summary=(
            f"{row['caller_operation']} at {entity} makes {seen:.0f} calls of {row['operation']} at {row['callee']} "
            f"in {references:.0f} requests"
        ),
        direction=Direction.UP if more else Direction.VANISHED if seen == 0 else Direction.DOWN,
        strength=average.total,
        fault_kinds={FaultKind.BEHAVIOUR: 0.7, FaultKind.ERROR: 0.3},
        predicate=AllOf(parts=(counted, parent)),
        note=f"about {float(str(row['expected'])):.0f} are usual",
    )
