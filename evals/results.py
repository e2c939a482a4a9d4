"""The file an evaluation leaves behind: every replay, every score, and what is needed to compute them again.

`evals/results.schema.json` is its published schema, made from these models (`python -m evals.results`).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError

from evals.bundles import Root
from workflows.contracts.contract import Contract, EvolvedContract
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import Digest, EntityId
from workflows.contracts.report import ClaimCounts, Outcome

SCHEMA_FILE = Path(__file__).parent / "results.schema.json"
FILE_LIMIT = 512 * 1024 * 1024


class ResultsError(Exception):
    """A results file cannot be used; the message says why and what to do."""


class Ranked(Contract):
    """One place of a ranking."""

    entity: EntityId
    fault_kind: FaultKind = FaultKind.UNKNOWN
    fault_kind_probability: float = 0.0
    probability: float
    """For a baseline: its score, on a scale of its own."""


class CaseVerdict(Contract):
    """What was said."""

    outcome: Outcome
    entity: EntityId | None
    fault_kind: FaultKind
    fault_kind_probability: float = 0.0
    probability: float
    change_id: str | None
    sentence: str
    partial: bool


class CaseTruth(Contract):
    """What was true."""

    entity: EntityId | None
    """None: nothing was wrong, unless `unnamed`."""

    unnamed: bool = False
    """Something was wrong, and nobody says where."""

    aliases: tuple[EntityId, ...] = ()
    fault_kind: FaultKind = FaultKind.UNKNOWN
    kind_family: tuple[FaultKind, ...] = ()
    change_id: str | None = None
    changes_recorded: bool = True
    also: tuple[Root, ...] = ()
    case: str = ""
    """The case's name as whoever caused it has it."""


class MovedFinding(Contract):
    """A finding and how much it moved one hypothesis, so that two runs can be compared."""

    entity: EntityId
    finding_key: str
    log_odds: float
    reason: str


class CaseResult(Contract):
    """One replay."""

    id: str
    """The bundle's opaque id."""

    case: str
    """The case's name in its suite."""

    system: str
    repeat: int = 0
    failed: str | None = None
    """Why it came to no report; None when it did."""

    truth: CaseTruth | None = None
    """None in a blind run, or when nobody has said what happened."""

    truth_problem: str | None = None
    """Why the truth cannot be used: missing, unreadable, or of no entity of the case."""

    verdict: CaseVerdict | None = None
    ranking: tuple[Ranked, ...] = ()
    none_probability: float = 0.0
    """Probability of "no root cause identified"."""

    entities: tuple[EntityId, ...] = ()
    """Everything that could have been suspected."""

    claims: ClaimCounts = ClaimCounts()
    contributions: tuple[MovedFinding, ...] = ()
    """Of the first three hypotheses."""

    probes: int = 0
    probes_by_status: dict[str, int] = Field(default_factory=dict)
    tokens: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Processor time of the replaying process, shared evenly among the cases that ran at once."""

    peak_memory_bytes: int = 0
    """Largest resident memory of the replaying process while the case ran."""

    history_events: int = 0
    history_bytes: int = 0
    investigation_id: str = ""
    findings_sha256: Digest | None = None
    baselines: dict[str, tuple[Ranked, ...]] = Field(default_factory=dict)


class Interval(Contract):
    """A figure with its 95 % bootstrap confidence interval over cases."""

    value: float
    low: float
    high: float
    n: int


class RankScores(Contract):
    """How high the true root stands. Multiple roots: the share of them among the first k."""

    ac1: Interval
    ac3: Interval
    ac5: Interval
    avg5: Interval
    """Mean of AC@1 to AC@5."""

    mrr: Interval


class ReliabilityBin(Contract):
    """Cases whose first hypothesis had a probability in [low, high)."""

    low: float
    high: float
    n: int
    mean_probability: float
    share_right: float


class Calibration(Contract):
    """How far probabilities can be believed. The event: the first hypothesis is a true root."""

    n: int
    brier: float
    ece: float
    bins: tuple[ReliabilityBin, ...]


class Abstention(EvolvedContract):
    """Naming no root cause when there is none, and only then."""

    earlier_names: ClassVar[Mapping[str, str]] = {"falsely_accused": "false_alarms"}
    healthy: int
    false_alarms: int
    """Healthy cases whose published verdict names a root cause."""

    incidents: int
    right_verdicts: int
    """Incidents whose published verdict names a true root."""

    wrong_verdicts: int
    """Incidents whose published verdict names somebody else."""

    missed: int
    """Incidents whose published verdict names no root cause."""

    unnamed: int = 0
    """Incidents of which nobody says where: they are in no other figure here."""

    unnamed_missed: int = 0
    """Those whose published verdict names no root cause."""


class ChangeScores(Contract):
    """Whether the verdict names the change that brought the fault in, or none where none did."""

    n: int
    right: int
    with_change: int
    right_change: int
    without_change: int
    right_none: int


class Costs(Contract):
    """Medians and maxima over replays."""

    wall_seconds_median: float
    wall_seconds_max: float
    cpu_seconds_median: float
    peak_memory_bytes_max: int
    probes_median: float
    tokens_total: int
    history_events_max: int
    history_bytes_max: int


class GroupScores(Contract):
    """All scores of one group of cases."""

    group: str
    cases: int
    replays: int
    failed: int
    unscorable: int
    """Replays without a usable truth; they are in no figure."""

    entity: RankScores | None
    """None when no case of the group has a root."""

    entity_and_kind: RankScores | None
    """Only cases whose truth states a kind."""

    kind_accuracy: Interval | None
    """Of the first hypothesis: the stated kind, or any of the corpus's coarser category."""

    changes: ChangeScores | None
    abstention: Abstention
    calibration: Calibration | None
    kind_calibration: Calibration | None = None
    """Of the kind of fault. The event: the kind of the first hypothesis is right, where that names a true root."""

    verdict_against_ranking: tuple[str, ...] = ()
    """Cases whose published verdict says something else than their published ranking."""

    claims: ClaimCounts
    claim_support: float | None
    """Share of the engine's claims that held when they were evaluated again."""

    costs: Costs
    baselines: dict[str, RankScores] = Field(default_factory=dict)


class Scores(Contract):
    """By system, and by fault kind within each system. Never one pooled number."""

    systems: tuple[GroupScores, ...]
    fault_kinds: tuple[GroupScores, ...] = ()


class EvaluationFile(Contract):
    """Everything about one evaluation."""

    schema_version: Literal[1] = 1
    evaluation_id: str
    suite: str
    engine_version: str
    blind: bool = False
    repeat: int = 1
    jobs: int = 1
    visible_for_seconds: Annotated[float, Field(ge=0)] | None = None
    """How long after the alert things were seen, where the suite's own clock was overridden."""

    started_at: datetime
    finished_at: datetime
    wall_seconds: float
    cpu_count: int
    baseline_notes: dict[str, str] = Field(default_factory=dict)
    """What each baseline is, and what it was given."""

    cases: tuple[CaseResult, ...]
    scores: Scores | None = None


def read_results(path: Path) -> EvaluationFile:
    """A results file.

    Raises:
        ResultsError: it is missing, too large, or of another shape.
    """
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise ResultsError(f"{path}: is over {FILE_LIMIT} bytes")
        return EvaluationFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultsError(f"{path}: is no results file of inquest eval run: {where}: {first['msg']}") from error


def check_writable(path: Path) -> None:
    """Find out before a long run whether its results can be written.

    Raises:
        ResultsError: they cannot.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.touch()
        scratch.unlink()
        if path.is_dir():
            raise ResultsError(f"{path} is a folder: name a file")
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror}") from error


def write_results(results: EvaluationFile, path: Path) -> None:
    """Write a results file, whole or not at all."""
    scratch = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(results.model_dump_json(indent=1) + "\n")
        scratch.replace(path)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror}") from error


def schema() -> str:
    """The published JSON schema."""
    return json.dumps(EvaluationFile.model_json_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema())
