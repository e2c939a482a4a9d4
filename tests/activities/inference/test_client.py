"""The wire of language models: the recorded answers of a real vLLM, and everything that a server may answer instead."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from activities.inference.client import LARGEST_ANSWER, Completion, ListedModel, OpenAIModel, Prompt
from activities.inference.exceptions import (
    ContextOverflowError,
    InvalidAnswerError,
    ModelError,
    ModelRefusedError,
    ModelUnavailableError,
)
from activities.inference.structured import Question, ask
from tests.faulty_server import Call, Reply, faulty_server, json_reply
from workflows.contracts.model import ModelIdentity, ModelProblem

WIRE = Path(os.environ.get("INQUEST_WIRE", Path(__file__).parents[4] / "shared" / "wire" / "vllm-0.32"))
PROMPT = Prompt(system="You answer with JSON.", user="Which component is it?")
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"component": {"type": "string"}}, "required": ["component"]}


class Component(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    component: str


QUESTION = Question(
    prompts=[PROMPT, Prompt(system=PROMPT.system, user="Which?")], schema=SCHEMA, answer=Component, max_tokens=50
)


def completion(text: str | None, *, finish: str = "stop", **fields: object) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return json_reply({"id": "c", "object": "chat.completion", "choices": [choice], **fields})


def recorded(name: str) -> dict[str, Any]:
    path = WIRE / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"the recorded answers of vLLM are not at {WIRE}: name their folder in INQUEST_WIRE")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def answered_by(
    handle: Callable[[Call], Reply | None], *, wait: float = 5
) -> tuple[Completion | ModelError, list[Call]]:
    """What one question gets from a server that answers like this."""
    with faulty_server(handle) as server:
        model = OpenAIModel(f"{server.url}/v1", name="local", model="smol", wait=wait)
        try:
            return model.complete(PROMPT, SCHEMA, max_tokens=50), server.calls
        except ModelError as error:
            return error, server.calls


def replayed(name: str) -> Completion | ModelError:
    """What one question gets from a server that answers as vLLM did then."""
    document = recorded(name)
    return answered_by(lambda _: json_reply(document["response"], status=document["status"]))[0]


def test_an_answer_of_vllm_is_read_with_its_counts_and_fingerprint() -> None:
    found = replayed("chat_json_schema")
    assert isinstance(found, Completion)
    assert json.loads(found.text)["fault"] == "cpu"
    assert (found.prompt_tokens, found.completion_tokens) == (54, 57)
    assert found.fingerprint == "vllm-0.32.0-2de762ee"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("chat_json_schema_truncated", InvalidAnswerError),
        ("error_context", ContextOverflowError),
        ("error_model", ModelRefusedError),
        ("error_schema", ModelRefusedError),
        ("error_max_tokens", ModelRefusedError),
        ("error_body", ModelRefusedError),
    ],
)
def test_an_error_of_vllm_is_known_by_its_kind(name: str, error: type[ModelError]) -> None:
    assert type(replayed(name)) is error


def test_what_no_database_holds_is_replaced() -> None:
    found, _ = answered_by(lambda _: completion("a\x00b", system_fingerprint="\x00"))
    assert isinstance(found, Completion)
    assert found.text == "a\N{REPLACEMENT CHARACTER}b"
    assert found.fingerprint == "\N{REPLACEMENT CHARACTER}"
    assert isinstance(answered_by(lambda _: completion("\ud800"))[0], InvalidAnswerError)


def streamed(*events: object, last: str = "data: [DONE]\n\n", drip_s: float = 0) -> Reply:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return Reply(200, ("".join(lines) + last).encode(), {"Content-Type": "text/event-stream"}, drip_s=drip_s)


def bit(text: str | None, *, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


COUNTS = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}, "system_fingerprint": "f-1"}


def test_an_answer_that_comes_bit_by_bit_is_joined_and_its_first_words_are_timed() -> None:
    document = recorded("chat_stream")
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    found, _ = answered_by(lambda _: Reply(200, document["response_text"].encode(), headers))
    assert isinstance(found, InvalidAnswerError), "this one was recorded with too few tokens"
    assert "cut off" in str(found)
    said = document["response_text"].replace('"length"', '"stop"')
    found, _ = answered_by(lambda _: Reply(200, said.encode(), headers))
    assert isinstance(found, Completion)
    assert found.text.startswith("The root cause of")
    assert (found.prompt_tokens, found.completion_tokens) == (54, 12)
    assert found.fingerprint == "vllm-0.32.0-2de762ee"
    found, _ = answered_by(lambda _: streamed(bit(""), bit("{"), bit("}", finish="stop"), COUNTS, drip_s=0.002))
    assert isinstance(found, Completion)
    assert 0 < found.first_token_seconds < found.seconds
    assert (found.text, found.fingerprint) == ("{}", "f-1")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (streamed(bit("{"), last=""), InvalidAnswerError),
        (streamed(), InvalidAnswerError),
        (streamed({"error": {"message": "out of memory"}}), InvalidAnswerError),
        (streamed(bit("{"), last="data: {nonsense\n\n"), InvalidAnswerError),
        (streamed(bit("x" * 500_000), COUNTS), InvalidAnswerError),
        (streamed(bit("{}"), drip_s=0.02), ModelUnavailableError),
    ],
)
def test_a_stream_that_breaks_off_or_never_ends_counts_for_nothing(reply: Reply, error: type[ModelError]) -> None:
    found, _ = answered_by(lambda _: reply, wait=1)
    assert type(found) is error


def test_what_is_asked_has_the_form_that_vllm_took() -> None:
    sent = recorded("chat_json_schema")["request"]
    _, calls = answered_by(lambda _: completion("{}"))
    body = json.loads(calls[0].body)
    assert calls[0].path == "/v1/chat/completions"
    assert body.keys() == sent.keys() | recorded("chat_stream")["request"].keys()
    assert body["stream_options"] == recorded("chat_stream")["request"]["stream_options"]
    assert body["response_format"].keys() == sent["response_format"].keys()
    assert body["response_format"]["json_schema"].keys() == sent["response_format"]["json_schema"].keys()
    assert (body["temperature"], body["seed"]) == (0, 7)


def test_vllm_says_which_models_it_has_and_what_it_is() -> None:
    models, version = recorded("models"), recorded("version")

    def handle(call: Call) -> Reply:
        return json_reply((version if call.path == "/version" else models)["response"])

    with faulty_server(handle) as server:
        model = OpenAIModel(f"{server.url}/v1", name="local", model="smol")
        assert model.listed() == {
            "smol": ListedModel(id="smol", max_model_len=4_096, root="/models/smollm2-135m-instruct")
        }
        assert model.version() == "0.32.0"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_what_may_be_answered_another_time_says_when(status: int) -> None:
    reply = Reply(status, b"busy", {"Retry-After": "7"})
    error, calls = answered_by(lambda _: reply)
    assert isinstance(error, ModelUnavailableError)
    assert error.retry_after == timedelta(seconds=7)
    assert len(calls) == 1, "trying again is Temporal's"


@pytest.mark.parametrize("said", ["Wed, 21 Oct 2026 07:28:00 GMT", "-3", "99999999999999999999", ""])
def test_a_retry_after_that_is_no_short_number_says_nothing(said: str) -> None:
    error, _ = answered_by(lambda _: Reply(503, b"", {"Retry-After": said}))
    assert isinstance(error, ModelUnavailableError)
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (None, ModelUnavailableError),
        (Reply(200, b"{}", cut_after=1), ModelUnavailableError),
        (Reply(200, b"x" * (LARGEST_ANSWER + 1)), ModelUnavailableError),
        (Reply(200, b"<html>proxy</html>"), InvalidAnswerError),
        (Reply(200, b"[]"), InvalidAnswerError),
        (Reply(200, "{\u00e9".encode("latin-1")), InvalidAnswerError),
        (json_reply({"choices": []}), InvalidAnswerError),
        (completion(None), InvalidAnswerError),
        (completion(""), InvalidAnswerError),
        (completion("x" * 500_000), InvalidAnswerError),
        (completion('{"component": "ca', finish="length"), InvalidAnswerError),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), ModelRefusedError),
        (Reply(401, b'{"error": {"message": "wrong key"}}'), ModelRefusedError),
        (Reply(400, b'{"error":{"type":"exceed_context_size_error","message":"too long"}}'), ContextOverflowError),
    ],
)
def test_whatever_a_server_answers_is_an_answer_or_a_named_error(reply: Reply | None, error: type[ModelError]) -> None:
    found, _ = answered_by(lambda _: reply)
    assert type(found) is error


def test_a_server_that_hangs_is_given_up() -> None:
    found, _ = answered_by(lambda _: Reply(wait_s=30), wait=0.3)
    assert isinstance(found, ModelUnavailableError)


class Said:
    """A model that says these things, one after the other."""

    identity = ModelIdentity(endpoint="local", model="smol")

    def __init__(self, *said: str | ModelError) -> None:
        self._said = list(said)
        self.prompts: list[Prompt] = []

    def complete(self, prompt: Prompt, schema: object, *, max_tokens: int) -> Completion:
        self.prompts.append(prompt)
        said = self._said.pop(0)
        if isinstance(said, ModelError):
            raise said
        return Completion(text=said, prompt_tokens=10, completion_tokens=5)


def always(_tokens: int) -> bool:
    return True


def test_an_answer_of_another_shape_is_asked_for_once_more() -> None:
    model = Said('{"component": 7}', '{"component": "cart"}')
    found = ask(model, QUESTION, allowed=always)
    assert found.answer == Component(component="cart")
    assert [call.problem for call in found.calls] == [ModelProblem.INVALID, None]
    assert "component: Input should be a valid string" in model.prompts[1].user
    assert model.prompts[1].user.startswith(PROMPT.user)


@pytest.mark.parametrize(
    "said", ["no", '{"component": "a", "do": "rm"}', "[" * 500, '{"component": "a"', "\N{REPLACEMENT CHARACTER}"]
)
def test_what_stays_wrong_counts_for_nothing(said: str) -> None:
    found = ask(Said(said, said, '{"component": "late"}'), QUESTION, allowed=always)
    assert found.answer is None
    assert [call.problem for call in found.calls] == [ModelProblem.INVALID] * 2


def test_a_prompt_that_is_too_long_is_shortened_once() -> None:
    model = Said(ContextOverflowError("too long"), '{"component": "cart"}')
    assert ask(model, QUESTION, allowed=always).answer == Component(component="cart")
    assert [prompt.user for prompt in model.prompts] == [prompt.user for prompt in QUESTION.prompts]
    still = ask(Said(ContextOverflowError("a"), ContextOverflowError("b")), QUESTION, allowed=always)
    assert still.answer is None
    assert [call.problem for call in still.calls] == [ModelProblem.CONTEXT_OVERFLOW] * 2


def test_what_is_refused_is_not_asked_again_and_what_is_away_is_somebody_elses_to_retry() -> None:
    refused = ask(Said(ModelRefusedError("no such model")), QUESTION, allowed=always)
    assert [call.problem for call in refused.calls] == [ModelProblem.REFUSED]
    with pytest.raises(ModelUnavailableError):
        ask(Said(ModelUnavailableError("away")), QUESTION, allowed=always)


def test_without_tokens_nothing_is_asked() -> None:
    model = Said()
    assert ask(model, QUESTION, allowed=lambda tokens: tokens < 10).calls == ()
    assert model.prompts == []
