"""What every activity of an investigation does around its work: repeat nothing, beat, time, store."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.memory.ledger import Ledger
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.session import is_outage
from activities.memory.store import ForgedRequestError, Store
from activities.progress import StandstillError, beating, longest_standstill, progressed, stood_still
from activities.telemetry.exceptions import BackendUnavailableError
from activities.turns import Turns
from workflows.contracts.contract import Contract
from workflows.contracts.investigation import StepInput
from workflows.contracts.version import ENGINE_VERSION
from workflows.steps import Output, Step

LOG = structlog.stdlib.get_logger(__name__)
ATTEMPTS_OF_A_DEFECT = 3
"""An error that is neither the database's nor a backend's is our own; it is tried this often."""


LONGEST_DELAY = timedelta(minutes=1)
"""Before another attempt, whatever a server asks for."""


class StepInterruptedError(Exception):
    """This attempt ends without a result, and the next one goes on from what is stored."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = None if retry_after is None else min(retry_after, LONGEST_DELAY)


class StepDefectError(Exception):
    """A step failed for a reason that another attempt does not mend. Its message goes into the report."""


@dataclass(frozen=True)
class Outcome:
    """What a step's work returns: its output, and the rows to store with it."""

    output: Contract
    batch: LedgerBatch | None = None


Work = Callable[[Ledger, StepInput], Outcome]


def run_step(store: Store, step: Step[Output], given: StepInput, work: Work, *, turns: Turns | None = None) -> Output:
    """Run `work` once per investigation and step: a finished step answers from the ledger.

    Args:
        store: the ledger's.
        step: which one.
        given: its input.
        work: what it does.
        turns: where it lines up before it computes; None: it does not compute much.

    Raises:
        ApplicationError: the work failed; retryable unless it is a defect of ours.
    """
    request = given.request
    ledger = store.ledger(request.tenant, request.investigation_id)
    with (
        structlog.contextvars.bound_contextvars(investigation_id=request.investigation_id, step=step.name),
        beating(),
    ):
        try:
            store.require_recorded(request)
            _count_standstill(ledger, step.name)
            if step.computed:
                given = given.model_copy(update={"round": ledger.computed_round(given.round, ENGINE_VERSION)})
            if turns is None:
                return finished(ledger, step, given, work)
            urgency = (step.priority(request).priority_key or 0, -step.stage, request.investigation_id)
            with turns.turn(urgency, _still_wanted):
                return finished(ledger, step, given, work)
        except ApplicationError:
            raise
        except StandstillError as error:
            raise _interrupted(ledger, error) from None
        except ForgedRequestError as error:
            LOG.warning("step.refused", reason=str(error))
            raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from None
        except (BackendUnavailableError, StepInterruptedError) as error:
            raise _interrupted(ledger, error) from None
        except SQLAlchemyError as error:
            if is_outage(error):
                raise _interrupted(ledger, error) from None
            raise _defect(ledger, step.name, error) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect of ours and ends in a report
            raise _defect(ledger, step.name, error) from None


def _still_wanted() -> None:
    """Waiting for a turn is no standstill, unless this worker goes away.

    Raises:
        StepInterruptedError: it does.
    """
    progressed()
    details = activity.cancellation_details()
    if activity.is_worker_shutdown() or (activity.is_cancelled() and not (details and details.cancel_requested)):
        raise StepInterruptedError("this worker is going away; another one takes it")


def finished(ledger: Ledger, step: Step[Output], given: StepInput, work: Work) -> Output:
    """What the step returned in this round; it is done now when it has not been."""
    started, key = time.monotonic(), step.key(given)
    stored = ledger.step(key, step.output)
    if stored is not None:
        return stored
    outcome = work(ledger, given)
    return ledger.finish_step(
        key,
        step.output.model_validate(outcome.output.model_dump()),
        attempt=activity.info().attempt,
        seconds=time.monotonic() - started,
        engine_version=ENGINE_VERSION,
        at=datetime.now(UTC),
        batch=outcome.batch,
    )


def _count_standstill(ledger: Ledger, step: str) -> None:
    """An attempt that hung is a defect like any other: a few of them are final.

    Raises:
        ApplicationError: there were too many.
    """
    if not stood_still():
        return
    sentence = f"it made no progress for {longest_standstill().total_seconds():.0f} s and was begun again"
    failures = ledger.record_failure(f"defect:{step}", sentence=sentence, at=datetime.now(UTC))
    LOG.error("step.stood_still", failures=failures)
    if failures >= ATTEMPTS_OF_A_DEFECT:
        raise ApplicationError(sentence, type=StepDefectError.__name__)


def _interrupted(ledger: Ledger, error: Exception) -> ApplicationError:
    """Something is away for a while: tried again for as long as it takes."""
    LOG.warning("step.interrupted", attempt=activity.info().attempt, reason=type(error).__name__)
    delay = error.retry_after if isinstance(error, StepInterruptedError) else None
    return ApplicationError(_one_line(ledger, error), type=type(error).__name__, next_retry_delay=delay)


def _defect(ledger: Ledger, step: str, error: Exception) -> ApplicationError:
    """An error of our own: tried a few times, then final. Its cause stays out of the workflow's history."""
    LOG.error("step.failed", attempt=activity.info().attempt, exc_info=error)
    try:
        failures = ledger.record_failure(f"defect:{step}", sentence=_one_line(ledger, error), at=datetime.now(UTC))
    except DBAPIError:
        failures = 0
    final = failures >= ATTEMPTS_OF_A_DEFECT
    return ApplicationError(_one_line(ledger, error), type=StepDefectError.__name__ if final else "StepError")


def _one_line(ledger: Ledger, error: BaseException) -> str:
    """What may be told to Temporal, which stores failures as they are."""
    return ledger.redactor.redact(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:500])
