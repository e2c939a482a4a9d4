"""What an answer looks like: the columns of each tool's rows, and their bytes in the ledger.

Bytes are Arrow IPC in its oldest layout: columnar, typed, readable by any Arrow library, and equal for equal rows.
"""

import io

import polars as pl
from polars.interchange import CompatLevel

from workflows.contracts.probe import Tool

TIMESTAMP: pl.DataType = pl.Datetime("us", "UTC")

_PASSAGES = pl.Schema(
    {
        "location": pl.String(),
        "title": pl.String(),
        "heading": pl.String(),
        "text": pl.String(),
        "language": pl.String(),
        "score": pl.Float64(),
        "why": pl.String(),
    }
)

COLUMNS: dict[Tool, pl.Schema] = {
    "metrics": pl.Schema({"metric": pl.String(), "ts": TIMESTAMP, "value": pl.Float64()}),
    "logs": pl.Schema(
        {
            "severity": pl.String(),
            "template": pl.String(),
            "ts": TIMESTAMP,
            "count": pl.Int64(),
            "example": pl.String(),
            "after": pl.String(),
        }
    ),
    "traces": pl.Schema(
        {
            "operation": pl.String(),
            "caller": pl.String(),
            "caller_operation": pl.String(),
            "peer": pl.String(),
            "ts": TIMESTAMP,
            "unanswered": pl.Boolean(),
            "count": pl.Int64(),
            "errors": pl.Int64(),
            "originating_errors": pl.Int64(),
            "duration_us": pl.Int64(),
            "self_us": pl.Int64(),
            "gap_us": pl.Int64(),
            "max_us": pl.Int64(),
        }
    ),
    "changes": pl.Schema(
        {
            "id": pl.String(),
            "ts": TIMESTAMP,
            "kind": pl.String(),
            "target": pl.String(),
            "title": pl.String(),
            "detail": pl.String(),
            "revision": pl.String(),
        }
    ),
    "cluster": pl.Schema(
        {
            "ts": TIMESTAMP,
            "object_kind": pl.String(),
            "object_name": pl.String(),
            "entity": pl.String(),
            "type": pl.String(),
            "healthy": pl.Boolean(),
            "reason": pl.String(),
            "message": pl.String(),
            "count": pl.Int64(),
        }
    ),
    "topology": pl.Schema(
        {
            "source": pl.String(),
            "target": pl.String(),
            "kind": pl.String(),
            "origin": pl.String(),
            "confidence": pl.Float64(),
        }
    ),
    "inventory": pl.Schema({"labels": pl.String(), "relation": pl.String(), "other": pl.String()}),
    "names": pl.Schema({"source": pl.String(), "labels": pl.String(), "entity": pl.String(), "rule": pl.String()}),
    "knowledge": _PASSAGES,
    "remedies": _PASSAGES,
    "known_topology": pl.Schema(
        {
            "source": pl.String(),
            "target": pl.String(),
            "kind": pl.String(),
            "origin": pl.String(),
            "confidence": pl.Float64(),
        }
    ),
    "facts": pl.Schema(
        {
            "fact_id": pl.String(),
            "ts": TIMESTAMP,
            "subject": pl.String(),
            "statement": pl.String(),
            "effect": pl.String(),
            "owner": pl.String(),
            "body": pl.String(),
        }
    ),
    "past_incidents": pl.Schema(
        {
            "investigation_id": pl.String(),
            "ts": TIMESTAMP,
            "title": pl.String(),
            "entity": pl.String(),
            "fault_kind": pl.String(),
            "sentence": pl.String(),
            "judgement": pl.String(),
            "cause": pl.String(),
            "alerting": pl.List(pl.String()),
            "signs": pl.List(pl.Struct({"entity": pl.String(), "mechanism": pl.String(), "strength": pl.Float64()})),
        }
    ),
}
"""Timestamps of `logs` and `traces` are the starts of their buckets; durations are microseconds summed per row.

`logs`: `after` is the template of the line before it in the same span, empty for the first one, null where a line names
no span.
`traces`: `caller` is the entity of the parent span (the same entity for an inner span, empty at a root); `peer` is
the entity a client span calls; `unanswered` marks client spans whose peer left no span of its own; `originating_errors`
counts failed spans none of whose children failed; `self_us` is the part not covered by child spans (nothing for a
span that calls another entity: that part is on the way); `gap_us` is the caller's time around a request that its callee
did not account for.
`topology`: a row with an empty target names an entity, `kind` being the entity's kind.
`inventory`: `labels` and `other` are sets of labels as canonical JSON; with an empty `relation` a row says that the
source knows something by these labels, otherwise that it stands in that relation to the other one.
`names`: `entity` is empty where the labels stand for nothing that is known, or for several; `rule` says why.
`facts`: `ts` is when somebody accepted it; `body` is the whole fact as JSON.
`past_incidents`: `ts` is from when on it was known; `entity` is the verdict's, `cause` what a person confirmed or
named, both empty where there is none; `signs` are in the order in which they began.
"""

EARLIER_COLUMNS = {"own_errors": "originating_errors", "exclusive_us": "self_us"}
"""Columns of answers that versions before 0.5 stored or captured, and what they are called now."""

REPEATED = ("metric", "severity", "template", "example", "after", "operation", "caller", "caller_operation", "peer")
"""Columns whose texts occur again and again within an answer."""


def encode(rows: pl.DataFrame) -> bytes:
    """The bytes of an answer."""
    buffer = io.BytesIO()
    rows.rechunk().write_ipc(buffer, compression="uncompressed", compat_level=CompatLevel.oldest())
    return buffer.getvalue()


def decode(content: bytes) -> pl.DataFrame:
    """The rows of an answer, in today's columns."""
    return pl.read_ipc(io.BytesIO(content)).rename(EARLIER_COLUMNS, strict=False)


def compacted(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows with repeated texts kept once: a number a row, for answers that stay in memory."""
    return rows.with_columns(
        pl.col(name).cast(pl.Categorical)
        for name, kind in rows.schema.items()
        if name in REPEATED and kind == pl.String
    )
