"""Every backend, every way in which a server can fail: each failure has a status of its own, and none is a success."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.telemetry.backend import Answer, run_probe
from activities.telemetry.entities import Resolver
from activities.telemetry.exceptions import BackendUnavailableError, QueryError, SourceRefusedError
from activities.telemetry.registry import Opening, backend_kinds
from tests.faulty_server import Call, Reply, faulty_server, json_reply
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import (
    ChangeProbe,
    ClusterProbe,
    InventoryProbe,
    LogProbe,
    MetricProbe,
    Probe,
    TraceProbe,
    Window,
)

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
WINDOW = Window(start=NOW - timedelta(hours=24), end=NOW)
ABOUT = EntityId("service:checkout")
PROBES: dict[str, Probe] = {
    "prometheus": MetricProbe(backend="s", window=WINDOW, entity=ABOUT),
    "loki": LogProbe(backend="s", window=WINDOW, entity=ABOUT),
    "jaeger": TraceProbe(backend="s", window=WINDOW, entity=ABOUT),
    "tempo": TraceProbe(backend="s", window=WINDOW, entity=ABOUT),
    "kubernetes": ClusterProbe(backend="s", window=WINDOW),
    "git": ChangeProbe(backend="s", window=WINDOW),
    "github": ChangeProbe(backend="s", window=WINDOW),
    "gitlab": ChangeProbe(backend="s", window=WINDOW),
}
SETTINGS: dict[str, dict[str, str]] = {"github": {"repository": "a/b"}, "gitlab": {"project": "a/b"}}
UNAVAILABLE, FORBIDDEN, NOT_FOUND = (
    ObservationStatus.UNAVAILABLE,
    ObservationStatus.FORBIDDEN,
    ObservationStatus.NOT_FOUND,
)
TIMEOUT, ERROR, TRUNCATED = ObservationStatus.TIMEOUT, ObservationStatus.ERROR, ObservationStatus.TRUNCATED
WELL: dict[str, Any] = {
    "prometheus": {"status": "success", "data": {"resultType": "vector", "result": []}},
    "loki": {"status": "success", "data": {"resultType": "streams", "result": []}},
    "jaeger": {"data": []},
    "tempo": {"tagValues": [], "traces": []},
    "kubernetes": {"items": [], "metadata": {}},
    "git": {},
    "github": [],
    "gitlab": [],
}
"""Answers of servers that know nothing."""


def asked(backend: str, probe: Probe, url: str, **more: object) -> Answer:
    """What an investigation learns: an answer, or the status that stands for a failure."""
    kind = backend_kinds()[backend]
    limits = {"query_timeout": 0.4, "answer_megabytes": 0.01, "per_second": 1_000}
    given = {"name": "s", "backend": backend, "url": url, "limits": limits, **SETTINGS.get(backend, {}), **more}
    try:
        opened = kind.open(Opening(config=kind.config.model_validate(given), resolver=lambda: Resolver({})))
    except SourceRefusedError as error:
        return Answer(status=error.status, detail=error.detail)
    try:
        return run_probe(opened, probe)
    except BackendUnavailableError as error:
        return Answer(status=UNAVAILABLE, detail=str(error))
    except (QueryError, SourceRefusedError) as error:
        return Answer(status=error.status, detail=error.detail)
    finally:
        opened.close()


def always(reply: Reply | None) -> Callable[[Call], Reply | None]:
    return lambda _call: reply


FAULTS: list[tuple[str, Reply | None, ObservationStatus]] = [
    ("401", Reply(401, b"who are you"), FORBIDDEN),
    ("403", Reply(403, b"not you"), FORBIDDEN),
    ("404", Reply(404, b"no such page"), NOT_FOUND),
    ("422", json_reply({"status": "error", "error": "bad query"}, status=422), ERROR),
    ("429", Reply(429, b"slower", {"Retry-After": "0"}), UNAVAILABLE),
    ("500", Reply(500, b"oops"), UNAVAILABLE),
    ("503", Reply(503, b"starting", {"Retry-After": "0"}), UNAVAILABLE),
    ("redirect", Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), ERROR),
    ("hang", Reply(wait_s=5), TIMEOUT),
    ("drip", Reply(body=b'{"data": []}' * 20, drip_s=0.1), TIMEOUT),
    ("closed", None, UNAVAILABLE),
    ("cut", Reply(body=b'{"status": "success"}', cut_after=5), UNAVAILABLE),
    ("no JSON", Reply(body=b"<html>login</html>"), ERROR),
    ("truncated JSON", Reply(body=b'{"status": "succ'), ERROR),
    ("another API", json_reply(["something", "else"]), ERROR),
    ("damaged gzip", Reply(body=b"\x1f\x8bnot gzip", headers={"Content-Encoding": "gzip"}), ERROR),
    ("too large", Reply(body=json.dumps({"data": ["x" * 20_000]}).encode()), TRUNCATED),
]


@pytest.mark.parametrize("backend", PROBES)
@pytest.mark.parametrize(("reply", "status"), [item[1:] for item in FAULTS], ids=[item[0] for item in FAULTS])
def test_a_failure_has_its_own_status(backend: str, reply: Reply | None, status: ObservationStatus) -> None:
    with faulty_server(always(reply)) as server:
        answer = asked(backend, PROBES[backend], server.url)
    assert answer.status is status, answer.detail
    assert answer.rows is None or answer.rows.is_empty()
    assert answer.detail


@pytest.mark.parametrize("backend", PROBES)
def test_nobody_listens(backend: str) -> None:
    answer = asked(backend, PROBES[backend], "http://127.0.0.1:9")
    assert answer.status is UNAVAILABLE
    assert "cannot be reached" in answer.detail


@pytest.mark.parametrize("backend", PROBES)
def test_a_certificate_of_a_stranger_is_refused(backend: str) -> None:
    answer = asked(backend, PROBES[backend], "http://127.0.0.1:9", trusted="/nonexistent.pem")
    assert answer.status is ERROR
    assert "trusted" in answer.detail


@pytest.mark.parametrize("backend", PROBES)
def test_a_missing_credential_is_no_success(backend: str) -> None:
    with faulty_server(always(json_reply(WELL[backend]))) as server:
        answer = asked(backend, PROBES[backend], server.url, credential={"file": "/nonexistent/token"})
        assert not server.calls, "nothing is sent without it"
    assert answer.status is FORBIDDEN
    assert "/nonexistent/token" in answer.detail


@pytest.mark.parametrize("backend", PROBES)
def test_the_credential_is_sent_and_never_shown(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_TOKEN", "s3cr3t-value-of-ours")
    with faulty_server(always(Reply(403, b"no"))) as server:
        answer = asked(backend, PROBES[backend], server.url, credential={"variable": "OUR_TOKEN"})
        assert all(call.headers["authorization"] == "Bearer s3cr3t-value-of-ours" for call in server.calls)
        assert server.calls
    assert "s3cr3t" not in answer.detail


@pytest.mark.parametrize("backend", [name for name in PROBES if name not in ("kubernetes", "git")])
def test_a_server_that_knows_nothing_answers_empty(backend: str) -> None:
    def handle(call: Call) -> Reply:
        document = WELL[backend]
        if call.path.endswith("/query_range") and backend == "prometheus":
            document = {"status": "success", "data": {"resultType": "matrix", "result": []}}
        if call.path.endswith(("/metadata", "/rules")):
            document = {"status": "success", "data": {"groups": []} if call.path.endswith("/rules") else {}}
        return json_reply(document, packed=True)

    with faulty_server(handle) as server:
        answer = asked(backend, PROBES[backend], server.url)
    assert answer.status is ObservationStatus.EMPTY, answer.detail


def test_only_get_and_the_two_query_forms_are_ever_sent() -> None:
    for backend, probe in PROBES.items():
        with faulty_server(always(json_reply(WELL[backend]))) as server:
            asked(backend, probe, server.url)
            asked(backend, InventoryProbe(backend="s", window=WINDOW), server.url)
            for call in server.calls:
                allowed = call.method == "GET" or call.path in ("/api/v1/query", "/api/v1/query_range")
                assert allowed, f"{call.method} {call.path}"


def test_a_busy_server_is_waited_for_and_then_left() -> None:
    replies = [Reply(429, b"", {"Retry-After": "0"}), Reply(429, b"", {"Retry-After": "0"})]

    def handle(_call: Call) -> Reply:
        return replies.pop() if replies else json_reply({"data": []})

    with faulty_server(handle) as server:
        answer = asked("jaeger", PROBES["jaeger"], server.url)
    assert answer.status is ObservationStatus.EMPTY


def test_one_forbidden_list_is_named_and_costs_only_its_own() -> None:
    def handle(call: Call) -> Reply:
        if call.path.endswith("/pods"):
            return Reply(403, b"pods is forbidden")
        if call.path.endswith("/nodes"):
            pressure = {"type": "DiskPressure", "status": "True", "lastTransitionTime": "2026-11-27T11:55:00Z"}
            node = {"metadata": {"name": "n1", "uid": "u"}, "status": {"conditions": [pressure]}}
            return json_reply({"items": [node], "metadata": {}})
        if "gateway" in call.path or "cert-manager" in call.path:
            return Reply(404, b"404 page not found")
        return json_reply(WELL["kubernetes"])

    with faulty_server(handle) as server:
        answer = asked("kubernetes", PROBES["kubernetes"], server.url)
    assert answer.status is TRUNCATED
    assert "Pod" in answer.detail
    assert "forbidden" in answer.detail
    assert "Gateway" not in answer.detail, "a cluster without it lacks nothing"
    assert answer.rows is not None
    assert answer.rows["reason"].to_list() == ["DiskPressure"]


def test_clock_skew_does_not_lose_series() -> None:
    """A server whose clock runs ahead answers points after the window; they are what it has."""
    ahead = (NOW + timedelta(minutes=3)).timestamp()

    def handle(call: Call) -> Reply:
        if call.path.endswith("/query_range"):
            labels = {"__name__": "up", "inquest_metric": "up", "app": "checkout"}
            data = {
                "resultType": "matrix",
                "result": [{"metric": labels, "values": [[ahead, "1"], [ahead + 5, "NaN"]]}],
            }
            return json_reply({"status": "success", "data": data})
        if call.path.endswith(("/metadata", "/rules")):
            return json_reply({"status": "success", "data": {"groups": []} if "rules" in call.path else {}})
        data = {"resultType": "vector", "result": [{"metric": {"__name__": "up"}, "value": [ahead, "1"]}]}
        return json_reply({"status": "success", "data": data})

    with faulty_server(handle) as server:
        answer = asked("prometheus", PROBES["prometheus"], server.url)
    assert answer.status is ObservationStatus.OK
    assert answer.rows is not None
    assert set(answer.rows["value"]) == {1.0}
