"""What can be replayed: the lab's recordings, public corpora, captured incidents. One face for all."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from activities.telemetry.recorded import BundleError, open_bundle
from evals.bundles import Truth, write_bundle
from evals.readers import READERS, CorpusError, Reader
from evals.simulator.suite import SIMULATED, SimulatedSuite

LAB = "lab"
RECORDINGS = Path(__file__).parent / "recordings"
BUNDLES, TRUTHS = "bundles", "truths"


class Suite(Protocol):
    """Cases by name. Nothing but `truth` opens a label."""

    def names(self) -> list[str]:
        """All cases, in a stated order."""
        ...

    def system(self, name: str) -> str:
        """The system a case is about."""
        ...

    def bundle(self, name: str, scratch: Path) -> Path:
        """The folder of a case's bundle, made under `scratch` where the suite is no folder of bundles.

        Raises:
            CorpusError: the case cannot be read.
        """
        ...

    def truth(self, name: str) -> Truth:
        """What really happened.

        Raises:
            CorpusError: nobody has said.
        """
        ...


def is_named(suite: str) -> bool:
    """Whether a suite is called by a name, and is no folder."""
    return suite in (LAB, *READERS) or suite.partition(":")[0] == SIMULATED


def open_suite(name: str, root: Path | None, visible_for: timedelta | None) -> Suite:
    """A suite by its name, or a folder of bundles.

    Args:
        name: `lab`, `simulated` (with a seed and a count), a corpus's format, or a folder with `bundles` and `truths`.
        root: the corpus's folder; required for a corpus.
        visible_for: how long after the alert a corpus's cases are seen; None: as stated for the corpus.

    Raises:
        CorpusError: there is no such suite, or it cannot be read.
    """
    if name not in READERS and visible_for is not None:
        raise CorpusError(Path(name), "is recorded with its own visible window: --visible-until is for corpora")
    if name == LAB and root is None and not RECORDINGS.is_dir():
        raise CorpusError(RECORDINGS, "is not part of this installation: name a folder of recordings with --root")
    if name == LAB:
        return BundleSuite(root or RECORDINGS, system=LAB)
    if name.partition(":")[0] == SIMULATED:
        return SimulatedSuite.named(name)
    if name in READERS:
        if root is None:
            raise CorpusError(Path(name), "is a corpus: name its folder with --root")
        return CorpusSuite(READERS[name](root, visible_for=visible_for))
    folder = Path(name)
    if folder.is_dir() and root is not None:
        raise CorpusError(folder, "is a folder of bundles: --root is for corpora and the lab")
    if folder.is_dir():
        return BundleSuite(folder, system=folder.resolve().name)
    known = ", ".join((LAB, SIMULATED, *READERS))
    raise CorpusError(folder, f"is neither a suite ({known}) nor a folder of bundles")


@dataclass(frozen=True)
class CorpusSuite:
    """A public corpus."""

    reader: Reader

    def names(self) -> list[str]:
        """As the reader has them."""
        return self.reader.names()

    def system(self, name: str) -> str:
        """As the reader has it."""
        return self.reader.system(name)

    def bundle(self, name: str, scratch: Path) -> Path:
        """Written anew; a half-written one of an earlier attempt is never taken for whole."""
        recording = self.reader.recording(name)
        folder = scratch / recording.bundle_id
        write_bundle(recording, folder)
        return folder

    def truth(self, name: str) -> Truth:
        """As the reader has it."""
        return self.reader.truth(name)


class BundleSuite:
    """A folder with `bundles/<id>` and `truths/<id>.json`."""

    def __init__(self, root: Path, *, system: str) -> None:
        self._root = root
        self._system = system
        if not self.names():
            raise CorpusError(root / BUNDLES, "holds no bundle")

    def names(self) -> list[str]:
        """Bundle folders, sorted."""
        return sorted(path.parent.name for path in (self._root / BUNDLES).glob("*/manifest.json"))

    def system(self, name: str) -> str:  # noqa: ARG002 - a folder is of one system
        """The folder's own name."""
        return self._system

    def bundle(self, name: str, scratch: Path) -> Path:  # noqa: ARG002 - it is one already
        """The bundle as it lies there."""
        folder = self._root / BUNDLES / name
        try:
            own = open_bundle(folder).manifest.bundle_id
        except BundleError as error:
            raise CorpusError(error.file, f"{error.problem}. {error.remedy}") from error
        if own != name:
            raise CorpusError(folder, f"holds bundle {own}: a copy, or misnamed; name the folder by its bundle")
        return folder

    def truth(self, name: str) -> Truth:
        """The truth of the same id."""
        return read_truth(self._root, name)


def read_truth(root: Path, bundle_id: str) -> Truth:
    """The truth of a bundle, from the tree of truths in `root`.

    Raises:
        CorpusError: it is missing, damaged, or of another bundle.
    """
    path = root / TRUTHS / f"{bundle_id}.json"
    try:
        truth = Truth.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(path, f"is missing: say what happened with inquest eval label {bundle_id}") from error
    except (OSError, ValidationError) as error:
        raise CorpusError(path, f"cannot be read: {error}") from error
    if truth.bundle_id != bundle_id:
        raise CorpusError(path, f"is the truth of {truth.bundle_id}: mislabelled")
    return truth


@dataclass(frozen=True)
class TruthsOnly:
    """Truths that are kept apart from their bundles, for scoring a blind run."""

    root: Path

    def truth(self, name: str) -> Truth:
        """The truth of a bundle."""
        return read_truth(self.root, name)
