"""`inquest model`: who is asked about what, and the command line that serves a folder of weights."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.faulty_server import Call, Reply, faulty_server, json_reply
from workers.model_commands import GROUP, vllm_command

FILE = """
endpoints:
  - {{name: own, url: "{url}/v1", model: smol, cleared: T5}}
  - {{name: group, url: "https://models.group.internal/v1", model: large, cleared: T2}}
workloads: [{{environment: "shop", tier: T2}}]
"""


def run(monkeypatch: pytest.MonkeyPatch, path: Path, *arguments: str) -> tuple[int, str]:
    monkeypatch.setenv("INQUEST_MODELS_FILE", str(path))
    found = CliRunner().invoke(GROUP, list(arguments))
    return found.exit_code, found.output


def test_who_is_asked_about_a_workload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    assert "no model is asked" in run(monkeypatch, path, "list")[1]
    path.write_text(FILE.format(url="http://127.0.0.1:1").replace("name: own", "name: own2"))
    code, text = run(monkeypatch, path, "list", "--environment", "shop")
    assert code == 0
    assert "of tier T2: own2 is asked" in text
    path.write_text(FILE.format(url="http://127.0.0.1:1").replace("cleared: T5", "cleared: T1"))
    assert "of tier T5: no endpoint may see it" in run(monkeypatch, path, "list", "--service", "bank")[1]
    path.write_text("endpoints: 7")
    code, text = run(monkeypatch, path, "list")
    assert code == 1
    assert "models.yaml" in text.replace("\n", "")


def answering(call: Call) -> Reply:
    if call.path == "/v1/models":
        return json_reply({"data": [{"id": "smol", "max_model_len": 1_024}]})
    if call.path == "/version":
        return json_reply({"version": "0.32.0"})
    choice = {"message": {"content": "It is the checkout."}, "finish_reason": "stop"}
    return json_reply({"choices": [choice]})


def test_a_check_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    with faulty_server(answering) as server:
        path.write_text(FILE.format(url=server.url))
        code, text = run(monkeypatch, path, "check", "own")
    assert code == 1
    assert "version 0.32.0" in text
    assert "reads 1,024 tokens; at least 2,048 are needed" in text
    assert "does not answer in a schema" in text
    code, text = run(monkeypatch, path, "check", "own")
    assert code == 1
    assert "does not answer" in text
    assert "no such endpoint" in run(monkeypatch, path, "check", "other")[1]


def test_the_command_line_of_a_server_is_offline_and_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, text = run(monkeypatch, tmp_path / "models.yaml", "serve", str(tmp_path))
    assert code == 1
    assert "config.json" in text
    (tmp_path / "config.json").write_text("{}")
    code, text = run(monkeypatch, tmp_path / "models.yaml", "serve", str(tmp_path), "--name", "smol")
    assert code == 0
    for word in ("HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1", "--host 127.0.0.1", "--served-model-name smol"):
        assert word in text
    command = vllm_command(tmp_path, name="smol", port=9_000, context=8_192, gpus=4)
    assert command[-2:] == ["--max-model-len", "8192"]
    assert command[command.index("--tensor-parallel-size") + 1] == "4"
