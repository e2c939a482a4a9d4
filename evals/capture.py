"""`inquest capture`: any finished investigation becomes a bundle that can be replayed.

What is kept are the answers it got, so that it works whatever the backend was: the telemetry itself may be gone by
now. A replay by the same engine runs the same queries and ends in the same findings.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
import zstandard
from rich.text import Text

from activities.memory.ledger import ArtifactLostError, Ledger
from activities.telemetry.recorded import ANSWERS
from evals.bundles import Root, Truth, write_captured, write_truth
from evals.suites import BUNDLES, TRUTHS
from workers.installation import Installation, open_installation
from workers.invocation import ERR, OUT, find_investigation, handle_known_errors, read_settings
from workflows.contracts.bundle import BundleManifest, VisibleWindow
from workflows.contracts.feedback import Feedback, Judgement
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId, InvestigationId
from workflows.contracts.report import Verdict

LEVEL = 10


class NotCapturedError(Exception):
    """An investigation cannot be captured; the message says why."""


@handle_known_errors
def capture(
    investigation_id: Annotated[str, typer.Argument(help="Id, or the beginning of one.")],
    out: Annotated[Path, typer.Argument(help="Folder of captured bundles; it gets bundles/<id>.")],
) -> None:
    """Keep a finished investigation as a bundle, to replay it with another version."""
    with open_installation(read_settings()) as installation:
        whole = find_investigation(installation, investigation_id)
        try:
            folder, notes = capture_investigation(installation, whole, out)
        except (NotCapturedError, ArtifactLostError, OSError) as error:
            ERR.print(Text(f"error: {error}", style="red"))
            raise typer.Exit(1) from error
    for note in notes:
        ERR.print(Text(note, style="yellow"))
    OUT.print(Text(str(folder)))


def capture_investigation(
    installation: Installation, investigation_id: InvestigationId, out: Path
) -> tuple[Path, list[str]]:
    """Write the bundle of a finished investigation; returns its folder, and why a replay may differ.

    Raises:
        NotCapturedError: it has not ended in a report.
        ArtifactLostError: an answer is no longer in the store.
        FileExistsError: it was captured there before.
    """
    ledger = installation.ledger(investigation_id)
    report = ledger.report()
    request = installation.incidents().request(investigation_id)
    if report is None or request is None:
        raise NotCapturedError(f"investigation {investigation_id} has no report yet: capture it when it is finished")
    alerts = [item.alert for item in ledger.alerts()]
    answers = _answers(ledger)
    starts = [probe.window.start for probe in ledger.probes()]
    window = VisibleWindow(start=min(starts, default=request.as_of - timedelta(days=1)), end=request.as_of)
    bundle_id = f"c{investigation_id.replace('-', '')}"
    manifest = write_captured(
        out / BUNDLES / bundle_id,
        bundle_id=bundle_id,
        alerts=alerts,
        visible=window,
        as_of=request.as_of,
        answers=answers,
        environment=request.environment if request.sources else None,
        sources=request.sources,
        mappings=installation.mappings_for(request),
        rounds=request.budget.rounds,
    )
    said = installation.store.feedback(installation.tenant).latest([investigation_id], until=datetime.now(UTC))
    notes = _notes(report.findings.hints, report.run.stopped_by, manifest)
    if report.run.models:
        notes.append("a language model was asked: a replay asks it anew, and another one may say something else")
    if investigation_id in said:
        notes.append(_labelled(said[investigation_id], report.findings.verdict, bundle_id, out))
    return out / BUNDLES / bundle_id, notes


def _labelled(said: Feedback, verdict: Verdict, bundle_id: str, out: Path) -> str:
    """Write the truth that a person's feedback tells; returns what was done."""
    entity = said.cause or (verdict.entity if said.judgement is not Judgement.WRONG else None)
    if entity is None:
        return f"a person called it {said.judgement.value} and named no cause: label it with inquest eval label"
    agreed = said.judgement is Judgement.RIGHT and entity == verdict.entity
    kind = said.fault_kind if said.fault_kind is not FaultKind.UNKNOWN or not agreed else verdict.fault_kind
    change = said.change_id or (verdict.change_id if agreed else None)
    root = Root(entity=EntityId(entity), fault_kind=kind, change_id=change)
    system = out.resolve().name
    truth = Truth.of([root], bundle_id=bundle_id, system=system, case=bundle_id, note=said.said)
    write_truth(truth, out / TRUTHS)
    return f"labelled by a person's feedback: {entity}, {kind.value}"


def _answers(ledger: Ledger) -> pl.DataFrame:
    observations = ledger.observations()
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    rows = []
    for probe in ledger.probes():
        observation = observations.get(probe.key)
        if observation is None:
            continue
        content = None
        if observation.artifact is not None:
            content = compressor.compress(ledger.artifact(observation.artifact))
        rows.append((probe.key, probe.model_dump_json(), observation.model_dump_json(), content))
    return pl.DataFrame(rows, schema=ANSWERS, orient="row")


def _notes(hints: tuple[str, ...], stopped_by: str | None, manifest: BundleManifest) -> list[str]:
    notes = []
    if hints:
        notes.append(f"people gave {len(hints)} hints: a replay is without them and may say something else")
    if stopped_by is not None:
        notes.append(f"it was ended early ({stopped_by}): a replay runs all that was planned, and ends by itself")
    if manifest.answers is not None and not manifest.answers.rows:
        notes.append("it got no answers: a replay can find nothing")
    return notes
