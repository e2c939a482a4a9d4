"""One investigation's append-only record. Every write is keyed, so that writing again changes nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import zstandard
from sqlalchemy import ColumnElement, Connection, Engine, Select, Table, func, select
from sqlalchemy.dialects.postgresql import Insert, insert

from activities.memory.ledger_batch import LedgerBatch
from activities.memory.model_service import request_rows
from activities.memory.tables import (
    ALERT,
    ARTIFACT,
    CLAIM,
    CONCLUSION,
    DECISION,
    DELIVERY,
    FINDING,
    HINT,
    HISTORY,
    HYPOTHESIS,
    INVESTIGATION,
    MENU,
    MODEL_CALL,
    MODEL_REQUEST,
    OBSERVATION,
    PROBE,
    REPORT,
    SOURCE_USE,
    STEP,
    TURN,
)
from activities.memory.uuid7 import uuid7
from activities.safety.redaction import REDACTION_VERSION, Redactor
from workflows.contracts.alert import Alert
from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.claim import Claim
from workflows.contracts.contract import Contract
from workflows.contracts.deliberation import Turn
from workflows.contracts.finding import Finding
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.identifiers import Digest, InvestigationId, ProbeKey, Tenant
from workflows.contracts.model import ModelCall
from workflows.contracts.observation import Observation
from workflows.contracts.probe import PROBE as PROBE_ADAPTER
from workflows.contracts.probe import Probe, entity_of
from workflows.contracts.report import ObservationSummary, Report, ReportFindings, ReportRun, SourceUse
from workflows.steps import FINDINGS

ARTIFACT_LIMIT = 8 * 1024 * 1024
"""Largest stored artifact, compressed; beyond it an answer is truncated where the data is."""

LIST_LIMIT = 200_000
LONGEST_OFFER_S = 30
"""Seconds that Temporal may take to accept a hint; then the offer is withdrawn."""

ANEW = 1_000
"""Between the numbers of a round and of the same answers computed anew; workflows number rounds from 0."""

Result = TypeVar("Result", bound=Contract)


class ArtifactTooLargeError(ValueError):
    """An answer does not fit; the backend has to reduce it further."""


class ArtifactLostError(LookupError):
    """A reference points at an artifact that is not there (a restore lost it). Reported, never guessed."""


@dataclass(frozen=True, kw_only=True)
class StoredAlert:
    alert: Alert
    number: int
    deliveries: int


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A model's answer as it is kept."""

    answer: str
    call: ModelCall


class Ledger:
    """The record of one investigation of one tenant."""

    def __init__(self, engine: Engine, tenant: Tenant, investigation_id: InvestigationId, redactor: Redactor) -> None:
        self._engine = engine
        self.redactor = redactor
        self._key: dict[str, str] = {"tenant": tenant, "investigation_id": investigation_id}

    # Steps

    def step(self, key: str, output: type[Result]) -> Result | None:
        """What the step of that key returned, when it has finished before."""
        with self._engine.connect() as connection:
            stored = connection.scalar(select(STEP.c.output).where(*self._of(STEP), STEP.c.step_key == key))
        return None if stored is None else output.model_validate(stored)

    def finish_step(
        self,
        key: str,
        output: Result,
        *,
        attempt: int,
        seconds: float,
        engine_version: str,
        at: datetime,
        batch: "LedgerBatch | None" = None,
    ) -> Result:
        """Store a step's rows and its output in one transaction; a lost race returns the winner's output."""
        with self._engine.begin() as connection:
            won = connection.execute(
                insert(STEP)
                .values(
                    **self._key,
                    step_key=key,
                    output=output.model_dump(mode="json"),
                    attempt=attempt,
                    seconds=seconds,
                    engine_version=engine_version,
                    redaction_version=REDACTION_VERSION,
                    finished_at=at,
                )
                .on_conflict_do_nothing()
                .returning(STEP.c.step_key)
            ).first()
            if won is not None and batch is not None:
                for table, rows in batch.rows:
                    self._insert(connection, table, rows)
        stored = self.step(key, type(output))
        assert stored is not None
        return stored

    def steps(self) -> list[tuple[str, int, float]]:
        """(key, attempt, seconds) of every finished step, in order."""
        query = (
            select(STEP.c.step_key, STEP.c.attempt, STEP.c.seconds)
            .where(*self._of(STEP))
            .order_by(STEP.c.finished_at)
            .limit(LIST_LIMIT)
        )
        with self._engine.connect() as connection:
            return [(row.step_key, row.attempt, row.seconds) for row in connection.execute(query)]

    # Alerts, hints, decisions

    def alerts(self) -> list[StoredAlert]:
        """Every distinct alert with how often it was delivered, in order of arrival."""
        counts = (
            select(DELIVERY.c.fingerprint, func.count().label("deliveries"))
            .where(*self._of(DELIVERY))
            .group_by(DELIVERY.c.fingerprint)
            .subquery()
        )
        query = (
            select(ALERT.c.body, ALERT.c.number, counts.c.deliveries)
            .join(counts, counts.c.fingerprint == ALERT.c.fingerprint)
            .where(*self._of(ALERT))
            .order_by(ALERT.c.number)
            .limit(1_000)
        )
        with self._engine.connect() as connection:
            return [
                StoredAlert(alert=Alert.model_validate(row.body), number=row.number, deliveries=row.deliveries)
                for row in connection.execute(query)
            ]

    @contextmanager
    def offered_hint(self, text: str, *, author: str, at: datetime) -> Iterator[int]:
        """A hint whose number is known and whose text is stored when the context ends well, and not otherwise.

        Meanwhile who reads the hints of this investigation waits; a process that never comes back is cut off.
        """
        with self._engine.begin() as connection:
            connection.execute(
                select(func.set_config("idle_in_transaction_session_timeout", f"{LONGEST_OFFER_S}s", True))
            )
            connection.execute(select(func.pg_advisory_xact_lock(self._hint_lock)))
            number = int(
                connection.scalar(select(func.coalesce(func.max(HINT.c.number), 0) + 1).where(*self._of(HINT))) or 1
            )
            row = {
                **self._key,
                "number": number,
                "text": self.redactor.redact(text),
                "author": self.redactor.redact(author),
                "given_at": at,
            }
            connection.execute(insert(HINT).values(row))
            yield number

    def hints(self, numbers: Sequence[int]) -> list[str]:
        """The texts of these hints, in order; a number without a text is left out."""
        if not numbers:
            return []
        query = select(HINT.c.text).where(*self._of(HINT), HINT.c.number.in_(numbers)).order_by(HINT.c.number)
        with self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock_shared(self._hint_lock)))
            return list(connection.scalars(query))

    @property
    def _hint_lock(self) -> ColumnElement[int]:
        return func.hashtextextended(str(self._key), 1)

    def decide(self, key: str, *, kind: str, sentence: str, at: datetime) -> None:
        """Record a decision (a budget that ran out, a stop) once."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(DECISION)
                .values(**self._key, decision_key=key, kind=kind, sentence=sentence, decided_at=at)
                .on_conflict_do_nothing()
            )

    def record_failure(self, kind: str, *, sentence: str, at: datetime) -> int:
        """Record one more failure of a kind and return how many there are."""
        query = select(func.count()).select_from(DECISION).where(*self._of(DECISION), DECISION.c.kind == kind)
        with self._engine.connect() as connection:
            number = int(connection.scalar(query) or 0) + 1
        self.decide(f"{kind}:{number}", kind=kind, sentence=self.redactor.redact(sentence)[:500], at=at)
        return number

    # Probes and observations

    def probes(self, in_round: int | None = None) -> list[Probe]:
        """The plan of one round, or of all of them, in order; each probe once."""
        of_round = () if in_round is None else (PROBE.c.round == in_round,)
        query = (
            select(PROBE.c.body)
            .where(*self._of(PROBE), *of_round)
            .order_by(PROBE.c.round, PROBE.c.ordinal, PROBE.c.probe_key)
            .limit(LIST_LIMIT)
        )
        with self._engine.connect() as connection:
            planned = [PROBE_ADAPTER.validate_python(body) for body in connection.scalars(query)]
        return list({probe.key: probe for probe in planned}.values())

    def menu(self) -> list[Probe]:
        """Planned queries that a later look may choose from, those that were chosen since included."""
        query = select(MENU.c.body).where(*self._of(MENU)).order_by(MENU.c.ordinal).limit(LIST_LIMIT)
        with self._engine.connect() as connection:
            return [PROBE_ADAPTER.validate_python(body) for body in connection.scalars(query)]

    def model_answer(self, call_key: str) -> Completed | None:
        """What a model answered to this question before; None when it was not asked, or did not answer."""
        query = (
            select(MODEL_CALL.c.answer, MODEL_CALL.c.body)
            .where(*self._of(MODEL_CALL), MODEL_CALL.c.call_key == call_key, MODEL_CALL.c.answer.is_not(None))
            .order_by(MODEL_CALL.c.round)
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else Completed(answer=row.answer, call=ModelCall.model_validate(row.body))

    def record_model_answer(
        self, call_key: str, *, in_round: int, prompt: str, answer: str, call: ModelCall, at: datetime
    ) -> None:
        """Keep what a model was told and what it answered, redacted, once."""
        row = {
            **self._key,
            "round": in_round,
            "call_key": call_key,
            "prompt": self.redactor.redact(prompt),
            "answer": self.redactor.redact(answer),
            "body": call.model_dump(mode="json"),
            "redaction_version": REDACTION_VERSION,
            "called_at": at,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(MODEL_CALL).values(row).on_conflict_do_nothing())

    def record_unanswered(self, call: ModelCall, *, at: datetime) -> None:
        """Keep that a model did not answer a request which will be made again; others are kept with their step."""
        with self._engine.begin() as connection:
            self._insert(connection, MODEL_REQUEST, request_rows([call], at=at))

    def tokens(self) -> int:
        """Tokens of all questions and answers so far."""
        query = select(MODEL_CALL.c.body).where(*self._of(MODEL_CALL)).limit(LIST_LIMIT)
        with self._engine.connect() as connection:
            calls = [ModelCall.model_validate(body) for body in connection.scalars(query)]
        return sum(item.prompt_tokens + item.completion_tokens for item in calls)

    def turns(self) -> list[Turn]:
        """What was decided after each ranking, in order."""
        query = select(TURN.c.body).where(*self._of(TURN)).order_by(TURN.c.round).limit(LIST_LIMIT)
        with self._engine.connect() as connection:
            return [Turn.model_validate(body) for body in connection.scalars(query)]

    def observations(self) -> dict[ProbeKey, Observation]:
        """Every answer so far; of a probe that was run in several rounds, the last one."""
        query = select(OBSERVATION.c.body).where(*self._of(OBSERVATION)).order_by(OBSERVATION.c.round).limit(LIST_LIMIT)
        with self._engine.connect() as connection:
            found = [Observation.model_validate(body) for body in connection.scalars(query)]
        return {item.probe_key: item for item in found}

    def answered_keys(self, in_round: int) -> set[ProbeKey]:
        """Keys of the probes that have an answer of that round."""
        query = (
            select(OBSERVATION.c.probe_key)
            .where(*self._of(OBSERVATION), OBSERVATION.c.round == in_round)
            .limit(LIST_LIMIT)
        )
        with self._engine.connect() as connection:
            return {ProbeKey(key) for key in connection.scalars(query)}

    def observe(self, observation: Observation, content: bytes | None, *, in_round: int = 0) -> Observation:
        """Commit one answer with its artifact; a lost race returns the stored row.

        Raises:
            ArtifactTooLargeError: the compressed answer exceeds `ARTIFACT_LIMIT`.
        """
        stored_at = observation.observed_at
        kept = [] if content is None else [self._artifact_row(content, stored_at).cte("kept")]
        with self._engine.begin() as connection:
            body = connection.scalar(
                insert(OBSERVATION)
                .add_cte(*kept)
                .values(
                    **self._key,
                    round=in_round,
                    probe_key=observation.probe_key,
                    status=observation.status,
                    row_count=observation.row_count,
                    artifact=observation.artifact,
                    body=observation.model_dump(mode="json"),
                    redaction_version=REDACTION_VERSION,
                    observed_at=stored_at,
                )
                .on_conflict_do_nothing()
                .returning(OBSERVATION.c.body)
            ) or connection.scalar(
                select(OBSERVATION.c.body).where(
                    *self._of(OBSERVATION),
                    OBSERVATION.c.round == in_round,
                    OBSERVATION.c.probe_key == observation.probe_key,
                )
            )
        return Observation.model_validate(body)

    def _artifact_row(self, content: bytes, at: datetime) -> Insert:
        """The statement that stores an artifact, unless it is there.

        Raises:
            ArtifactTooLargeError: compressed it exceeds `ARTIFACT_LIMIT`.
        """
        packed = zstandard.ZstdCompressor(level=3).compress(content)
        if len(packed) > ARTIFACT_LIMIT:
            raise ArtifactTooLargeError(
                f"an answer of {len(packed)} compressed bytes exceeds {ARTIFACT_LIMIT}: query less at once"
            )
        return (
            insert(ARTIFACT)
            .values(
                tenant=self._key["tenant"],
                sha256=digest_of(content),
                size=len(content),
                content=packed,
                stored_at=at,
            )
            .on_conflict_do_nothing()
        )

    def artifact(self, digest: Digest) -> bytes:
        """The answer with this SHA-256.

        Raises:
            ArtifactLostError: it is not there, or its bytes do not have that digest.
        """
        query = select(ARTIFACT.c.content).where(ARTIFACT.c.tenant == self._key["tenant"], ARTIFACT.c.sha256 == digest)
        with self._engine.connect() as connection:
            packed = connection.scalar(query)
        if packed is None:
            raise ArtifactLostError(f"artifact {digest} is not in the ledger; was an older backup restored?")
        try:
            content = zstandard.ZstdDecompressor().decompress(packed)
        except zstandard.ZstdError as error:
            raise ArtifactLostError(f"artifact {digest} was damaged in the database") from error
        if digest_of(content) != digest:
            raise ArtifactLostError(f"artifact {digest} was altered in the database")
        return content

    def stored_artifacts(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of these artifacts that are in the store."""
        query = select(ARTIFACT.c.sha256).where(
            ARTIFACT.c.tenant == self._key["tenant"], ARTIFACT.c.sha256.in_(sorted(digests))
        )
        with self._engine.connect() as connection:
            return {Digest(found) for found in connection.scalars(query)}

    def bytes_stored(self) -> int:
        """Compressed bytes of the artifacts this investigation refers to."""
        query = (
            select(func.coalesce(func.sum(func.octet_length(ARTIFACT.c.content)), 0))
            .select_from(ARTIFACT)
            .where(
                ARTIFACT.c.tenant == self._key["tenant"],
                ARTIFACT.c.sha256.in_(select(OBSERVATION.c.artifact).where(*self._of(OBSERVATION))),
            )
        )
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def observation_summaries(self, limit: int = 5_000) -> list[ObservationSummary]:
        """The plan and what became of each probe."""
        observations = self.observations()
        rows: list[ObservationSummary] = []
        for probe in self.probes()[:limit]:
            answer = observations.get(probe.key)
            rows.append(
                ObservationSummary(
                    probe_key=probe.key,
                    tool=probe.tool,
                    entity=entity_of(probe),
                    status=answer.status if answer else None,
                    row_count=answer.row_count if answer else 0,
                    artifact=answer.artifact if answer else None,
                    detail=answer.detail if answer else "",
                )
            )
        return rows

    def record_use(self, source: str, *, queries: int, bytes_received: int, at: datetime) -> None:
        """Record what one attempt at a step has cost a source."""
        row = {**self._key, "use_id": uuid7(), "source": source, "queries": queries, "bytes_received": bytes_received}
        with self._engine.begin() as connection:
            connection.execute(insert(SOURCE_USE).values(**row, used_at=at))

    def source_uses(self) -> list[SourceUse]:
        """What the investigation has cost each source so far, by name; attempts that were lost with a worker too."""
        query = (
            select(
                SOURCE_USE.c.source,
                func.sum(SOURCE_USE.c.queries).label("queries"),
                func.sum(SOURCE_USE.c.bytes_received).label("bytes_received"),
            )
            .where(*self._of(SOURCE_USE))
            .group_by(SOURCE_USE.c.source)
            .order_by(SOURCE_USE.c.source)
        )
        with self._engine.connect() as connection:
            return [
                SourceUse(source=row.source, queries=int(row.queries), bytes_received=int(row.bytes_received))
                for row in connection.execute(query)
            ]

    # Findings, hypotheses, claims, report

    def computed_round(self, number: int, engine_version: str) -> int:
        """In which round this version computes what follows from the answers of round `number`.

        In that round itself, unless another version has begun there: then in the next one that is `ANEW` later.
        """
        query = (
            select(STEP.c.step_key, STEP.c.engine_version)
            .where(*self._of(STEP), STEP.c.step_key.like(f"{FINDINGS.name}:%"))
            .limit(LIST_LIMIT)
        )
        with self._engine.connect() as connection:
            versions = {int(row.step_key.rpartition(":")[2]): row.engine_version for row in connection.execute(query)}
        begun = [found for found in sorted(versions) if found % ANEW == number % ANEW]
        ours = [found for found in begun if versions[found] == engine_version]
        if ours:
            return ours[-1]
        return begun[-1] + ANEW if begun else number

    def concluded_round(self, number: int) -> int:
        """The last round in which anything was computed from the answers of round `number`."""
        rounds = [int(key.rpartition(":")[2]) for key, _, _ in self.steps() if key.startswith(f"{FINDINGS.name}:")]
        return max((found for found in rounds if found % ANEW == number % ANEW), default=number)

    def last_round(self) -> int:
        """The number of the last round in which any step has finished; 0 before."""
        rounds = [int(number) for key, _, _ in self.steps() if (number := key.rpartition(":")[2]).isdigit()]
        return max(rounds, default=0)

    def findings(self, in_round: int) -> list[Finding]:
        """Every finding of a round, in canonical order."""
        query = self._bodies(FINDING, in_round)
        with self._engine.connect() as connection:
            return [Finding.model_validate(body) for body in connection.scalars(query)]

    def hypotheses(self, in_round: int) -> list[Hypothesis]:
        """The ranking of a round, best first."""
        query = self._bodies(HYPOTHESIS, in_round)
        with self._engine.connect() as connection:
            return [Hypothesis.model_validate(body) for body in connection.scalars(query)]

    def claims(self, in_round: int) -> list[Claim]:
        """Every claim of a round, whatever became of it."""
        query = self._bodies(CLAIM, in_round)
        with self._engine.connect() as connection:
            return [Claim.model_validate(body) for body in connection.scalars(query)]

    def conclusion(self, in_round: int) -> ReportFindings | None:
        """The report's body as a round concluded it; None when none was stored."""
        query = select(CONCLUSION.c.body).where(*self._of(CONCLUSION), CONCLUSION.c.round == in_round)
        with self._engine.connect() as connection:
            body = connection.scalar(query)
        return None if body is None else ReportFindings.model_validate_json(body)

    def _bodies(self, table: Table, in_round: int) -> Select[tuple[object]]:
        return (
            select(table.c.body)
            .where(*self._of(table), table.c.round == in_round)
            .order_by(table.c.ordinal)
            .limit(LIST_LIMIT)
        )

    def failures(self, kind: str) -> list[str]:
        """What was recorded of failures of a kind, the latest first."""
        query = (
            select(DECISION.c.sentence)
            .where(*self._of(DECISION), DECISION.c.kind == kind)
            .order_by(DECISION.c.decided_at.desc())
            .limit(100)
        )
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def report(self) -> Report | None:
        """The published report; None while there is none."""
        query = select(REPORT.c.findings, REPORT.c.findings_sha256, REPORT.c.run).where(*self._of(REPORT))
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Report(
            findings=ReportFindings.model_validate_json(row.findings),
            findings_sha256=Digest(row.findings_sha256),
            run=ReportRun.model_validate(row.run),
        )

    def publish(self, report: Report, *, at: datetime) -> Report:
        """Store the report once; publishing again returns the stored one."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(REPORT)
                .values(
                    **self._key,
                    findings_sha256=report.findings_sha256,
                    findings=canonical_json(report.findings).decode(),
                    run=report.run.model_dump(mode="json"),
                    published_at=at,
                )
                .on_conflict_do_nothing()
            )
        stored = self.report()
        assert stored is not None
        return stored

    def store_history(self, content: bytes, *, at: datetime) -> None:
        """Keep what Temporal wrote down, once; one that is too large is noted as such."""
        with self._engine.begin() as connection:
            row: dict[str, object] = {**self._key, "artifact": digest_of(content), "detail": "", "stored_at": at}
            try:
                connection.execute(self._artifact_row(content, at))
            except ArtifactTooLargeError as error:
                row |= {"artifact": None, "detail": str(error)}
            connection.execute(insert(HISTORY).values(row).on_conflict_do_nothing())

    def history_is_gone(self, detail: str, *, at: datetime) -> None:
        """Note once that there is nothing to keep, and why."""
        row = {**self._key, "artifact": None, "detail": detail, "stored_at": at}
        with self._engine.begin() as connection:
            connection.execute(insert(HISTORY).values(row).on_conflict_do_nothing())

    def history(self) -> bytes | None:
        """What Temporal wrote down of the closed workflow, as JSON; None while it is not kept.

        Raises:
            ArtifactLostError: it is not in the store any more, or never could be; the message says why.
        """
        query = select(HISTORY.c.artifact, HISTORY.c.detail).where(*self._of(HISTORY))
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if row.artifact is None:
            raise ArtifactLostError(row.detail)
        return self.artifact(Digest(row.artifact))

    def previous_id(self) -> InvestigationId | None:
        """The investigation of the same incident before this one."""
        with self._engine.connect() as connection:
            found = connection.scalar(select(INVESTIGATION.c.previous_id).where(*self._of(INVESTIGATION)))
        return None if found is None else InvestigationId(found)

    def opened_at(self) -> datetime | None:
        """When the investigation was opened; None when there is no such investigation."""
        with self._engine.connect() as connection:
            found: datetime | None = connection.scalar(
                select(INVESTIGATION.c.opened_at).where(*self._of(INVESTIGATION))
            )
        return found

    def _of(self, table: Table) -> tuple[ColumnElement[bool], ...]:
        return tuple(table.c[name] == value for name, value in self._key.items())

    def _insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
        for start in range(0, len(rows), 1_000):
            chunk = [{**self._key, **row} for row in rows[start : start + 1_000]]
            connection.execute(insert(table).on_conflict_do_nothing(), chunk)


def observation_statuses(observations: Iterable[Observation]) -> dict[str, int]:
    """How many observations have each status."""
    counts: dict[str, int] = {}
    for item in observations:
        counts[item.status.value] = counts.get(item.status.value, 0) + 1
    return dict(sorted(counts.items()))
