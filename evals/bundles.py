"""Writing bundles and keeping their truth apart.

A bundle is what an investigator may see. Its truth goes into another tree, as `<truths>/<bundle_id>.json`, which
no code of the product opens.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl

from workflows.contracts.alert import Alert
from workflows.contracts.bundle import SCHEMA_VERSION, BundleManifest, RecordedFile, VisibleWindow
from workflows.contracts.change import Change
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.contract import Contract
from workflows.contracts.environment import EntityMapping, EnvironmentName, SourceRef
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.topology import Topology

TIMESTAMP: pl.DataType = pl.Datetime("us", "UTC")
METRICS = pl.Schema({"ts": TIMESTAMP, "entity": pl.String(), "metric": pl.String(), "value": pl.Float64()})
LOGS = pl.Schema(
    {
        "ts": TIMESTAMP,
        "entity": pl.String(),
        "severity": pl.String(),
        "message": pl.String(),
        "trace_id": pl.String(),
        "span_id": pl.String(),
    }
)
TRACES = pl.Schema(
    {
        "ts": TIMESTAMP,
        "duration_us": pl.Int64(),
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "parent_span_id": pl.String(),
        "entity": pl.String(),
        "operation": pl.String(),
        "peer": pl.String(),
        "error": pl.Boolean(),
    }
)
ROW_GROUP = 50_000
"""Rows of one Parquet row group; small enough that a query about one entity skips most of the file."""


class Root(Contract):
    """One root cause."""

    entity: EntityId
    aliases: tuple[EntityId, ...] = ()
    """Other names under which the same root may rightly be named (a pod of the service)."""

    fault_kind: FaultKind = FaultKind.UNKNOWN
    kind_family: tuple[FaultKind, ...] = ()
    """Every kind that the corpus's own, coarser category covers; empty where it has none."""

    change_id: str | None = None
    """The change that brought it in; None when no change did."""


class Truth(Contract):
    """What really happened, as the person or program that caused it recorded it."""

    schema_version: int = 1
    bundle_id: str
    system: str
    entity: EntityId | None = None
    """The root cause; None when nothing was wrong, or when nobody says where."""

    unnamed: bool = False
    """Whether something was wrong of which no entity is known: only its kind and abstention can be scored."""

    aliases: tuple[EntityId, ...] = ()
    """Other names under which the same root may rightly be named (a pod of the service)."""

    fault_kind: FaultKind = FaultKind.UNKNOWN
    kind_family: tuple[FaultKind, ...] = ()
    """Every kind that the corpus's own, coarser category covers; empty where it has none."""

    change_id: str | None = None
    """The change that caused it; None when no change did."""

    changes_recorded: bool = True
    """False where the corpus knows of no changes at all, so that `change_id` says nothing."""

    also: tuple[Root, ...] = ()
    """Further root causes, where there was more than one at once."""

    injected_at: datetime | None = None
    case: str = ""
    """The case's name in its corpus."""

    note: str = ""

    @classmethod
    def of(
        cls,
        roots: Sequence[Root],
        *,
        bundle_id: str,
        system: str,
        case: str,
        injected_at: datetime | None = None,
        note: str = "",
    ) -> "Truth":
        """The truth of an incident with these roots, the first of them the chief one; none when nothing was wrong."""
        chief = roots[0].model_dump() if roots else {"entity": None}
        return cls(
            bundle_id=bundle_id,
            system=system,
            also=tuple(roots[1:]),
            injected_at=injected_at,
            case=case,
            note=note,
            **chief,
        )

    @property
    def roots(self) -> tuple[Root, ...]:
        """Every root cause; empty when nothing was wrong."""
        if self.entity is None:
            return ()
        own = Root(
            entity=self.entity,
            aliases=self.aliases,
            fault_kind=self.fault_kind,
            kind_family=self.kind_family,
            change_id=self.change_id,
        )
        return (own, *self.also)


@dataclass(kw_only=True)
class Recording:
    """Everything that was recorded of one incident. A modality left at None was not recorded."""

    bundle_id: str
    alert: Alert
    visible: VisibleWindow
    as_of: datetime
    topology: Topology | None = None
    metrics: pl.DataFrame | None = None
    logs: pl.DataFrame | None = None
    traces: pl.DataFrame | None = None
    changes: Sequence[Change] | None = None
    cluster: Sequence[ClusterCondition] | None = None
    counters: Sequence[str] = field(default_factory=tuple)


def write_bundle(recording: Recording, folder: Path, *, compression_level: int = 3) -> BundleManifest:
    """Write `recording` into `folder`, which is created and must be empty.

    Args:
        recording: what was recorded; rows outside of its visible window are left out.
        folder: the bundle's folder.
        compression_level: zstd's, 1 to 22; high levels are for bundles that are kept.

    Raises:
        FileExistsError: the folder already holds something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a new folder")
    visible = recording.visible
    files: dict[str, RecordedFile] = {"alert": _write_json(folder / "alert.json", recording.alert, 1)}
    if recording.topology is not None:
        count = len(recording.topology.entities) + len(recording.topology.edges)
        files["topology"] = _write_json(folder / "topology.json", recording.topology, count)
    for name, frame, schema in (
        ("metrics", recording.metrics, METRICS),
        ("logs", recording.logs, LOGS),
        ("traces", recording.traces, TRACES),
    ):
        if frame is not None:
            files[name] = _write_parquet(folder / f"{name}.parquet", frame, schema, visible, compression_level)
    for name, rows in (("changes", recording.changes), ("cluster", recording.cluster)):
        if rows is not None:
            seen = [row for row in rows if row.at < visible.end]
            files[name] = _write_json(folder / f"{name}.json", seen, len(seen))
    manifest = BundleManifest.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            "bundle_id": recording.bundle_id,
            "visible": visible,
            "as_of": recording.as_of,
            "counters": tuple(sorted(recording.counters)),
            **files,
        }
    )
    _write_manifest(folder, manifest)
    return manifest


def write_captured(
    folder: Path,
    *,
    bundle_id: str,
    alerts: Sequence[Alert],
    visible: VisibleWindow,
    as_of: datetime,
    answers: pl.DataFrame,
    environment: EnvironmentName | None = None,
    sources: Sequence[SourceRef] = (),
    mappings: Sequence[EntityMapping] = (),
    rounds: int = 0,
) -> BundleManifest:
    """Write a captured investigation into `folder`, which is created and must be empty.

    Raises:
        FileExistsError: the folder already holds something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a new folder")
    path = folder / "answers.parquet"
    answers.write_parquet(path, compression="uncompressed", statistics=False)
    files = {
        "alert": _write_json(folder / "alert.json", alerts[0], 1),
        "answers": RecordedFile(file=path.name, rows=answers.height, sha256=_sha256(path)),
    }
    if len(alerts) > 1:
        files["further_alerts"] = _write_json(folder / "further_alerts.json", alerts[1:], len(alerts) - 1)
    manifest = BundleManifest.model_validate(
        {"schema_version": SCHEMA_VERSION, "bundle_id": bundle_id, "visible": visible, "as_of": as_of, **files}
    ).model_copy(
        update={
            "environment": environment,
            "sources": tuple(sources),
            "mappings": tuple(mappings),
            "rounds": rounds,
        }
    )
    _write_manifest(folder, manifest)
    return manifest


def write_truth(truth: Truth, folder: Path) -> Path:
    """Write `truth` into the truths' tree `folder` and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{truth.bundle_id}.json"
    path.write_text(truth.model_dump_json(indent=1, exclude_none=True) + "\n")
    return path


def opaque_id(*parts: str) -> str:
    """A bundle id that says nothing about the case it stands for."""
    return "b" + hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:15]


def _write_manifest(folder: Path, manifest: BundleManifest) -> None:
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1, exclude_none=True) + "\n")


def _write_json(path: Path, value: Contract | Sequence[Contract], rows: int) -> RecordedFile:
    plain = (
        value.model_dump(mode="json", exclude_none=True)
        if isinstance(value, Contract)
        else [row.model_dump(mode="json", exclude_none=True) for row in value]
    )
    path.write_text(json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return RecordedFile(file=path.name, rows=rows, sha256=_sha256(path))


def _write_parquet(
    path: Path, frame: pl.DataFrame, schema: pl.Schema, visible: VisibleWindow, compression_level: int
) -> RecordedFile:
    ordered = (
        frame.select([pl.col(name).cast(kind) for name, kind in schema.items()])
        .filter(pl.col("ts") >= visible.start, pl.col("ts") < visible.end)
        .sort([name for name in ("entity", "ts", "metric", "span_id", "message") if name in schema])
    )
    ordered.write_parquet(
        path,
        compression="zstd",
        compression_level=compression_level,
        row_group_size=ROW_GROUP,
        statistics=True,
    )
    return RecordedFile(file=path.name, rows=ordered.height, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
