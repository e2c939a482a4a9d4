"""What the cluster's own objects say, condition by condition."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from activities.analysis.catalogue import kind_of_text
from activities.analysis.catalogue.endings import endings_of
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.parameters import Parameters
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import Occurred

EVENTS = frozenset(("Warning", "Normal", "Event"))
"""Types of rows that tell of something that happened; every other type is a condition of an object."""

_MEMORY = re.compile(r"oom|memory", re.I)
_DISK = re.compile(r"disk|inode|evict|filesystem|volume|mount", re.I)
_CRASH = re.compile(r"backoff|crash|notready|failed|kill|error", re.I)
_UNHEALTHY = re.compile(r"unhealthy|probe|unavailable", re.I)
_QUOTA = re.compile(r"quota|insufficient|unschedulable|limit", re.I)
_CERTIFICATE = re.compile(r"cert|tls|expire", re.I)


@evidence_family(
    needs={"cluster": ["ts", "object_kind", "object_name", "entity", "type", "healthy", "reason", "message"]}
)
def find_in_cluster(given: AnalysisInput) -> list[Finding]:
    """One finding per entity and reason, from the first unhealthy condition that is new.

    A reason that the object also gave before the earliest candidate onset is old news: part of its strength.
    """
    parameters = given.parameters
    earliest = given.evidence.alert_at - max(parameters.onset_offsets)
    found: list[Finding] = []
    for item in given.evidence.of("cluster"):
        bad = item.rows.filter(~pl.col("healthy"), pl.col("entity") != "").sort("ts", "object_name", "reason")
        for (entity, reason), group in sorted(bad.group_by("entity", "reason"), key=lambda pair: str(pair[0])):
            rows = group.sort("ts", "object_name")
            fresh = rows.filter(pl.col("ts") >= earliest)
            row = (fresh if fresh.height else rows).row(0, named=True)
            kind, strength = _judge(f"{reason} {row['type']}", str(row["message"] or ""), parameters)
            recovered = _recovered(item.rows, row)
            old = parameters.cluster_repeated if fresh.height == 0 or rows.height > fresh.height else 1.0
            found.append(
                given.factory.stated(
                    family=FindingFamily.CLUSTER,
                    mechanism=Mechanism.CONDITION,
                    entity=EntityId(str(entity)),
                    signal=f"{row['object_kind']} {reason or row['type']}",
                    summary=(
                        f"{row['object_kind']} {row['object_name']}: {reason or row['type']}"
                        f"{', ' + row['message'][:160] if row['message'] else ''}"
                    ),
                    note="since recovered" if recovered else "",
                    direction=Direction.APPEARED,
                    strength=strength * old * (parameters.recovered if recovered else 1.0),
                    fault_kinds={kind: 1.0},
                    onset=row["ts"],
                    points=[(moment, float(count)) for moment, count in rows.select("ts", "count").iter_rows()],
                    predicate=Occurred(
                        probe_key=item.probe.key,
                        select={name: row[name] for name in ("object_name", "reason", "message")}
                        | {"healthy": "false"},
                        at=row["ts"],
                    ),
                )
            )
    return found


def _judge(reason: str, message: str, parameters: Parameters) -> tuple[FaultKind, float]:
    """Kind and strength of a condition: what its message names, else what its reason says."""
    kind, strength = _of_reason(reason, parameters)
    named = kind_of_text(f"{reason} {message}")
    return (kind, strength) if named is None else (named, max(strength, parameters.cluster_named))


def _of_reason(reason: str, parameters: Parameters) -> tuple[FaultKind, float]:
    reasons = (
        (_MEMORY, FaultKind.MEMORY, parameters.cluster_memory),
        (_DISK, FaultKind.DISK, parameters.cluster_capacity),
        (_CRASH, FaultKind.CRASH, parameters.cluster_crash),
        (_UNHEALTHY, FaultKind.CRASH, parameters.cluster_unhealthy),
        (_QUOTA, FaultKind.SATURATION, parameters.cluster_capacity),
        (_CERTIFICATE, FaultKind.EXPIRY, parameters.cluster_expiry),
    )
    other = (FaultKind.UNKNOWN, parameters.cluster_other)
    return next(((kind, strength) for pattern, kind, strength in reasons if pattern.search(reason)), other)


def _recovered(rows: pl.DataFrame, bad: Mapping[str, Any]) -> bool:
    """Whether it is over: the object states the same condition as healthy later, an event says so, or it is well now.

    What an object is counts before what happened to it: a warning about an object all of whose conditions are healthy
    in a state that is not older is history. Events and states often bear the same second.
    """
    about = rows.filter(pl.col("object_kind") == bad["object_kind"], pl.col("object_name") == bad["object_name"])
    same = about.filter(pl.col("type") == bad["type"], pl.col("ts") > bad["ts"]).sort("ts")
    if same.height and not _is_event(bad["type"]):
        return bool(same["healthy"][-1])
    since = about.filter(pl.col("ts") >= bad["ts"])
    ended = since.filter(pl.col("healthy"), pl.col("reason").is_in(list(endings_of(str(bad["reason"])))))
    if ended.height:
        return not since.filter(
            ~pl.col("healthy"), pl.col("reason") == bad["reason"], pl.col("ts") > ended["ts"].max()
        ).height
    if same.height and bad["type"] not in EVENTS and bool(same["healthy"][-1]):
        return True
    states = since.filter(~pl.col("type").map_elements(_is_event, return_dtype=pl.Boolean))
    return _is_event(bad["type"]) and states.height > 0 and bool(states["healthy"].all())


def _is_event(type_: str) -> bool:
    """Whether a row tells of something that happened, rather than of what an object is."""
    return type_.partition(" ")[0] in EVENTS
