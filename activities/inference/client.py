"""One question to one model: a prompt in, text and counts out, every failure by its kind."""

import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, JsonValue, ValidationError

from activities.inference.exceptions import (
    ContextOverflowError,
    InvalidAnswerError,
    ModelRefusedError,
    ModelUnavailableError,
    ReplyError,
)
from activities.inference.server import EVENT_STREAM, ModelServer, Reply
from activities.safety.redaction import storable
from workflows.contracts.model import ModelIdentity

SEED = 7
LARGEST_ANSWER = 1024 * 1024
"""Bytes of an answer that are read: some hundred times what is asked for."""

LONGEST_TEXT = 20_000
"""Characters of an answer: ten times what is asked for."""

SHORT_WAIT_S = 10.0
CAN_BE_TRIED_AGAIN = frozenset((408, 409, 425, 429))
"""Statuses of a request that may be answered another time; so may all from 500 on."""

EVENT_DATA, LAST_EVENT = b"data:", b"[DONE]"

OVERFLOWS = ("maximum context length", "exceeds the available context size", "exceed_context_size", "context window")
"""How servers say that a prompt is too long: vLLM, llama.cpp (message and type), others."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is said to a model."""

    system: str
    """The same for every incident, so that servers keep it in their prefix cache."""

    user: str


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a model answered."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    fingerprint: str = ""
    seconds: float = 0.0
    first_token_seconds: float = 0.0
    """Until the first words came; 0 where the server sends all at once."""


class Model(Protocol):
    """Something that completes prompts."""

    @property
    def identity(self) -> ModelIdentity:
        """Which one it is."""

    def complete(self, prompt: Prompt, schema: dict[str, JsonValue], *, max_tokens: int) -> Completion:
        """The answer to a prompt, as JSON of a schema.

        Raises:
            ModelError: there is none.
        """


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completed(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None
    system_fingerprint: str | None = None


class _Delta(BaseModel):
    content: str | None = None


class _StreamedChoice(BaseModel):
    delta: _Delta
    finish_reason: str | None = None


class _Streamed(BaseModel):
    """One event of an answer that comes bit by bit; the last one has the counts."""

    choices: list[_StreamedChoice]
    usage: _Usage | None = None
    system_fingerprint: str | None = None


class _Error(BaseModel):
    message: str = ""
    type: str | None = None


class _Failed(BaseModel):
    error: _Error


class ListedModel(BaseModel):
    """A model that a server has."""

    id: str
    max_model_len: int | None = None
    """Tokens that it reads, where the server says so."""

    root: str | None = None
    """The folder or name that it was loaded from, where the server says so."""


class _Models(BaseModel):
    data: list[ListedModel]


class OpenAIModel:
    """A model of an OpenAI-compatible server: vLLM first; llama.cpp, Ollama and managed endpoints speak the same."""

    def __init__(
        self, url: str, *, name: str, model: str, key: str | None = None, trusted: Path | None = None, wait: float = 60
    ) -> None:
        """Name it; nothing is sent yet.

        Args:
            url: up to and with `/v1`.
            name: of the endpoint, for reports.
            model: its name at the server.
            key: sent as a bearer token.
            trusted: PEM file of the authorities that may sign the server's certificate.
            wait: seconds for an answer.

        Raises:
            ValueError: the address cannot be used.
        """
        self._server = ModelServer(url, key=key, trusted=trusted)
        self._name, self._model, self._wait = name, model, wait

    @property
    def identity(self) -> ModelIdentity:
        """Which one it is, as far as is known before it answers."""
        return ModelIdentity(endpoint=self._name, model=self._model)

    def complete(self, prompt: Prompt, schema: dict[str, JsonValue], *, max_tokens: int) -> Completion:
        """Ask once; nothing is tried again here.

        Raises:
            ModelUnavailableError: no answer, or not now.
            ModelRefusedError: it will not answer.
            ContextOverflowError: the prompt is too long.
            InvalidAnswerError: the answer is cut off, empty, or no completion.
        """
        body: dict[str, object] = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "temperature": 0,
            "seed": SEED,
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
        }
        begun = time.monotonic()
        try:
            reply = self._server.post("chat/completions", body, wait=self._wait, largest=LARGEST_ANSWER)
        except ReplyError as error:
            raise ModelUnavailableError(self._say(str(error))) from error
        if reply.status != HTTPStatus.OK:
            raise self._failure(reply)
        return self._read(reply, time.monotonic() - begun)

    def listed(self) -> dict[str, ListedModel]:
        """The models that the server has, by name.

        Raises:
            ModelUnavailableError: no answer, or not now.
            ModelRefusedError: it will not say.
        """
        try:
            reply = self._server.get("models", wait=SHORT_WAIT_S, largest=LARGEST_ANSWER)
        except ReplyError as error:
            raise ModelUnavailableError(self._say(str(error))) from error
        if reply.status != HTTPStatus.OK:
            raise self._failure(reply)
        try:
            return {item.id: item for item in _Models.model_validate_json(reply.content).data}
        except ValidationError as error:
            raise ModelRefusedError(self._say("answered something else than a list of models")) from error

    def version(self) -> str:
        """The server's version; empty where it does not say."""
        try:
            reply = self._server.get("/version", wait=SHORT_WAIT_S, largest=LARGEST_ANSWER)
            return _Version.model_validate_json(reply.content).version if reply.status == HTTPStatus.OK else ""
        except (ReplyError, ValidationError):
            return ""

    def _failure(self, reply: Reply) -> Exception:
        try:
            said = _Failed.model_validate_json(reply.content).error
            reason, kind = said.message[:300], said.type or ""
        except ValidationError:
            reason, kind = reply.excerpt, ""
        message = self._say(f"answered HTTP {reply.status}: {reason}")
        if reply.status in CAN_BE_TRIED_AGAIN or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ModelUnavailableError(message, retry_after=reply.retry_after)
        if any(words in reason or words in kind for words in OVERFLOWS):
            return ContextOverflowError(message)
        return ModelRefusedError(message)

    def _read(self, reply: Reply, seconds: float) -> Completion:
        try:
            streamed = reply.media_type == EVENT_STREAM
            answer, first = _joined(reply) if streamed else (_Completed.model_validate_json(reply.content), 0.0)
        except ValueError as error:
            raise InvalidAnswerError(self._say("answered something else than a completion")) from error
        if not answer.choices:
            raise InvalidAnswerError(self._say("answered with no choice"))
        choice = answer.choices[0]
        if choice.finish_reason == "length":
            raise InvalidAnswerError(self._say("was cut off in its answer"))
        if not choice.message.content:
            raise InvalidAnswerError(self._say("answered with nothing"))
        if len(choice.message.content) > LONGEST_TEXT:
            raise InvalidAnswerError(self._say(f"answered with more than {LONGEST_TEXT:,} characters"))
        usage = answer.usage or _Usage()
        return Completion(
            text=storable(choice.message.content),
            prompt_tokens=max(0, usage.prompt_tokens),
            completion_tokens=max(0, usage.completion_tokens),
            fingerprint=storable(answer.system_fingerprint or "")[:200],
            seconds=seconds,
            first_token_seconds=first,
        )

    def _say(self, problem: str) -> str:
        return f"the model {self._model} of the endpoint {self._name} {problem}"


def _joined(reply: Reply) -> tuple[_Completed, float]:
    """An answer that came bit by bit, as if it had come at once, and the seconds until its first words.

    The format is that of server-sent events (WHATWG HTML, 9.2): lines `data: ...`, the last one `[DONE]`.

    Raises:
        ValueError: it is no such answer, or it broke off before its end.
    """
    text: list[str] = []
    first, position, ended = 0.0, 0, False
    finish: str | None = None
    usage, fingerprint = _Usage(), ""
    for line in reply.content.splitlines(keepends=True):
        position += len(line)
        if not line.startswith(EVENT_DATA):
            continue
        data = line.removeprefix(EVENT_DATA).strip()
        if data == LAST_EVENT:
            ended = True
            break
        event = _Streamed.model_validate_json(data)
        usage, fingerprint = event.usage or usage, event.system_fingerprint or fingerprint
        for choice in event.choices[:1]:
            finish = choice.finish_reason or finish
            if choice.delta.content:
                first = first or reply.seconds_until(position - 1)
                text.append(choice.delta.content)
    if not ended:
        raise ValueError("the answer broke off")
    whole = _Choice(message=_Message(content="".join(text)), finish_reason=finish)
    return _Completed(choices=[whole], usage=usage, system_fingerprint=fingerprint), first


class _Version(BaseModel):
    version: str = ""
