"""A model server that answers by script, over the real wire."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faulty_server import Call, Reply, faulty_server, json_reply

FILE = """
endpoints: [{{name: scripted, url: "{url}/v1", model: smol, cleared: {cleared}, timeout: PT1S}}]
workloads: [{{environment: "*", tier: T3}}]
"""
Script = Callable[[str], "str | Reply"]
"""From the digest that a model is shown to what it says, or to what its server does instead."""


@contextmanager
def a_model(
    folder: Path, script: Script, *, cleared: str = "T3", changes: str = "unsure", also: str = ""
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """A models file of one endpoint that answers by script, and what it was asked; `also` is added to the file."""
    asked: list[dict[str, Any]] = []

    def handle(call: Call) -> Reply:
        if call.method == "GET":
            return json_reply({"data": [{"id": "smol"}], "version": "0.1"})
        asked.append(json.loads(call.body))
        about_a_change = "explains" in asked[-1]["response_format"]["json_schema"]["schema"]["properties"]
        judged = json.dumps({"explains": changes, "kind": "error"})
        said = judged if about_a_change else script(asked[-1]["messages"][1]["content"])
        if isinstance(said, Reply):
            return said
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 900, "completion_tokens": 40}
        return json_reply({"choices": [choice], "usage": usage, "system_fingerprint": "script-1"})

    with faulty_server(handle) as server:
        path = folder / "models.yaml"
        path.write_text(FILE.format(url=server.url, cleared=cleared) + also)
        yield path, asked


def hostile(digest: str) -> str:
    """Speaks against the first suspect and for the second, with what bears on it."""
    lines = [line.split() for line in digest.splitlines()]
    names = {words[0]: words[1] for words in lines if words and words[0] in ("S1", "S2")}
    signs = {
        name: [w[0] for w in lines if w and w[0].startswith("F") and w[0][1:].isdigit() and w[1] == entity][:3]
        for name, entity in names.items()
    }
    judged = [
        {"suspect": "S2", "likelier": True, "findings": signs.get("S2", [])},
        {"suspect": "S1", "likelier": False, "findings": [f for f in signs.get("S2", []) if f]},
    ]
    return json.dumps({"queries": [], "judgements": judged, "propose": None})
