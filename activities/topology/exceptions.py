"""What can go wrong with a graph server."""

from workflows.contracts.observation import ObservationStatus


class GraphServerError(Exception):
    """A graph server has no answer. Report it; whether to try again is said by the status.

    Attributes:
        status: `unavailable` may be tried again, the others need a person.
        detail: one sentence.
    """

    def __init__(self, status: ObservationStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
