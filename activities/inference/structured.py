"""Asking for an answer of one shape: validated here whatever the server promises, asked again once, shortened once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from activities.inference.client import Completion, Model, Prompt
from activities.inference.exceptions import ContextOverflowError, InvalidAnswerError, ModelError, ModelRefusedError
from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.identifiers import Digest
from workflows.contracts.model import ModelCall

Answer = TypeVar("Answer", bound=BaseModel)

LONGEST_REPEATED = 1_000
"""Characters of an invalid answer that are said back to the model."""

CHARACTERS_PER_TOKEN = 2.5
"""At least so many in the prompts that are written here, for estimates before a server has counted."""


@dataclass(frozen=True, kw_only=True)
class Question(Generic[Answer]):
    """What is asked, in full and shortened."""

    prompts: Sequence[Prompt]
    """The same question, each shorter than the one before."""

    schema: dict[str, JsonValue]
    answer: type[Answer]
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Answered(Generic[Answer]):
    """What came of it."""

    answer: Answer | None
    """None when nothing that counts was answered: the last call says why."""

    calls: tuple[ModelCall, ...]


def prompt_digest(prompt: Prompt, schema: dict[str, JsonValue]) -> Digest:
    """By which a prompt is known."""
    return digest_of(canonical_json({"system": prompt.system, "user": prompt.user, "schema": schema}))


def estimated_tokens(prompt: Prompt) -> int:
    """How many tokens a prompt has at most, as far as its length says."""
    return int((len(prompt.system) + len(prompt.user)) / CHARACTERS_PER_TOKEN)


def ask(model: Model, question: Question[Answer], *, allowed: Callable[[int], bool]) -> Answered[Answer]:
    """Ask; a prompt that is too long is shortened once, an answer of another shape is asked for once more.

    Args:
        model: who is asked.
        question: what.
        allowed: whether another call of so many tokens is within the budget.

    Raises:
        ModelUnavailableError: it does not answer now; what was answered before is lost with this attempt, unless the
            model is one that remembers.
    """
    calls: list[ModelCall] = []
    waiting = list(question.prompts[1:])
    prompt: Prompt | None = question.prompts[0]
    repaired = False
    while prompt is not None and allowed(estimated_tokens(prompt) + question.max_tokens):
        problem: ModelError
        try:
            completion = model.complete(prompt, question.schema, max_tokens=question.max_tokens)
        except ContextOverflowError as error:
            calls.append(_call(model, prompt, question, None, error))
            prompt = waiting.pop(0) if waiting else None
            continue
        except InvalidAnswerError as error:
            completion, problem = Completion(text=""), error
        except ModelRefusedError as error:
            calls.append(_call(model, prompt, question, None, error))
            break
        else:
            try:
                answer = question.answer.model_validate_json(completion.text)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                problem = InvalidAnswerError(f"the answer is not what was asked for: {where}: {first['msg']}"[:300])
            else:
                calls.append(_call(model, prompt, question, completion, None))
                return Answered(answer=answer, calls=tuple(calls))
        calls.append(_call(model, prompt, question, completion, problem))
        prompt = None if repaired else _again(prompt, completion.text, str(problem))
        repaired = True
    return Answered(answer=None, calls=tuple(calls))


def _again(prompt: Prompt, said: str, problem: str) -> Prompt:
    return Prompt(
        system=prompt.system,
        user=f"{prompt.user}\n\nYour answer was:\n{said[:LONGEST_REPEATED]}\n\nIt cannot be used: {problem}\n"
        "Answer again, with JSON of the schema and nothing else, and shorter.",
    )


def _call(
    model: Model, prompt: Prompt, question: Question[Answer], completion: Completion | None, problem: ModelError | None
) -> ModelCall:
    identity = model.identity
    if completion is not None and completion.fingerprint:
        identity = identity.model_copy(update={"fingerprint": completion.fingerprint})
    return ModelCall(
        identity=identity,
        prompt_sha256=prompt_digest(prompt, question.schema),
        max_tokens=question.max_tokens,
        prompt_tokens=completion.prompt_tokens if completion is not None else 0,
        completion_tokens=completion.completion_tokens if completion is not None else 0,
        seconds=completion.seconds if completion is not None else 0.0,
        first_token_seconds=completion.first_token_seconds if completion is not None else 0.0,
        problem=None if problem is None else problem.problem,
        detail="" if problem is None else str(problem)[:500],
    )
