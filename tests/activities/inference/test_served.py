"""What is served is known by its files, or by its answers."""

import json
from pathlib import Path

import pytest

from activities.inference.client import Completion, OpenAIModel, Prompt
from activities.inference.exceptions import InvalidAnswerError
from activities.inference.served import (
    QUESTIONS,
    SAME,
    UnreadableWeightsError,
    difference,
    fingerprint,
    read_weights,
    served_model,
)
from tests.faulty_server import Call, Reply, faulty_server, json_reply
from workflows.contracts.canonical import digest_of
from workflows.contracts.model import ModelIdentity, ServedModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model-00001.safetensors").write_bytes(b"\x00" * 1_000)
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "awq"}}))
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    (tmp_path / ".cache").write_text("")
    return tmp_path


def test_a_folder_of_weights_is_described(folder: Path) -> None:
    found = read_weights(folder)
    assert sorted(found.files) == ["README.md", "config.json", "model-00001.safetensors", "tokenizer.json"]
    assert found.files["model-00001.safetensors"] == digest_of(b"\x00" * 1_000)
    assert (found.licence, found.quantisation) == ("apache-2.0", "awq")
    assert found.tokenizer is not None


def test_one_changed_byte_is_another_model(folder: Path) -> None:
    before = ServedModel(model="m", weights=dict(read_weights(folder).files))
    (folder / "model-00001.safetensors").write_bytes(b"\x00" * 999 + b"\x01")
    after = ServedModel(model="m", weights=dict(read_weights(folder).files))
    assert difference(before, before) == ""
    assert difference(before, after) == "1 of its files differ, model-00001.safetensors among them"
    assert "is called n" in difference(before, before.model_copy(update={"model": "n"}))


@pytest.mark.parametrize("spoil", ["missing", "empty", "config"])
def test_a_folder_that_cannot_be_read_is_an_error_that_says_so(folder: Path, spoil: str) -> None:
    if spoil == "config":
        (folder / "config.json").write_text("{")
    wrong = {"missing": folder / "none", "empty": folder / "empty", "config": folder}[spoil]
    (folder / "empty").mkdir()
    with pytest.raises(UnreadableWeightsError):
        read_weights(wrong)


class Saying:
    identity = ModelIdentity(endpoint="e", model="m")

    def __init__(self, otherwise: int = 0) -> None:
        self._otherwise = otherwise

    def complete(self, prompt: Prompt, schema: object, *, max_tokens: int) -> Completion:
        if prompt.user == QUESTIONS[-1]:
            raise InvalidAnswerError("cut off")
        changed = QUESTIONS.index(prompt.user) < self._otherwise
        return Completion(text=f"{prompt.user}{'!' if changed else ''}")


@pytest.mark.parametrize(("otherwise", "same"), [(0, True), (len(QUESTIONS) - SAME, True), (3, False), (5, False)])
def test_answers_tell_models_apart_and_forgive_a_rounding(otherwise: int, *, same: bool) -> None:
    admitted = ServedModel(model="m", answers=fingerprint(Saying()))
    served = ServedModel(model="m", answers=fingerprint(Saying(otherwise)))
    assert (difference(admitted, served) == "") is same


def test_what_cannot_be_compared_is_not_the_same() -> None:
    assert "cannot be read here" in difference(
        ServedModel(model="m", weights={"a": digest_of(b"")}), ServedModel(model="m")
    )


@pytest.mark.parametrize("root", ["", "own", "/models/another", "org/name"])
def test_files_speak_for_a_server_only_where_it_says_that_it_serves_them(folder: Path, root: str) -> None:
    told = str(folder) if root == "own" else root

    def handle(call: Call) -> Reply:
        if call.path == "/v1/models":
            return json_reply({"data": [{"id": "m", **({"root": told} if told else {})}]})
        if call.path == "/version":
            return json_reply({"version": "0.32.0"})
        return json_reply({"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]})

    with faulty_server(handle) as server:
        model = OpenAIModel(f"{server.url}/v1", name="e", model="m")
        if root.startswith("/"):
            with pytest.raises(UnreadableWeightsError, match="the server serves /models/another"):
                served_model(model, folder)
            return
        found = served_model(model, folder)
    assert found.weights
    assert bool(found.answers) is (root != "own")
    admitted = found.model_copy(update={"answers": (digest_of(b"other"),) * len(QUESTIONS)})
    assert bool(difference(admitted, found)) is (root != "own"), "its answers count where it does not vouch"
    assert found.server == "0.32.0"
