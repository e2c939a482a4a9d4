"""The tables as SQLAlchemy sees them. The migrations are the record; a test compares the two."""

from typing import Any

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

METADATA = MetaData()
_UUID = Uuid(as_uuid=False)
_WHEN = DateTime(timezone=True)


Kind = type[TypeEngine[Any]] | TypeEngine[Any]


def _table(name: str, schema: str, *columns: Column[Any]) -> Table:
    return Table(name, METADATA, Column("tenant", Text, primary_key=True), *columns, schema=schema)


def _key(name: str, kind: Kind) -> Column[Any]:
    return Column(name, kind, primary_key=True)


def _columns(**kinds: Kind) -> list[Column[Any]]:
    return [Column(name, kind) for name, kind in kinds.items()]


_OF_INVESTIGATION = "investigation_id"

INCIDENT = _table(
    "incident",
    "incidents",
    _key("incident_id", _UUID),
    *_columns(scope=Text, incident_key=Text, title=Text, opened_at=_WHEN),
)
ALERT = _table(
    "alert",
    "incidents",
    _key(_OF_INVESTIGATION, _UUID),
    _key("fingerprint", Text),
    *_columns(number=Integer, body=JSONB, redaction_version=Text, received_at=_WHEN),
)
DELIVERY = _table(
    "delivery",
    "incidents",
    _key("delivery_id", _UUID),
    *_columns(investigation_id=_UUID, fingerprint=Text, received_at=_WHEN),
)
REJECTED = _table(
    "rejected",
    "incidents",
    _key("rejected_id", _UUID),
    *_columns(source=Text, reason=Text, size=BigInteger, excerpt=Text, received_at=_WHEN),
)
PAST = _table(
    "past",
    "incidents",
    _key(_OF_INVESTIGATION, _UUID),
    *_columns(
        scope=Text,
        known_from=_WHEN,
        title=Text,
        entity=Text,
        fault_kind=Text,
        probability=Double,
        sentence=Text,
        alerting=ARRAY(Text),
        signs=JSONB,
    ),
)
FEEDBACK = _table(
    "feedback",
    "incidents",
    _key("feedback_id", _UUID),
    *_columns(investigation_id=_UUID, judgement=Text, body=JSONB, redaction_version=Text, given_at=_WHEN),
)
INVESTIGATION = _table(
    "investigation",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    *_columns(
        incident_id=_UUID,
        ordinal=Integer,
        previous_id=_UUID,
        request=JSONB,
        engine_version=Text,
        opened_at=_WHEN,
    ),
)
INVESTIGATION_END = _table(
    "investigation_end", "ledger", _key(_OF_INVESTIGATION, _UUID), *_columns(how=Text, ended_at=_WHEN)
)
STEP = _table(
    "step",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("step_key", Text),
    *_columns(
        output=JSONB,
        attempt=Integer,
        seconds=Double,
        engine_version=Text,
        redaction_version=Text,
        finished_at=_WHEN,
    ),
)
PROBE = _table(
    "probe",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("round", Integer),
    _key("probe_key", Text),
    *_columns(ordinal=Integer, backend=Text, body=JSONB),
)
MENU = _table(
    "menu",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("probe_key", Text),
    *_columns(ordinal=Integer, body=JSONB),
)
TURN = _table(
    "turn",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("round", Integer),
    *_columns(body=JSONB, engine_version=Text),
)
MODEL_CALL = _table(
    "model_call",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("round", Integer),
    _key("call_key", Text),
    *_columns(prompt=Text, answer=Text, body=JSONB, redaction_version=Text, called_at=_WHEN),
)
MODEL_ADMISSION = _table(
    "model_admission",
    "ledger",
    _key("admission_id", _UUID),
    *_columns(model=Text, body=JSONB, admitted_at=_WHEN),
)
MODEL_REVOCATION = _table(
    "model_revocation",
    "ledger",
    _key("admission_id", _UUID),
    *_columns(revoked_by=Text, reason=Text, revoked_at=_WHEN),
)
MODEL_REQUEST = _table(
    "model_request",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("request_id", _UUID),
    *_columns(endpoint=Text, model=Text, outcome=Text, seconds=Double, first_token_seconds=Double),
    *_columns(prompt_tokens=Integer, completion_tokens=Integer, requested_at=_WHEN),
)
ARTIFACT = _table(
    "artifact",
    "ledger",
    _key("sha256", Text),
    *_columns(size=BigInteger, content=LargeBinary, stored_at=_WHEN),
)
OBSERVATION = _table(
    "observation",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("round", Integer),
    _key("probe_key", Text),
    *_columns(
        status=Text,
        row_count=BigInteger,
        artifact=Text,
        body=JSONB,
        redaction_version=Text,
        observed_at=_WHEN,
    ),
)
FINDING = _table(
    "finding",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("round", Integer),
    _key("finding_key", Text),
    *_columns(ordinal=Integer, body=JSONB, engine_version=Text),
)
HYPOTHESIS = _table(
    "hypothesis",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("round", Integer),
    _key("ordinal", Integer),
    *_columns(body=JSONB, engine_version=Text),
)
CLAIM = _table(
    "claim",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("round", Integer),
    _key("claim_key", Text),
    *_columns(ordinal=Integer, state=Text, body=JSONB),
)
CONCLUSION = _table(
    "conclusion",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("round", Integer),
    *_columns(body=Text, engine_version=Text),
)
REPORT = _table(
    "report",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    *_columns(findings_sha256=Text, findings=Text, run=JSONB, published_at=_WHEN),
)
HISTORY = _table(
    "history", "ledger", _key(_OF_INVESTIGATION, _UUID), *_columns(artifact=Text, detail=Text, stored_at=_WHEN)
)
SOURCE_USE = _table(
    "source_use",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("use_id", _UUID),
    *_columns(source=Text, queries=BigInteger, bytes_received=BigInteger, used_at=_WHEN),
)
INBOX = _table(
    "inbox",
    "incidents",
    _key("inbox_id", _UUID),
    *_columns(
        environment=Text, fingerprint=Text, body=JSONB, redaction_version=Text, received_at=_WHEN, claims=BigInteger
    ),
)
INBOX_END = _table(
    "inbox_end", "incidents", _key("inbox_id", _UUID), *_columns(how=Text, investigation_id=_UUID, ended_at=_WHEN)
)
RECORDING = _table(
    "recording",
    "incidents",
    _key("recording_id", Text),
    *_columns(folder=Text, manifest_sha256=Text, registered_at=_WHEN),
)
ANNOUNCED_CHANGE = _table(
    "announced_change",
    "incidents",
    _key("environment", Text),
    _key("change_id", Text),
    *_columns(at=_WHEN, body=JSONB, redaction_version=Text, received_at=_WHEN),
)
HINT = _table(
    "hint",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("number", Integer),
    *_columns(text=Text, author=Text, given_at=_WHEN),
)
DECISION = _table(
    "decision",
    "ledger",
    _key(_OF_INVESTIGATION, _UUID),
    _key("decision_key", Text),
    *_columns(kind=Text, sentence=Text, decided_at=_WHEN),
)
EVALUATION = _table(
    "evaluation",
    "evals",
    _key("evaluation_id", _UUID),
    *_columns(plan_key=Text, plan=JSONB, engine_version=Text, started_at=_WHEN),
)
OUTCOME = _table(
    "outcome",
    "evals",
    _key("evaluation_id", _UUID),
    _key("number", Integer),
    _key("repeat", Integer),
    *_columns(failed=Boolean, body=JSONB, finished_at=_WHEN),
)
EVALUATION_END = _table("evaluation_end", "evals", _key("evaluation_id", _UUID), *_columns(ended_at=_WHEN))

TOPOLOGY_ENTITY = _table(
    "entity",
    "topology",
    _key("environment", Text),
    _key("entity", Text),
    _key("origin", Text),
    *_columns(kind=Text, tier=Integer, first_seen=_WHEN, last_seen=_WHEN, ended_at=_WHEN),
)
TOPOLOGY_EDGE = _table(
    "edge",
    "topology",
    _key("environment", Text),
    _key("source", Text),
    _key("target", Text),
    _key("kind", Text),
    _key("origin", Text),
    *_columns(confidence=Double, first_seen=_WHEN, last_seen=_WHEN, ended_at=_WHEN),
)

DOCUMENT = _table(
    "document",
    "knowledge",
    _key("document_id", _UUID),
    *_columns(source=Text, location=Text, name=Text, body=JSONB, content_sha256=Text, version=Integer, added_at=_WHEN),
)
DOCUMENT_VERSION = _table(
    "document_version",
    "knowledge",
    _key("document_id", _UUID),
    _key("version", Integer),
    *_columns(title=Text, content_sha256=Text, content=LargeBinary, redaction_version=Text, added_at=_WHEN),
)
DOCUMENT_TERMS = _table(
    "document_terms", "knowledge", _key("document_id", _UUID), *_columns(term_ids=ARRAY(BigInteger))
)
SCOPE = _table(
    "scope",
    "knowledge",
    Column("scope_id", BigInteger, Identity(always=True), primary_key=True),
    *_columns(services=ARRAY(Text), kind=Text, language=Text, valid_from=_WHEN, valid_until=_WHEN, chunks=BigInteger),
)
CHUNK = _table(
    "chunk",
    "knowledge",
    Column("chunk_id", BigInteger, Identity(), primary_key=True),
    *_columns(document_id=_UUID, ordinal=Integer, scope_id=BigInteger, heading=ARRAY(Text), text=Text, words=Integer),
)
FACT = _table(
    "fact",
    "knowledge",
    _key("fact_id", _UUID),
    *_columns(subject=Text, body=JSONB, redaction_version=Text, added_at=_WHEN),
)
FACT_DECISION = _table(
    "fact_decision",
    "knowledge",
    _key("fact_id", _UUID),
    _key("decision_id", _UUID),
    *_columns(state=Text, body=JSONB, decided_at=_WHEN),
)
STATISTICS = _table("statistics", "knowledge", *_columns(chunks=BigInteger, words=BigInteger))
TERM = _table(
    "term",
    "knowledge",
    Column("term_id", BigInteger, Identity(always=True)),
    _key("term", Text),
    *_columns(chunks=Integer),
)
POSTING = _table(
    "posting",
    "knowledge",
    _key("term_id", BigInteger),
    _key("chunk_id", BigInteger),
    *_columns(scope_id=BigInteger, occurrences=Integer, words=Integer),
)
EMBEDDING_MODEL = _table(
    "embedding_model",
    "knowledge",
    Column("model_id", Integer, Identity(always=True), primary_key=True),
    *_columns(name=Text, build=Text, dimensions=Integer, registered_at=_WHEN),
)
EMBEDDING = _table(
    "embedding",
    "knowledge",
    _key("model_id", Integer),
    _key("chunk_id", BigInteger),
    *_columns(scope_id=BigInteger, dimensions=Integer, vector=HALFVEC()),
)
