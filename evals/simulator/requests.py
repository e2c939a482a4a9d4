"""Requests one by one, where there are traces or logs: spans of drawn traces, and lines of what goes wrong."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from evals.simulator.instrumentation import Measured, entity_of, pod_of
from workflows.contracts.identifiers import EntityId

MOST_TRACES, MOST_SPANS = 2_500, 60_000
Numbers = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class _Spans:
    """Columns of one generation of spans."""

    trace: Numbers
    parent: Numbers
    component: Numbers
    start: npt.NDArray[np.float64]
    """In steps."""

    link: Numbers
    """The call that this is the answer to; -1 for people's requests."""


def spans(measured: Measured) -> pl.DataFrame:
    """Spans of drawn traces, `ts` in seconds from the beginning."""
    system, course, rng = measured.system, measured.course, measured.rng
    steps = len(measured.disturbance.rate)
    entry_rate = course.rate[:, list(system.entries)]
    total = entry_rate.sum() * measured.seconds
    count = int(min(MOST_TRACES, max(total, 1)))
    chosen = rng.choice(entry_rate.size, size=count, p=(entry_rate / entry_rate.sum()).ravel())
    start = chosen // entry_rate.shape[1] + rng.random(count)
    first = _Spans(
        trace=np.arange(count),
        parent=np.full(count, -1),
        component=np.array(system.entries)[chosen % entry_rate.shape[1]],
        start=start,
        link=np.full(count, -1),
    )
    generations, size, begin = [first], count, [0]
    while len(generations[-1].trace) and size < MOST_SPANS:
        begin.append(size)
        generations.append(_called(measured, generations[-1], begin[-2]))
        size += len(generations[-1].trace)
    return _rows(measured, generations, steps)


def _called(measured: Measured, above: _Spans, first: int) -> _Spans:
    """The calls that these spans make."""
    steps = len(measured.disturbance.rate)
    parts: list[tuple[Numbers, Numbers]] = []
    index = np.minimum(above.start.astype(int), steps - 1)
    alive = (above.link < 0) | (measured.disturbance.down[index, above.component] < 1)
    for number, link in enumerate(measured.system.links):
        callers = np.flatnonzero((above.component == link.caller) & alive)
        if len(callers):
            times = np.floor(link.calls + measured.rng.random(len(callers))).astype(int)
            parts.append((np.repeat(callers, times), np.full(int(times.sum()), number)))
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return _Spans(trace=empty, parent=empty, component=empty, start=np.zeros(0), link=empty)
    callers = np.concatenate([caller for caller, _ in parts])
    links = np.concatenate([link for _, link in parts])
    callee = np.array([link.callee for link in measured.system.links])
    return _Spans(
        trace=above.trace[callers],
        parent=callers + first,
        component=callee[links],
        start=above.start[callers],
        link=links,
    )


def _rows(measured: Measured, generations: list[_Spans], steps: int) -> pl.DataFrame:
    """Server spans of services, client spans of calls; times and failures from the leaves to the roots."""
    system, course, what, rng = measured.system, measured.course, measured.disturbance, measured.rng
    trace = np.concatenate([item.trace for item in generations])
    parent = np.concatenate([item.parent for item in generations])
    component = np.concatenate([item.component for item in generations])
    start = np.concatenate([item.start for item in generations])
    link = np.concatenate([item.link for item in generations])
    step = np.minimum(start.astype(int), steps - 1)
    own = course.own_ms[step, component] * rng.lognormal(-0.125, 0.5, len(trace))
    served, client = own.copy(), np.zeros(len(trace))
    failed = rng.random(len(trace)) < course.own_failed[step, component]
    down = what.down[step, component] >= 1
    refused = down | (rng.random(len(trace)) < what.refused[step, component])
    lost = ~refused & (rng.random(len(trace)) < what.lost[step, component])
    client_failed = np.zeros(len(trace), dtype=bool)
    timeouts = np.array([item.timeout_ms for item in system.links] or [0.0])
    critical = np.array([item.critical for item in system.links] or [0.0])
    sizes = np.cumsum([0, *(len(item.trace) for item in generations)])
    for number in reversed(range(1, len(generations))):
        rows = np.arange(sizes[number], sizes[number + 1])
        limit = timeouts[link[rows]]
        taken = served[rows] + 0.5 + what.far_ms[step[rows], component[rows]]
        taken = np.where(refused[rows], 1.0, np.where(lost[rows], limit, np.minimum(taken, limit)))
        client[rows] = taken
        wrong = refused[rows] | lost[rows] | failed[rows] | (taken >= limit)
        client_failed[rows] = wrong
        np.add.at(served, parent[rows], taken)
        hurting = wrong & (rng.random(len(rows)) < critical[link[rows]])
        np.logical_or.at(failed, parent[rows], hurting)
    begins = _begins(start * measured.seconds, parent, own, client, sizes)
    names = np.array([entity_of(item) for item in system.components])
    is_service = np.array([item.kind == "service" for item in system.components])
    dark = np.isin(component, list(measured.how.dark))
    shown = is_service[component] & ~dark & ~refused & ~lost
    operation = np.array([item.operations[0] for item in system.components])
    drawn = rng.integers(0, 1_000, len(trace))
    base = pl.DataFrame(
        {
            "ts": begins,
            "trace_id": [f"{number:x}" for number in trace],
            "number": np.arange(len(trace)),
            "parent": parent,
            "entity": _who(measured, component, drawn),
            "component": component,
            "operation": operation[component],
        }
    )
    servers = base.filter(pl.Series(shown)).with_columns(
        duration_us=pl.Series((served[shown] * 1_000).astype(int)),
        span_id=pl.format("s{}", "number"),
        parent_span_id=pl.when(pl.col("parent") < 0).then(pl.lit("")).otherwise(pl.format("c{}", "number")),
        peer=pl.lit(""),
        error=pl.Series(failed[shown]),
    )
    called = (link >= 0) & ~np.isin(component[np.maximum(parent, 0)], list(measured.how.dark))
    callers = component[np.maximum(parent, 0)][called]
    clients = base.filter(pl.Series(called)).with_columns(
        duration_us=pl.Series((client[called] * 1_000).astype(int)),
        span_id=pl.format("c{}", "number"),
        parent_span_id=pl.format("s{}", "parent"),
        entity=pl.Series(_who(measured, callers, drawn[np.maximum(parent, 0)][called])),
        operation=pl.format("call {}", "operation"),
        peer=pl.Series(names[component[called]]),
        error=pl.Series(client_failed[called]),
    )
    columns = ["ts", "duration_us", "trace_id", "span_id", "parent_span_id", "entity", "operation", "peer", "error"]
    return pl.concat([servers.select(columns), clients.select(columns)])


def _begins(
    entered: npt.NDArray[np.float64],
    parent: Numbers,
    own: npt.NDArray[np.float64],
    taken: npt.NDArray[np.float64],
    sizes: Numbers,
) -> npt.NDArray[np.float64]:
    """When each span begins, in seconds: calls are made one after the other, after some work of the caller's own."""
    begins = entered.copy()
    for number in range(1, len(sizes) - 1):
        rows = np.arange(sizes[number], sizes[number + 1])
        rows = rows[np.argsort(parent[rows], kind="stable")]
        if not len(rows):
            continue
        before = np.cumsum(taken[rows]) - taken[rows]
        first = np.r_[True, parent[rows][1:] != parent[rows][:-1]]
        since = before - np.maximum.accumulate(np.where(first, before, 0.0))
        begins[rows] = begins[parent[rows]] + (0.5 * own[parent[rows]] + since) / 1_000
    return begins


def _who(measured: Measured, component: Numbers, which: Numbers) -> list[EntityId]:
    """The entity that speaks for each component: the service, or one of its pods, chosen by a number."""
    items = measured.system.components
    return [
        pod_of(items[number], int(chosen) % items[number].replicas)
        if measured.how.per_pod and items[number].kind == "service"
        else entity_of(items[number])
        for number, chosen in zip(component, which, strict=True)
    ]


LINES = ("request {operation} served in {ms} ms", "cache warmed, {ms} entries", "health check passed")
MOST_LINES = 12
"""Of one kind, of one service, in one step."""


def log_lines(measured: Measured, root: int | None, message: str) -> pl.DataFrame:
    """What services log: some of what is usual, what callers see of failing calls, and what the root itself says."""
    course, rng = measured.course, measured.rng
    rows: list[tuple[float, str, str, str]] = []

    def say(number: int, step: int, severity: str, texts: list[str]) -> None:
        entity = _who(measured, np.array([number]), rng.integers(0, 1_000, 1))[0]
        rows.extend((float((step + rng.random()) * measured.seconds), entity, severity, text) for text in texts)

    steps = len(measured.disturbance.rate)
    for number, item in enumerate(measured.system.components):
        if item.kind != "service" or number in measured.how.dark:
            continue
        usual = rng.poisson(0.3, steps)
        for step in np.flatnonzero(usual * (measured.disturbance.down[:, number] < 1)):
            text = LINES[int(rng.integers(0, len(LINES)))].format(operation=item.operations[0], ms=rng.integers(1, 90))
            say(number, int(step), "info", [text])
        for link in measured.system.calls(number):
            callee = measured.system.components[link.callee]
            place = measured.system.links.index(link)
            wrong = rng.poisson(course.link_rate[:, place] * course.link_failed[:, place] * measured.seconds)
            for step in np.flatnonzero(wrong):
                say(
                    number,
                    int(step),
                    "error",
                    [_failed_call(measured, link.callee, int(step), callee.name)] * min(int(wrong[step]), MOST_LINES),
                )
    if root is not None and message and root not in measured.how.dark:
        own = rng.poisson(course.own_failed[:, root] * course.rate[:, root] * measured.seconds)
        for step in np.flatnonzero(own):
            say(root, int(step), "error", [message] * min(int(own[step]), MOST_LINES))
    columns = {"ts": pl.Float64(), "entity": pl.String(), "severity": pl.String(), "message": pl.String()}
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(trace_id=pl.lit(""), span_id=pl.lit(""))


def _failed_call(measured: Measured, callee: int, step: int, name: str) -> str:
    what = measured.disturbance
    if what.down[step, callee] >= 1:
        return f"call to {name} failed: connection refused"
    if what.refused[step, callee] > 0:
        return f"call to {name} failed: x509: certificate has expired or is not yet valid"
    if what.lost[step, callee] > 0 or measured.course.time_ms[step, callee] > 900:
        return f"call to {name} failed: context deadline exceeded"
    return f"call to {name} failed: 500 Internal Server Error"
