"""What the cluster's own objects say, condition by condition."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from activities.analysis.catalogue import kind_of_text
from activities.analysis.family import AnalysisInput, evidence_family
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import Occurred

_REASONS: tuple[tuple[re.Pattern[str], FaultKind, float], ...] = (
    (re.compile(r"oom|memory", re.I), FaultKind.MEMORY, 1.0),
    (re.compile(r"disk|inode|evict|filesystem|volume|mount", re.I), FaultKind.DISK, 0.8),
    (re.compile(r"backoff|crash|notready|failed|kill|error", re.I), FaultKind.CRASH, 0.7),
    (re.compile(r"unhealthy|probe|unavailable", re.I), FaultKind.CRASH, 0.6),
    (re.compile(r"quota|insufficient|unschedulable|limit", re.I), FaultKind.SATURATION, 0.8),
    (re.compile(r"cert|tls|expire", re.I), FaultKind.EXPIRY, 0.9),
)
NAMED = 0.7
"""Strength of a condition whose message names a kind of fault."""

OTHER = (FaultKind.UNKNOWN, 0.3)


@evidence_family(
    needs={"cluster": ["ts", "object_kind", "object_name", "entity", "type", "healthy", "reason", "message"]}
)
def find_in_cluster(given: AnalysisInput) -> list[Finding]:
    """One finding per entity and reason, from the first unhealthy condition that is new.

    A reason that the object also gave before the earliest candidate onset is old update: half of its strength.
    """
    earliest = given.evidence.alert_at - max(given.parameters.onset_offsets)
    found: list[Finding] = []
    for item in given.evidence.of("cluster"):
        bad = item.rows.filter(~pl.col("healthy"), pl.col("entity") != "").sort("ts", "object_name", "reason")
        for (entity, reason), group in sorted(bad.group_by("entity", "reason"), key=lambda pair: str(pair[0])):
            rows = group.sort("ts", "object_name")
            fresh = rows.filter(pl.col("ts") >= earliest)
            row = (fresh if fresh.height else rows).row(0, named=True)
            kind, strength = _judge(f"{reason} {row['type']}", str(row["message"] or ""))
            recovered = _recovered(item.rows, row)
            old = 0.5 if fresh.height == 0 or rows.height > fresh.height else 1.0
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
                    strength=strength * old * (0.3 if recovered else 1.0),
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


def _judge(reason: str, message: str) -> tuple[FaultKind, float]:
    """Kind and strength of a condition: what its message names, else what its reason says."""
    kind, strength = next(((kind, weight) for pattern, kind, weight in _REASONS if pattern.search(reason)), OTHER)
    named = kind_of_text(f"{reason} {message}")
    return (kind, strength) if named is None else (named, max(strength, NAMED))


def _recovered(rows: pl.DataFrame, bad: Mapping[str, Any]) -> bool:
    """Whether the same object states the same condition as healthy later."""
    later = rows.filter(
        pl.col("object_kind") == bad["object_kind"],
        pl.col("object_name") == bad["object_name"],
        pl.col("type") == bad["type"],
        pl.col("ts") > bad["ts"],
    ).sort("ts")
    return later.height > 0 and bool(later["healthy"][-1])
