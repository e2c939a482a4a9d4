"""PromQL from the metric catalogue: which metrics are worth fetching, and few queries for all entities at once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from activities.analysis.catalogue.meaning import Bad, Meaning, Resource, Signal, meaning_of
from activities.telemetry.entities import IDENTITY_LABELS
from activities.telemetry.series import SPAN_KIND, STATUS_LABELS

NAME = "inquest_metric"
"""The label that says which expression a series came from: `rate` and `sum` take the metric's name away."""

_COUNTER_SUFFIXES = ("_total", "_sum", "_count")
_USELESS = re.compile(
    r".*(_created|_info|_bucket)$|^(scrape_|promhttp_|ALERTS_FOR_STATE$|prometheus_|alertmanager_|net_conntrack_|"
    r"python_info|python_gc_|process_start_time|process_virtual_memory_max|process_max_fds|go_info|go_memstats_.*_total$)"
)
_COMPARED = re.compile(r"^(?P<value>.+?)\s*(?:>=|<=|==|!=|>|<)\s*(?:bool\s+)?-?[\d.]+(?:e[-+]?\d+)?\s*$", re.S | re.I)


@dataclass(frozen=True, kw_only=True)
class Expression:
    """One metric to be fetched."""

    metric: str
    """What its series are called: the metric's own name, or what was made of it."""

    query: str
    """With `{window}` where a rate's window belongs."""

    series: int
    """How many series it has, as far as is known."""

    counter: bool = False


def is_counter(name: str, kinds: Mapping[str, str]) -> bool:
    """Whether a metric only ever grows: as the server says, else by the naming convention."""
    base = name.removesuffix("_total")
    kind = kinds.get(name) or kinds.get(base)
    if kind in ("counter",):
        return True
    if kind in ("gauge", "info", "stateset"):
        return False
    if kind in ("histogram", "summary"):
        return name.endswith(_COUNTER_SUFFIXES)
    return name.endswith(_COUNTER_SUFFIXES)


def worth_fetching(name: str) -> bool:
    """Whether a metric can be evidence, by what it means."""
    if _USELESS.match(name):
        return False
    return name == "ALERTS" or _meaning(name).signal is not Signal.INFORMATION


def tells_something_cheaply(name: str) -> bool:
    """Whether it is fetched of everything, and not only of what is near the alert."""
    meaning = _meaning(name)
    if name in ("up", "ALERTS"):
        return True
    if meaning.signal in (Signal.UNKNOWN, Signal.INFORMATION) or meaning.bad is Bad.NONE:
        return False
    of_requests = meaning.resource is Resource.REQUEST
    return bool(meaning.source) or of_requests or meaning.signal in (Signal.ERRORS, Signal.SATURATION)


def _meaning(name: str) -> Meaning:
    """What a metric means; of a sum, what that means which was summed."""
    return meaning_of(f"{name.removesuffix('_sum')}_count" if name.endswith("_sum") else name)


def whole(name: str, selector: str, *, counter: bool, series: int) -> Expression:
    """Every series of a metric, with all labels."""
    selected = f"{name}{{{selector}}}" if selector else name
    if name == "ALERTS":
        matchers = [*([selector] if selector else []), 'alertstate="firing"']
        selected = "ALERTS{" + ", ".join(matchers) + "}"
    return Expression(
        metric=name, query=f"rate({selected}[{{window}}])" if counter else selected, series=series, counter=counter
    )


def summed(name: str, selector: str, *, counter: bool, series: int, entities: int) -> Expression:
    """A metric by what it is about and how a request ended: of many series, few."""
    plain = whole(name, selector, counter=counter, series=series)
    by = ", ".join((*IDENTITY_LABELS, *STATUS_LABELS, SPAN_KIND))
    how = "sum" if counter else "max"
    return Expression(
        metric=name, query=f"{how} by ({by}) ({plain.query})", series=min(series, 3 * entities), counter=counter
    )


def quantile(name: str, selector: str, *, series: int) -> Expression:
    """The 95th percentile of a classic histogram, by what it is about."""
    by = ", ".join(("le", *IDENTITY_LABELS, SPAN_KIND))
    selected = f"{name}{{{selector}}}" if selector else name
    base = name.removesuffix("_bucket")
    return Expression(
        metric=f'{base}{{quantile="0.95"}}',
        query=f"histogram_quantile(0.95, sum by ({by}) (rate({selected}[{{window}}])))",
        series=series,
    )


def native_quantile(name: str, selector: str, *, series: int) -> Expression:
    """The 95th percentile of a native histogram, by what it is about."""
    selected = f"{name}{{{selector}}}" if selector else name
    by = ", ".join(IDENTITY_LABELS)
    return Expression(
        metric=f'{name}{{quantile="0.95"}}',
        query=f"histogram_quantile(0.95, sum by ({by}) (rate({selected}[{{window}}])))",
        series=series,
    )


def symptom(alert: str, query: str) -> Expression:
    """The value that an alerting rule compares, without the comparison where it ends in one with a number."""
    match = _COMPARED.match(query)
    value = match["value"] if match and _balanced(match["value"]) else query
    safe = alert.replace("\\", "").replace('"', "")
    return Expression(metric=f'ALERT_EXPRESSION{{alertname="{safe}"}}', query=value, series=50)


def _balanced(text: str) -> bool:
    return all(text.count(left) == text.count(right) for left, right in ("()", "[]", "{}"))


def combined(expressions: Iterable[Expression], window: timedelta) -> str:
    """One query for several expressions; each series says by the label `NAME` which one it came from."""
    parts = []
    for expression in expressions:
        query = expression.query.replace("{window}", f"{max(1, round(window.total_seconds()))}s")
        name = expression.metric.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f'label_replace({query}, "{NAME}", "{name.replace("$", "$$")}", "", "")')
    return "\nor\n".join(parts)


def batches(expressions: Sequence[Expression], *, most_series: int, most: int = 40) -> list[list[Expression]]:
    """Expressions together, in order, so that no query has more than `most_series` series or `most` parts."""
    found: list[list[Expression]] = []
    size = 0
    for expression in expressions:
        if not found or size + expression.series > most_series or len(found[-1]) >= most:
            found.append([])
            size = 0
        found[-1].append(expression)
        size += expression.series
    return found
