"""RootCauseBench (edgedelta/root-cause-bench): synthetic incidents whose truth is a commit, or none.

What the alert's author wrote about the cause is left out: the title is the metric, its value and its threshold.
"""

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from evals.bundles import Recording, Truth, opaque_id
from evals.readers.corpus import CorpusError
from workflows.contracts.alert import Alert, Severity
from workflows.contracts.bundle import VisibleWindow
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.topology import EntityKind, entity_id

NO_COMMIT = "none"


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Alert(_Loose):
    service: str
    metric: str
    threshold: float
    observed: float
    fired_at: AwareDatetime
    severity: str = "unknown"


class _Commit(_Loose):
    sha: str
    timestamp: AwareDatetime
    message: str
    files_changed: list[str] = []
    diff: str | None = None


class _Deploy(_Loose):
    timestamp: AwareDatetime
    service: str
    commit_sha: str
    version: str = ""


class _Flag(_Loose):
    timestamp: AwareDatetime
    flag: str
    service: str
    change: str = ""


class _Span(_Loose):
    trace_id: str
    span_id: str
    parent_id: str | None = None
    service: str
    name: str
    start: AwareDatetime
    duration_ms: float
    status: str = "OK"


class _Truth(_Loose):
    root_cause_commit: str
    first_failing_service: str


_COMMITS = TypeAdapter(list[_Commit])
_DEPLOYS = TypeAdapter(list[_Deploy])
_FLAGS = TypeAdapter(list[_Flag])
_SPANS = TypeAdapter(list[_Span])


class RootCauseBench:
    """Reads one folder a case."""

    def __init__(self, root: Path, *, visible_for: timedelta | None = None) -> None:
        self._root = root
        self._visible_for = timedelta(0) if visible_for is None else visible_for
        if not self.names():
            raise CorpusError(root, "holds no folder with an alert.json")

    def names(self) -> list[str]:
        """Names of the case folders, sorted."""
        return sorted(path.parent.name for path in self._root.glob("*/alert.json"))

    def system(self, name: str) -> str:  # noqa: ARG002 - its incidents stand for one kind of system
        """Always the same."""
        return "rootcausebench"

    def recording(self, name: str) -> Recording:
        """One incident, visible until its alert fired."""
        folder = self._folder(name)
        try:
            return _recording(folder, name, self._visible_for)
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise CorpusError(folder, f"cannot be read: {error}") from error

    def truth(self, name: str) -> Truth:
        """The first service to fail, and the commit that made it, or none."""
        folder = self._folder(name)
        try:
            found = _Truth.model_validate_json((folder / "ground_truth.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise CorpusError(folder / "ground_truth.json", f"cannot be read: {error}") from error
        return Truth(
            bundle_id=opaque_id("rootcausebench", name),
            system=self.system(name),
            entity=entity_id(EntityKind.SERVICE, found.first_failing_service),
            change_id=None if found.root_cause_commit == NO_COMMIT else found.root_cause_commit,
            case=name,
        )

    def _folder(self, name: str) -> Path:
        if name not in self.names():
            raise CorpusError(self._root / name, "has no alert.json")
        return self._root / name


def _recording(folder: Path, name: str, visible_for: timedelta) -> Recording:
    alert = _Alert.model_validate_json((folder / "alert.json").read_bytes())
    metrics, logs, spans = _metrics(folder), _logs(folder), _spans(folder)
    earliest = [frame["ts"].min() for frame in (metrics, logs, spans) if frame is not None and frame.height]
    start = min((moment for moment in earliest if isinstance(moment, datetime)), default=None)
    if start is None:
        raise CorpusError(folder, "holds no telemetry")
    until = alert.fired_at + visible_for
    bundle_id = opaque_id("rootcausebench", name)
    return Recording(
        bundle_id=bundle_id,
        alert=Alert(
            source="corpus",
            fingerprint=bundle_id,
            title=f"{alert.metric} of {alert.service} is {alert.observed:g}, threshold {alert.threshold:g}",
            starts_at=alert.fired_at,
            severity=Severity(alert.severity),
            entity=entity_id(EntityKind.SERVICE, alert.service),
            labels={"service": alert.service},
        ),
        visible=VisibleWindow(start=start, end=until),
        as_of=until,
        metrics=metrics,
        logs=logs,
        traces=spans,
        changes=_changes(folder),
    )


def _metrics(folder: Path) -> pl.DataFrame | None:
    path = folder / "metrics.csv"
    if not path.exists():
        return None
    with path.open(newline="") as handle:
        rows = [
            (
                datetime.fromisoformat(row["timestamp"]),
                f"service:{row['service']}",
                row["metric"],
                float(row["value"]),
            )
            for row in csv.DictReader(handle)
        ]
    return pl.DataFrame(rows, schema=["ts", "entity", "metric", "value"], orient="row")


def _logs(folder: Path) -> pl.DataFrame | None:
    path = folder / "logs.ndjson"
    if not path.exists():
        return None
    rows = []
    for line in path.read_text().splitlines():
        if not line.strip():
            continue
        item = json.loads(line)
        rows.append(
            (
                datetime.fromisoformat(item["timestamp"]),
                f"service:{item['service']}",
                str(item.get("severity_text", "")).lower(),
                str(item["msg"]),
                str(item.get("trace_id", "")),
                str(item.get("span_id", "")),
            )
        )
    return pl.DataFrame(rows, schema=["ts", "entity", "severity", "message", "trace_id", "span_id"], orient="row")


def _spans(folder: Path) -> pl.DataFrame | None:
    path = folder / "traces.json"
    if not path.exists():
        return None
    rows = [
        (
            item.start,
            round(item.duration_ms * 1000),
            item.trace_id,
            item.span_id,
            item.parent_id or "",
            f"service:{item.service}",
            item.name,
            "",
            item.status.upper() == "ERROR",
        )
        for item in _SPANS.validate_json(path.read_bytes())
    ]
    columns = ["ts", "duration_us", "trace_id", "span_id", "parent_span_id", "entity", "operation", "peer", "error"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def _changes(folder: Path) -> list[Change]:
    """Deploys, described by what their commit says, and flag flips. What was not deployed changed nothing."""
    context = folder / "context"
    commits = {item.sha: item for item in _COMMITS.validate_json(_list(context / "commits.json"))}
    changes = []
    for deploy in _DEPLOYS.validate_json(_list(context / "deploys.json")):
        commit = commits.get(deploy.commit_sha)
        detail = "\n".join([*commit.files_changed, commit.diff or ""]).strip() if commit and commit.diff else ""
        changes.append(
            Change(
                id=deploy.commit_sha,
                at=deploy.timestamp,
                kind=ChangeKind.DEPLOY,
                target=entity_id(EntityKind.SERVICE, deploy.service),
                title=commit.message.splitlines()[0] if commit else f"deploy of {deploy.version}",
                detail=f"{commit.message}\n{detail}" if commit and detail else detail,
                revision=deploy.version,
            )
        )
    for flag in _FLAGS.validate_json(_list(context / "flags.json")):
        changes.append(
            Change(
                id=flag.flag,
                at=flag.timestamp,
                kind=ChangeKind.FLAG,
                target=entity_id(EntityKind.SERVICE, flag.service),
                title=f"{flag.flag} {flag.change}",
            )
        )
    return changes


def _list(path: Path) -> bytes:
    """A file's list; an empty one where there is no such file."""
    return path.read_bytes() if path.exists() else b"[]"
