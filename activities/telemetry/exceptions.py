"""What can go wrong with a source, and what follows: try again, report a data gap, or stop querying it."""

from pathlib import Path

from workflows.contracts.observation import ObservationStatus


class BackendUnavailableError(Exception):
    """Try again: it could not be reached, broke off, or is overloaded. In the end its probes are `unavailable`."""


class QueryError(Exception):
    """Report a data gap and go on: this query has no answer, another one may have.

    Attributes:
        status: why, as precisely as it is known.
        detail: one sentence.
    """

    def __init__(self, status: ObservationStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class SourceRefusedError(Exception):
    """Stop: no query to this source can be answered until a person changes its settings; all probes get the status.

    Attributes:
        status: `forbidden`, `not_found` or `error`.
        detail: what to change.
    """

    def __init__(self, status: ObservationStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class BundleError(SourceRefusedError):
    """A file of a bundle, or of what was fetched, cannot be used. Caught by the command line and by the probe.

    Attributes:
        file: the file at fault.
        problem: what is wrong with it.
        remedy: what to do.
        detail: all of it without the folder: equal bundles give equal reports wherever they lie.
    """

    def __init__(self, file: Path, problem: str, remedy: str) -> None:
        super().__init__(ObservationStatus.ERROR, f"{file.name}: {problem}. {remedy}")
        self.args = (f"{file}: {problem}. {remedy}",)
        self.file = file
        self.problem = problem
        self.remedy = remedy


class SlowBundleError(BundleError):
    """A query to a bundle took longer than it may."""

    def __init__(self, file: Path, problem: str, remedy: str) -> None:
        super().__init__(file, problem, remedy)
        self.status = ObservationStatus.TIMEOUT
