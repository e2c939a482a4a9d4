"""A model that remembers: an answer that the ledger has is never asked for again, whatever died since."""

from dataclasses import replace
from datetime import UTC, datetime

from pydantic import JsonValue

from activities.inference.client import SEED, Completion, Model, Prompt
from activities.inference.structured import prompt_digest
from activities.memory.ledger import Ledger
from activities.progress import progressed
from workflows.contracts.canonical import canonical_json, digest_of
from workflows.contracts.model import ModelCall, ModelIdentity


class RecordedModel:
    """One investigation's questions to one model, kept call by call."""

    def __init__(self, model: Model, ledger: Ledger, *, in_round: int) -> None:
        self._model, self._ledger, self._round = model, ledger, in_round

    @property
    def identity(self) -> ModelIdentity:
        """Which one it is."""
        return self._model.identity

    def complete(self, prompt: Prompt, schema: dict[str, JsonValue], *, max_tokens: int) -> Completion:
        """The answer that was given before, else a new one, which is kept before it counts.

        Raises:
            ModelError: there is none.
        """
        asked = prompt_digest(prompt, schema)
        who = self._model.identity
        key = digest_of(canonical_json([who.endpoint, who.model, asked, max_tokens]))
        known = self._ledger.model_answer(key)
        if known is not None:
            call = known.call
            return Completion(
                text=known.answer,
                prompt_tokens=call.prompt_tokens,
                completion_tokens=call.completion_tokens,
                fingerprint=call.identity.fingerprint,
                seconds=call.seconds,
                first_token_seconds=call.first_token_seconds,
            )
        found = self._model.complete(prompt, schema, max_tokens=max_tokens)
        progressed()
        found = replace(found, text=self._ledger.redactor.redact(found.text))
        self._ledger.record_model_answer(
            key,
            in_round=self._round,
            prompt=f"{prompt.system}\n\n{prompt.user}",
            answer=found.text,
            call=ModelCall(
                identity=who.model_copy(update={"fingerprint": found.fingerprint}),
                prompt_sha256=asked,
                seed=SEED,
                max_tokens=max_tokens,
                prompt_tokens=found.prompt_tokens,
                completion_tokens=found.completion_tokens,
                seconds=found.seconds,
                first_token_seconds=found.first_token_seconds,
            ),
            at=datetime.now(UTC),
        )
        return found
