"""What an evaluation was asked to do, as it is stored before it begins."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from evals.suites import Suite, open_suite
from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.contract import Contract
from workflows.contracts.investigation import Budget


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

    def key(self) -> str:
        """Equal for equal plans."""
        return digest_of(canonical_json(self))

    def open(self) -> Suite:
        """The suite.

        Raises:
            CorpusError: it is gone, or of another shape by now.
        """
        return open_suite(self.suite, self.root, self.visible_for)
