"""The README's examples are run as a reader would run them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from activities.inference.models_file import Workload, read_models
from activities.telemetry.environment import read_environment
from activities.telemetry.registry import configs
from activities.topology.declaration import read_declaration
from infra.settings import Settings
from tests.conftest import PROJECT, own_data_dir

README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
BIN = Path(sys.executable).parent


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """A data folder of its own."""
    with own_data_dir() as folder:
        yield {**os.environ, "INQUEST_DATA_DIR": str(folder)}


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "yaml"}


def test_the_environment_file_is_a_good_one(tmp_path: Path) -> None:
    environment, alertmanager, declaration, models = [text for kind, text in BLOCKS if kind == "yaml"]
    (tmp_path / "prod.yaml").write_text(environment)
    (tmp_path / "shop.yaml").write_text(declaration)
    assert len(read_declaration(tmp_path / "shop.yaml").edges) == 5
    (tmp_path / "models.yaml").write_text(models)
    asked = read_models(tmp_path / "models.yaml").allowed([Workload(environment="shop-eu", service="payment-api")])
    assert asked is not None
    assert asked.name == "own"
    found = read_environment(tmp_path / "prod.yaml", configs())
    assert len(found.sources) >= 5
    pages = set(re.findall(r"\(activities/telemetry/(\w+)/README\.md\)", README))
    assert pages == set(configs()), "every backend has its page"
    url = urlsplit(yaml.safe_load(alertmanager)["receivers"][0]["webhook_configs"][0]["url"])
    assert url.path == "/v1/alerts/alertmanager"
    assert url.netloc == Settings().gateway_address


@pytest.mark.timeout(300)
def test_the_python_example_ends_in_the_right_answer(environment: dict[str, str]) -> None:
    """`inquest up` in one terminal, the example in another; days after the recording it is still right."""
    example = next(text for kind, text in BLOCKS if kind == "python")
    up = subprocess.Popen([BIN / "inquest", "up"], env=environment, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert up.stdout is not None
        assert "workers are running" in up.stdout.readline()
        done = subprocess.run(
            [sys.executable, "-c", example], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=200
        )
    finally:
        up.terminate()
        up.wait(timeout=30)
        if up.stdout is not None:
            up.stdout.close()
    assert done.returncode == 0, done.stderr
    assert "service:payment is the root cause" in done.stdout


@pytest.mark.timeout(300)
def test_the_commands_of_the_shell_blocks_run(environment: dict[str, str]) -> None:
    """The `make` targets are run by what sets the tests up; every other command is run here."""
    commands = [line.partition("#")[0].strip() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    for command in (item for item in commands if item and not item.startswith("make ")):
        words = [str(BIN / "inquest") if word == ".venv/bin/inquest" else word for word in shlex.split(command)]
        done = subprocess.run(words, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, (command, done.stderr)
