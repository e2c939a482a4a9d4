"""What every reader offers.

A recording is made without the labels: a reader's `recording` opens no file, column or key that holds only the
truth, so that a blind run cannot see one by mistake.
"""

from datetime import timedelta
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


class Reader(Protocol):
    """Reads one format."""

    def __init__(self, root: Path, *, visible_for: timedelta | None = None) -> None:
        """Look at the corpus in `root`.

        Args:
            root: the corpus's folder.
            visible_for: how long after the alert things are seen; None: as the corpus's stated clock has it.

        Raises:
            CorpusError: it is not there, or not of this format.
        """

    def names(self) -> list[str]:
        """Names of the cases, in a stated order."""
        ...

    def system(self, name: str) -> str:
        """The system that a case is about, so that figures are never pooled over systems."""
        ...

    def recording(self, name: str) -> Recording:
        """What could be seen of one case.

        Raises:
            CorpusError: there is no such case, or its files are damaged.
        """
        ...

    def truth(self, name: str) -> Truth:
        """What really happened in one case.

        Raises:
            CorpusError: it is missing or damaged.
        """
        ...
