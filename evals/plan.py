"""What an evaluation is to do, as it is stored before it begins."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from evals.suites import Suite, open_suite
from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.contract import Contract
from workflows.contracts.investigation import Budget

CODE = Path(__file__).parents[1]
ROOMS = ("workflows", "activities", "workers", "evals")


def _sources() -> bytes:
    """A digest of all code that has a part in an answer, because one version of it has many states."""
    whole = hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (CODE / room).rglob("*.py")):
        whole.update(path.relative_to(CODE).as_posix().encode() + path.read_bytes())
    return whole.hexdigest().encode()


def _listing(folder: Path) -> bytes:
    """Names, sizes and times of the files that the cases are made of."""
    rows = [
        f"{path.relative_to(folder).as_posix()} {found.st_size} {found.st_mtime_ns}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for found in (path.stat(),)
    ]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest().encode()


class Plan(Contract):
    """A suite, its cases and how they are replayed. Equal plans are the same evaluation, so that it can go on."""

    suite: str
    root: Path | None = None
    visible_for: timedelta | None = None
    cases: tuple[str, ...]
    repeat: Annotated[int, Field(ge=1, le=100)] = 1
    jobs: Annotated[int, Field(ge=1, le=64)] = 1
    blind: bool = False
    """No truth is opened."""

    baselines: bool = False
    budget: Budget = Budget()
    model: str = ""
    """The endpoint of the language model that is asked; empty: none, so that a run says what the engine does."""

    def key(self) -> str:
        """Equal for equal plans over the same files by the same code, however many cases at once."""
        settings = canonical_json(self.model_copy(update={"jobs": 1}))
        places = [path for path in (self.root, Path(self.suite)) if path is not None and path.is_dir()]
        return digest_of(b"\n".join([settings, _sources(), *(_listing(place) for place in places)]))

    def open(self) -> Suite:
        """The suite.

        Raises:
            CorpusError: it is gone, or of another shape by now.
        """
        return open_suite(self.suite, self.root, self.visible_for)
