"""Answers in which anything may be of another type, missing, huge or odd end in an answer or one of our errors."""

import copy
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.telemetry.backend import run_probe
from activities.telemetry.entities import Resolver, inventory_rows
from activities.telemetry.exceptions import BackendUnavailableError, QueryError, SourceRefusedError
from activities.telemetry.registry import Opening, backend_kinds
from tests.activities.telemetry.test_git_hosts import HOSTS, flag_file
from tests.activities.telemetry.test_tempo_and_otlp import Tempo, requests
from tests.faulty_server import Call, Reply, faulty_server
from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import ChangeProbe, Probe, TraceProbe, Window

ROUNDS = 25
ODD: tuple[object, ...] = (
    None,
    "",
    0,
    -1,
    10**30,
    1.5,
    True,
    [],
    {},
    [None],
    {"a": None},
    "\ud800",
    "a\tb\nc\x00",
    "x" * 3_000,
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "not a time",
    "../../etc/passwd",
)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated(document: Any, rng: random.Random) -> Any:
    changed = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        paths = list(places(changed))
        if not paths:
            return copy.deepcopy(rng.choice(ODD))
        *way, last = rng.choice(paths)
        inner = changed
        for key in way:
            inner = inner[key]
        inner[last] = copy.deepcopy(rng.choice(ODD))
    return changed


def asked(backend: str, url: str, probe: Probe, **config: object) -> str:
    kind = backend_kinds()[backend]
    limits = {"per_second": 1_000}
    given = {"name": "h", "backend": backend, "url": url, "limits": limits, **config}
    names = inventory_rows([({"service_name": "cart"}, "", {})])
    opened = kind.open(Opening(config=kind.config.model_validate(given), resolver=lambda: Resolver({"p": names})))
    try:
        return run_probe(opened, probe).status.value
    except (BackendUnavailableError, QueryError, SourceRefusedError) as error:
        return type(error).__name__
    finally:
        opened.close()


@pytest.mark.parametrize("host", HOSTS)
def test_of_git_hosts(host: str) -> None:
    base, answers, config = HOSTS[host]
    probe = ChangeProbe(backend="h", window=Window(start=NOW - timedelta(days=14), end=NOW))
    rng = random.Random(host)
    outcomes = set()
    for _ in range(ROUNDS):
        chosen = rng.choice(sorted(answers))
        odd = json.dumps(mutated(answers[chosen], rng)).encode()

        def handle(call: Call, chosen: str = chosen, odd: bytes = odd) -> Reply:
            path = call.path.removeprefix(base)
            if path == chosen:
                return Reply(body=odd)
            return flag_file(path, call.parameters.get("ref", "")) or (
                Reply(body=json.dumps(answers[path]).encode()) if path in answers else Reply(404, b"Not Found")
            )

        with faulty_server(handle) as server:
            outcomes.add(asked(host, server.url, probe, **config))
    assert "ok" in outcomes


def test_of_tempo() -> None:
    good = Tempo(requests(3))
    now = datetime.now(UTC)
    window = Window(start=now - timedelta(hours=1), end=now)
    probe = TraceProbe(backend="h", window=window, entity=EntityId("service:cart"))
    rng = random.Random(3)
    outcomes = set()
    for _ in range(ROUNDS):
        seed = rng.random()

        def handle(call: Call, seed: float = seed) -> Reply:
            answer = good.handle(call)
            return Reply(answer.status, json.dumps(mutated(json.loads(answer.body), random.Random(seed))).encode())

        with faulty_server(handle) as server:
            outcomes.add(asked("tempo", server.url, probe))
    assert "ok" in outcomes
