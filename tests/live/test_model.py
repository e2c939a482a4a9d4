"""A real llama.cpp with a real, very small model: the loop on real tokens, and many investigations at its slots."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue
from typer.testing import CliRunner

from activities.inference.client import OpenAIModel, Prompt
from activities.inference.exceptions import ContextOverflowError, InvalidAnswerError, ModelRefusedError
from activities.inference.served import difference, served_model
from activities.telemetry.recorded import open_bundle
from evals.lab.executables import server as find_server
from evals.lab.servers import LlamaServer, llama_server
from infra.embedded_model import EmbeddedModelError, embedded_model
from infra.settings import Settings
from tests.conftest import recorded
from tests.running import finish
from workers.installation import Installation
from workers.known_models import known_models
from workers.model_commands import GROUP
from workers.replaying import replay
from workflows.contracts.investigation import Budget, Purpose

SLOTS = 1
FILE = 'endpoints: [{{name: tiny, url: "{url}", model: {model}, cleared: T5, at_once: {slots}, timeout: PT5M}}]'
SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"component": {"type": "string", "enum": ["cart", "payment"]}},
    "required": ["component"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server(need: Callable[..., None], folder: Path) -> Iterator[LlamaServer]:
    need("llama-server")
    with llama_server(folder / "llama", slots=SLOTS) as running:
        yield running


@pytest.fixture(scope="module")
def models_file(server: LlamaServer, folder: Path) -> Path:
    path = folder / "models.yaml"
    path.write_text(FILE.format(url=server.url, model=server.model, slots=SLOTS))
    return path


def asking(installation: Installation, models_file: Path) -> Installation:
    return replace(installation, settings=installation.settings.model_copy(update={"models_file": models_file}))


def test_real_errors_are_known_by_their_kind(server: LlamaServer) -> None:
    model = OpenAIModel(server.url, name="tiny", model=server.model)
    asked = Prompt(system="You answer with JSON.", user="Is it the cart or the payment?")
    found = model.complete(asked, SCHEMA, max_tokens=30)
    assert json.loads(found.text)["component"] in ("cart", "payment")
    assert found.prompt_tokens > 0 < found.completion_tokens
    again = model.complete(asked, SCHEMA, max_tokens=30)
    assert again.text == found.text, "temperature 0 and a seed"
    with pytest.raises(InvalidAnswerError, match="cut off"):
        model.complete(asked, SCHEMA, max_tokens=2)
    with pytest.raises(ContextOverflowError):
        model.complete(replace(asked, user="a log line " * 5_000), SCHEMA, max_tokens=30)
    with pytest.raises(ModelRefusedError):
        model.complete(asked, {"type": "nonsense"}, max_tokens=30)


def test_the_check_says_what_the_server_can(models_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INQUEST_MODELS_FILE", str(models_file))
    found = CliRunner().invoke(GROUP, ["check", "tiny"])
    assert found.exit_code == 0, found.output
    assert "answers in a schema" in found.output
    models_file.with_name("wrong.yaml").write_text(models_file.read_text().replace("model: smollm2", "model: other"))
    monkeypatch.setenv("INQUEST_MODELS_FILE", str(models_file.with_name("wrong.yaml")))
    found = CliRunner().invoke(GROUP, ["check"])
    assert found.exit_code == 1
    assert "it has no model other" in found.output


@contextmanager
def watched(server: LlamaServer) -> Iterator[list[int]]:
    """How many answers the server works on, looked at again and again."""
    seen: list[int] = []
    ended = threading.Event()

    def look() -> None:
        address = server.url.removesuffix("/v1") + "/slots"
        while not ended.wait(0.2):
            with urllib.request.urlopen(address, timeout=30) as answer:
                seen.append(sum(bool(slot["is_processing"]) for slot in json.load(answer)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(30)


@pytest.mark.timeout(600)
async def test_several_investigations_share_its_slots_and_all_end(
    installation: Installation, server: LlamaServer, models_file: Path
) -> None:
    own = asking(installation, models_file)
    client = await own.client()
    bundle, budget = open_bundle(recorded("bad_deploy")), Budget(rounds=1, tokens=20_000)
    begun = time.monotonic()
    with watched(server) as seen:
        async with own.workers(client):
            opened = [
                await replay(own, client, bundle, scope=f"tiny-{number}", purpose=Purpose.REPLAY, budget=budget)
                for number in range(2)
            ]
            reports = await asyncio.gather(*(finish(own, client, item.request.investigation_id) for item in opened))
    assert max(seen) <= SLOTS
    assert time.monotonic() - begun < 500
    for report in reports:
        [used] = report.run.models
        assert (used.endpoint, used.problems) == ("tiny", {})
        assert 0 < report.run.tokens == used.tokens <= budget.tokens
        assert report.findings.verdict.entity == "service:payment", "a worthless model costs nothing here"


def test_the_embedded_model_is_an_endpoint_while_it_is_served(
    need: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("llama-server")
    executable = find_server("llama-server")
    assert executable is not None
    [packages] = (executable.parent / "venv" / "lib").glob("python*/site-packages")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    settings = Settings(data_dir=tmp_path, models_file=tmp_path / "none.yaml")
    with embedded_model(tmp_path) as url:
        [endpoint] = known_models(settings).endpoints
        assert (endpoint.name, endpoint.url) == ("embedded", url)
        model = OpenAIModel(url, name=endpoint.name, model=endpoint.model)
        found = model.complete(Prompt(system="You answer with JSON.", user="Which?"), SCHEMA, max_tokens=30)
        assert 0 < found.first_token_seconds < found.seconds
        served = served_model(model, None)
        assert difference(served, served_model(model, None)) == "", "the same weights answer alike"
        with pytest.raises(EmbeddedModelError, match="another command"), embedded_model(tmp_path):
            pass
    assert known_models(settings).endpoints == ()
