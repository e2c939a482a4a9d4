"""What a language model was asked and what became of its answer. Ids and digests; the texts are in the ledger."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from workflows.contracts.contract import Contract, OpenEnum
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import Digest, EntityId


class ModelProblem(OpenEnum):
    """Why a model's answer counts for nothing."""

    UNREACHABLE = "unreachable"
    """It does not answer, or not in time, or says that it cannot now."""

    REFUSED = "refused"
    """It answers that it will not: an unknown model, a wrong key, a schema that it does not take."""

    CONTEXT_OVERFLOW = "context_overflow"
    """The prompt is longer than it can read, even when shortened."""

    INVALID = "invalid"
    """What it answered is not what was asked for, also after it was asked again."""

    NOT_ALLOWED = "not_allowed"
    """The rules do not let it see this workload."""

    NOT_ADMITTED = "not_admitted"
    """The workload is shown only to models that somebody has admitted, and what is served is not one of them."""

    BUDGET = "budget"
    """The investigation has no tokens left for it."""

    UNKNOWN = "unknown"


class ModelIdentity(Contract):
    """Which model answered, as far as its server says."""

    endpoint: str
    """Its name in the models file."""

    model: str
    """As the server calls it."""

    fingerprint: str = ""
    """The server's own for its build and set-up; empty where it gives none."""


class ModelCall(Contract):
    """One question to a model."""

    identity: ModelIdentity
    prompt_sha256: Digest
    temperature: float = 0.0
    seed: int = 0
    max_tokens: Annotated[int, Field(ge=0)] = 0
    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    completion_tokens: Annotated[int, Field(ge=0)] = 0
    seconds: Annotated[float, Field(ge=0)] = 0.0
    first_token_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Until the first words of the answer came; 0 where the server sent it all at once, or nothing."""

    problem: ModelProblem | None = None
    detail: Annotated[str, Field(max_length=500)] = ""
    """What the problem was, redacted."""


class ServedModel(Contract):
    """What a model server serves, as far as can be found out now."""

    model: str
    """As the server calls it."""

    server: str = ""
    """The server's version; empty where it does not say."""

    weights: dict[str, Digest] = Field(default_factory=dict, max_length=5_000)
    """SHA-256 of each file of the model's folder; empty where the folder cannot be read here."""

    tokenizer: Digest | None = None
    """Of the tokenizer's files together."""

    licence: Annotated[str, Field(max_length=200)] = ""
    quantisation: Annotated[str, Field(max_length=200)] = ""
    """As the folder's configuration says."""

    answers: Annotated[tuple[Digest, ...], Field(max_length=20)] = ()
    """Of its answers to fixed prompts, in their order: a fingerprint where only the server speaks for its weights."""


class ModelAdmission(Contract):
    """That a model may see workloads which are shown only to admitted ones."""

    admission_id: str
    served: ServedModel
    evaluation_id: str | None = None
    """The evaluation that speaks for it."""

    admitted_by: Annotated[str, Field(min_length=1, max_length=200)]
    admitted_at: AwareDatetime
    reason: Annotated[str, Field(max_length=1_000)] = ""
    signature: str | None = None
    bill_of_materials: str | None = None
    """This and the signature are not made yet."""


class Opinion(Contract):
    """What a model thinks of one suspect. Not evidence: what it can move is bounded."""

    entity: EntityId
    weight: Annotated[float, Field(ge=-1, le=1)]
    """Part of the bound by which the suspect's score moves; 0 when nothing that was cited bears on it."""

    findings: Annotated[tuple[str, ...], Field(max_length=10)] = ()
    """Keys of the cited findings that bear on it."""

    fault_kind: FaultKind = FaultKind.UNKNOWN
    mechanism: Annotated[str, Field(max_length=300)] = ""
    """In its own words, redacted; shown as opinion and read by nothing."""

    reason: Annotated[str, Field(max_length=300)] = ""
    """Why it has the effect that it has."""


class ChangeOpinion(Contract):
    """What a model thinks of one candidate change: guilty, innocent, or that it cannot tell."""

    change_id: str
    weight: Annotated[float, Field(ge=-1, le=1)]
    """Part of the bound by which the change's strength moves."""

    fault_kind: FaultKind = FaultKind.UNKNOWN
