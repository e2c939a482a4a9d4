"""Every error that leaves this package.

Catch `UnavailableError` to try again later, `RejectedError` to mend what was given; the others say what they are.
"""


class InquestError(Exception):
    """Any of them."""


class UnavailableError(InquestError, ConnectionError):
    """A server did not answer in time; the message says which call, and what was the last thing that went wrong."""


class RejectedError(InquestError, ValueError):
    """What was given cannot be used; the message says why and what to give instead."""


class PayloadError(RejectedError):
    """The payload cannot be used; the message says why and what to send instead."""


class OutsideRecordingError(RejectedError):
    """The moment is not in the recording; the message says what is."""


class InvestigationNotFoundError(InquestError, LookupError):
    """There is no investigation of that id for this tenant."""


class FactNotFoundError(InquestError, LookupError):
    """There is no fact of that id for this tenant."""


class InvestigationEndedError(InquestError, RuntimeError):
    """The investigation ended without a report; the message says how."""


class TooLateError(InquestError, RuntimeError):
    """The investigation is concluding or closed: it takes no hint and needs no stop."""


class TooManyHintsError(InquestError, RuntimeError):
    """The investigation has as many hints as it takes."""
