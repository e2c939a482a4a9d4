"""Probes run, their answers redacted and committed. Every backend's answers enter the ledger through here."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
import structlog
from polars.exceptions import PolarsError

from activities.answers import encode
from activities.memory.ledger import ArtifactTooLargeError, Ledger
from activities.safety.redaction import Redactor, without_pseudonyms
from activities.telemetry.backend import Answer, TelemetryBackend, run_probes
from activities.telemetry.exceptions import QueryError, SourceRefusedError
from workflows.contracts.canonical import digest_of
from workflows.contracts.observation import Observation, ObservationStatus
from workflows.contracts.probe import Probe

LOG = structlog.stdlib.get_logger(__name__)


def observe(ledger: Ledger, backend: TelemetryBackend, probes: Sequence[Probe], *, in_round: int = 0) -> None:
    """Run probes of one tool that are answered together, and commit each answer as it comes.

    What cannot be had is committed as its status, for all that have no answer by then.

    Raises:
        BackendUnavailableError: the backend could not be reached; what was answered before is committed.
    """
    missing = {probe.key: probe for probe in probes}
    try:
        for probe, answer in run_probes(backend, probes):
            if missing.pop(probe.key, None) is not None:
                commit(ledger, probe, answer, in_round=in_round)
        without = Answer(status=ObservationStatus.ERROR, detail="the source gave no answer to this query")
    except (QueryError, SourceRefusedError) as error:
        without = Answer(status=error.status, detail=error.detail)
    except (ValueError, ArithmeticError, LookupError, TypeError, OSError, PolarsError) as error:
        LOG.exception("probe.failed", probe_id=probes[0].key)
        without = Answer(status=ObservationStatus.ERROR, detail=f"the answer cannot be read: {error}".splitlines()[0])
    for probe in missing.values():
        commit(ledger, probe, without, in_round=in_round)


def commit(ledger: Ledger, probe: Probe, answer: Answer, *, in_round: int = 0) -> Observation:
    """Store an answer, redacted; an answer too large for the ledger is kept as a status without rows."""
    content = None if answer.rows is None else encode(_redacted(answer.rows, ledger.redactor))
    observation = Observation(
        probe_key=probe.key,
        status=answer.status,
        row_count=0 if answer.rows is None else answer.rows.height,
        coverage=answer.coverage,
        artifact=None if content is None else digest_of(content),
        detail=ledger.redactor.redact(answer.detail)[:1_000],
        observed_at=datetime.now(UTC),
    )
    try:
        return ledger.observe(observation, content, in_round=in_round)
    except ArtifactTooLargeError as error:
        without = observation.model_copy(
            update={
                "status": ObservationStatus.TRUNCATED,
                "artifact": None,
                "row_count": 0,
                "detail": str(error),
            }
        )
        return ledger.observe(without, None, in_round=in_round)


TEMPLATES = frozenset(("template", "after"))
"""Columns of log templates: one says what kind of thing stands in a place, not which."""


def _redacted(rows: pl.DataFrame, redactor: Redactor) -> pl.DataFrame:
    """Every distinct text redacted once."""
    columns = [name for name, kind in rows.schema.items() if kind == pl.String]
    for name in columns:
        texts = rows[name].drop_nulls().unique().sort().to_list()
        clean = redactor.redact_all(texts)
        if name in TEMPLATES:
            clean = [without_pseudonyms(text) for text in clean]
        replaced = {text: new for text, new in zip(texts, clean, strict=True) if new != text}
        if replaced:
            rows = rows.with_columns(pl.col(name).replace(replaced))
    return rows
