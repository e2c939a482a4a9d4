"""Opening a bundle: everything about it is checked before anything is believed."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from activities.telemetry.exceptions import BundleError
from workflows.contracts.alert import Alert
from workflows.contracts.bundle import BundleManifest, RecordedFile
from workflows.contracts.change import Change
from workflows.contracts.cluster import ClusterCondition
from workflows.contracts.identifiers import Digest
from workflows.contracts.probe import Modality
from workflows.contracts.topology import Topology

MANIFEST = "manifest.json"
MANIFEST_LIMIT = 4 * 1024 * 1024
ALERT_LIMIT = 1024 * 1024
JSON_LIMIT = 64 * 1024 * 1024
Parsed = TypeVar("Parsed")
_FILES = (
    "topology",
    "metrics",
    "logs",
    "traces",
    "changes",
    "cluster",
    "answers",
    "further_alerts",
)

_CHANGES: TypeAdapter[tuple[Change, ...]] = TypeAdapter(tuple[Change, ...])
_ALERTS: TypeAdapter[tuple[Alert, ...]] = TypeAdapter(tuple[Alert, ...])
_CLUSTER: TypeAdapter[tuple[ClusterCondition, ...]] = TypeAdapter(tuple[ClusterCondition, ...])


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A checked bundle: its manifest and alert; telemetry stays on disk."""

    folder: Path
    manifest: BundleManifest
    manifest_sha256: Digest
    alert: Alert

    def recorded(self, modality: Modality) -> RecordedFile | None:
        """The modality's file; None when it was not recorded."""
        found: RecordedFile | None = getattr(self.manifest, modality)
        return found

    def path(self, recorded: RecordedFile) -> Path:
        """Where a recorded file lies.

        Raises:
            BundleError: it is missing, not a regular file, or lies outside the bundle.
        """
        return _inside(self.folder, recorded.file)

    def topology(self) -> Topology:
        """The declared topology; empty when none was recorded."""
        found = self.manifest.topology
        return Topology() if found is None else _parse(self.path(found), Topology, JSON_LIMIT)

    def changes(self) -> tuple[Change, ...]:
        """Recorded changes, those after the visible window included."""
        found = self.manifest.changes
        return () if found is None else _parse(self.path(found), _CHANGES, JSON_LIMIT)

    def cluster(self) -> tuple[ClusterCondition, ...]:
        """Recorded cluster conditions, those after the visible window included."""
        found = self.manifest.cluster
        return () if found is None else _parse(self.path(found), _CLUSTER, JSON_LIMIT)

    def further_alerts(self) -> tuple[Alert, ...]:
        """Alerts that joined after the first."""
        found = self.manifest.further_alerts
        return () if found is None else _parse(self.path(found), _ALERTS, JSON_LIMIT)

    def verify(self) -> None:
        """Every file is the one that the manifest names.

        Raises:
            BundleError: one is missing, or was changed after the bundle was written.
        """
        for problem in self.problems():
            raise problem

    def problems(self) -> Iterator[BundleError]:
        """Every file that is missing or was changed after the bundle was written."""
        for name in ("alert", *_FILES):
            recorded: RecordedFile | None = getattr(self.manifest, name)
            if recorded is None:
                continue
            try:
                path = self.path(recorded)
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except BundleError as error:
                yield error
            except OSError as error:
                yield BundleError(
                    self.folder / recorded.file, f"cannot be read ({error.strerror})", "Check its rights."
                )
            else:
                if found != recorded.sha256:
                    yield BundleError(
                        path,
                        "was changed after the bundle was written: its SHA-256 is another",
                        f"Copy it again, or write {found} into {MANIFEST} if the change was meant.",
                    )


def open_bundle(folder: Path) -> Bundle:
    """Open the bundle in `folder`.

    Raises:
        BundleError: no folder, no manifest, or something in it is not as the format says.
    """
    try:
        is_file, is_folder = stat.S_ISREG(folder.stat().st_mode), folder.is_dir()
    except FileNotFoundError:
        is_file = is_folder = False
    except (OSError, ValueError) as error:
        short = Path(str(folder).encode("utf-8", "replace").decode()[:100])
        raise BundleError(
            short, f"cannot be opened ({error.__class__.__name__})", "Name the folder of a bundle."
        ) from None
    if is_file:
        raise BundleError(folder, "is a file", "A bundle is a folder with a manifest.json; unpack archives first.")
    if not is_folder:
        raise BundleError(folder, "does not exist", "Name the folder of a bundle.")
    folder = folder.resolve()
    if not os.path.lexists(folder / MANIFEST):
        raise BundleError(folder, f"is not a bundle: it has no {MANIFEST}", "Name the folder of a recorded incident.")
    path = _inside(folder, MANIFEST)
    content = _read(path, MANIFEST_LIMIT)
    manifest = _parsed(path, content, BundleManifest)
    bundle = Bundle(
        folder=folder,
        manifest=manifest,
        manifest_sha256=Digest(hashlib.sha256(content).hexdigest()),
        alert=_parse(_inside(folder, manifest.alert.file), Alert, ALERT_LIMIT),
    )
    for name in _FILES:
        recorded: RecordedFile | None = getattr(manifest, name)
        if recorded is not None:
            bundle.path(recorded)
    return bundle


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        resolved = path.resolve(strict=True)
        mode = resolved.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise BundleError(path, "is missing", "Copy the whole bundle again.") from error
    if not resolved.is_relative_to(folder) or not stat.S_ISREG(mode):
        raise BundleError(path, "is not a regular file of this bundle", "Put the file itself there.")
    return resolved


def _parse(path: Path, model: "type[Parsed] | TypeAdapter[Parsed]", limit: int) -> Parsed:
    return _parsed(path, _read(path, limit), model)


def _read(path: Path, limit: int) -> bytes:
    try:
        size, content = path.stat().st_size, b""
        if size <= limit:
            content = path.read_bytes()
    except OSError as error:
        raise BundleError(path, f"cannot be read ({error.strerror})", "Check its permissions.") from error
    if size > limit:
        raise BundleError(path, f"has {size:,} bytes, at most {limit:,} are read", "Cut it down to what is needed.")
    return content


def _parsed(path: Path, content: bytes, model: "type[Parsed] | TypeAdapter[Parsed]") -> Parsed:
    try:
        plain = json.loads(content)
    except RecursionError as error:
        raise BundleError(path, "is nested too deeply", "Write the bundle again.") from error
    except ValueError as error:
        raise BundleError(path, f"is not JSON ({error})", "Write the bundle again.") from error
    adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    try:
        return adapter.validate_python(plain, strict=False)
    except (ValidationError, RecursionError) as error:
        raise BundleError(path, _first_problem(error), "See evals/README.md for the format.") from error


def _first_problem(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "document"
    more = error.error_count() - 1
    return f"{where}: {first['msg']}" + (f" (and {more} more)" if more else "")
