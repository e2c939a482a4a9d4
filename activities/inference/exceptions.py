"""Why a model's answer cannot be had. All of them cost its opinion and nothing else."""

from datetime import timedelta

from workflows.contracts.model import ModelProblem


class ModelError(Exception):
    """A model gave nothing that counts. Caught by who asked; the message goes into the turn, redacted."""

    problem = ModelProblem.UNKNOWN


class ModelUnavailableError(ModelError):
    """It cannot be reached, is too slow, or says that it cannot now: another attempt may help."""

    problem = ModelProblem.UNREACHABLE

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """What the server asks to wait for; None when it says nothing."""


class ModelRefusedError(ModelError):
    """It will not answer this, however often it is asked: an unknown model, a wrong key, a schema it does not take."""

    problem = ModelProblem.REFUSED


class ContextOverflowError(ModelError):
    """The prompt is longer than the model can read; a shorter one may fit."""

    problem = ModelProblem.CONTEXT_OVERFLOW


class InvalidAnswerError(ModelError):
    """It answered something else than what was asked for, or only the beginning of it."""

    problem = ModelProblem.INVALID


class ReplyError(Exception):
    """A server gave no usable HTTP reply. The message completes a sentence that begins with its name."""
