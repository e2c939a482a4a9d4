"""What every reader offers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evals.bundles import Recording, Truth


class CorpusError(Exception):
    """A corpus or a case of it cannot be read; the others can.

    Attributes:
        path: the file or folder at fault.
        problem: what is wrong with it.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recorded incident of a corpus, and what really happened."""

    recording: Recording
    truth: Truth


class Reader(Protocol):
    """Reads one format."""

    def __init__(self, root: Path) -> None:
        """Look at the corpus in `root`.

        Raises:
            CorpusError: it is not there, or not of this format.
        """

    def names(self) -> list[str]:
        """Names of the cases, in a stated order."""
        ...

    def read(self, name: str) -> Case:
        """One case.

        Raises:
            CorpusError: there is no such case, or its files are damaged.
        """
        ...
