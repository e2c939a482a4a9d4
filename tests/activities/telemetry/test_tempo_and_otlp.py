"""Tempo, which is not to be had here: a server that answers as its documentation says; and files of OTLP/JSON.

Both tell of the same spans, so both must give the same answers.
"""

import base64
import gzip
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from activities.telemetry.backend import Answer, run_probe, run_probes
from activities.telemetry.entities import Resolver
from activities.telemetry.registry import Opening, backend_kinds
from tests.faulty_server import Call, Reply, Server, faulty_server, json_reply
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import InventoryProbe, Probe, TraceProbe, Window

NOW = datetime.now(UTC).replace(microsecond=0)
WINDOW = Window(start=NOW - timedelta(hours=24), end=NOW)
Document = dict[str, Any]
ENTITIES = ("service:frontend", "service:cart", "database:carts")


def nanos(seconds_ago: float) -> int:
    return int((NOW - timedelta(seconds=seconds_ago)).timestamp() * 1e9)


def requests(count: int, *, every_s: float = 2.0) -> list[Document]:
    """Requests of frontend to cart to a database; the latest ten fail in cart."""
    spans = []
    for number in range(count):
        ago, failed = 1 + number * every_s, number < 10
        trace = f"{number + 1:032x}"
        for depth, (service, kind, name) in enumerate(
            (("frontend", 2, "GET /cart"), ("cart", 2, "Cart/Get"), ("cart", 3, "SELECT"))
        ):
            attributes = {"db.system": "postgresql", "db.namespace": "carts"} if kind == 3 else {}
            spans.append(
                {
                    "trace": trace,
                    "id": f"{number * 3 + depth + 1:016x}",
                    "parent": f"{number * 3 + depth:016x}" if depth else "",
                    "service": service,
                    "kind": kind,
                    "name": name,
                    "start": nanos(ago) + depth * 1_000_000,
                    "nanos": (3 - depth) * (5_000_000 + number % 20 * 100_000),
                    "failed": failed and depth < 2,
                    "attributes": attributes,
                }
            )
    return spans


def otlp(spans: list[Document], *, in_base64: bool = False) -> Document:
    def written(text: str) -> str:
        return base64.b64encode(bytes.fromhex(text)).decode() if in_base64 else text

    batches = []
    for span in spans:
        item = {
            "traceId": written(span["trace"]),
            "spanId": written(span["id"]),
            "parentSpanId": written(span["parent"]),
            "name": span["name"],
            "kind": span["kind"],
            "startTimeUnixNano": str(span["start"]),
            "endTimeUnixNano": str(span["start"] + span["nanos"]),
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in span["attributes"].items()],
            "status": {"code": 2} if span["failed"] else {},
        }
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": span["service"]}}]}
        batches.append({"resource": resource, "scopeSpans": [{"spans": [item]}]})
    return {"resourceSpans": batches}


KINDS = {1: "internal", 2: "server", 3: "client"}
QUERY = re.compile(
    r'^(?:\{ resource\.service\.name = "(?P<service>[^"]*)" \} && )?'
    r"(?P<failed>\{ status = error \} && )?(?:\{ duration >= (?P<least>\d+)us \} && )?"
    r"\{ true \} \| select\((?P<fields>[^)]*)\)(?P<hint> with \(most_recent=true\))?$"
)


class Tempo:
    """Answers searches over its spans."""

    def __init__(self, spans: list[Document], *, knows_hints: bool = True) -> None:
        self.traces: dict[str, list[Document]] = {}
        for span in spans:
            self.traces.setdefault(span["trace"], []).append(span)
        self.knows_hints = knows_hints

    def handle(self, call: Call) -> Reply:
        if call.path == "/api/v2/search/tag/resource.service.name/values":
            names = sorted({span["service"] for spans in self.traces.values() for span in spans})
            return json_reply({"tagValues": [{"type": "string", "value": name} for name in names], "metrics": {}})
        if call.path == "/api/search":
            return self.search(call.parameters)
        return Reply(404, b"404 page not found")

    def search(self, given: dict[str, str]) -> Reply:
        query = QUERY.match(given["q"])
        if query is None or (query["hint"] and not self.knows_hints):
            return Reply(400, b"invalid TraceQL query: parse error")
        found = []
        for name, spans in self.traces.items():
            inside = int(given["start"]) <= spans[0]["start"] / 1e9 < int(given["end"])
            of_service = query["service"] is None or any(span["service"] == query["service"] for span in spans)
            failed = not query["failed"] or any(span["failed"] for span in spans)
            least = int(query["least"] or 0) * 1_000
            if inside and of_service and failed and any(span["nanos"] >= least for span in spans):
                found.append((spans[0]["start"], name, spans))
        found.sort(reverse=True)
        traces = [self.written(name, spans, int(given["spss"])) for _, name, spans in found[: int(given["limit"])]]
        return json_reply({"traces": traces, "metrics": {"completedJobs": 1}})

    @staticmethod
    def written(name: str, spans: list[Document], most: int) -> Document:
        items = []
        for span in spans[:most]:
            attributes = {
                "kind": KINDS[span["kind"]],
                "status": "error" if span["failed"] else "unset",
                "service.name": span["service"],
                **({"span:parentID": span["parent"]} if span["parent"] else {}),
                **span["attributes"],
            }
            items.append(
                {
                    "spanID": span["id"],
                    "name": span["name"],
                    "startTimeUnixNano": str(span["start"]),
                    "durationNanos": str(span["nanos"]),
                    "attributes": [{"key": key, "value": {"stringValue": item}} for key, item in attributes.items()],
                }
            )
        return {
            "traceID": name.lstrip("0"),
            "rootServiceName": spans[0]["service"],
            "startTimeUnixNano": str(spans[0]["start"]),
            "durationMs": 15,
            "spanSets": [{"spans": items, "matched": len(spans)}],
        }


def opened(backend: str, **config: object) -> Any:
    kind = backend_kinds()[backend]
    given = {"name": "t", "backend": backend, "limits": {"per_second": 1_000}, **config}
    return kind.open(Opening(config=kind.config.model_validate(given), resolver=lambda: Resolver({})))


def asked(backend: str, **config: object) -> dict[str, Answer]:
    source = opened(backend, **config)
    probes: list[Probe] = [TraceProbe(backend="t", window=WINDOW, entity=EntityId(name)) for name in ENTITIES]
    try:
        return {str(entity_of(probe)): answer for probe, answer in run_probes(source, probes)}
    finally:
        source.close()


def entity_of(probe: Probe) -> EntityId:
    assert isinstance(probe, TraceProbe)
    return probe.entity


@contextmanager
def tempo(spans: list[Document], *, knows_hints: bool = True) -> Iterator[Server]:
    with faulty_server(Tempo(spans, knows_hints=knows_hints).handle) as server:
        yield server


def written(folder: Path, spans: list[Document], name: str = "traces.json", **how: bool) -> Path:
    """A document for each second request, as a collector's batches are."""
    lines = [json.dumps(otlp(spans[start : start + 6], **how)) for start in range(0, len(spans), 6)]
    path, content = folder / name, "".join(f"{line}\n" for line in lines).encode()
    if name.endswith(".gz"):
        content = gzip.compress(content)
    if name.endswith(".zst"):
        content = zstandard.ZstdCompressor().compress(content)
    path.write_bytes(content)
    return path


def test_both_give_the_same_answers(tmp_path: Path) -> None:
    spans = requests(60)
    written(tmp_path, spans[: len(spans) // 2])
    written(tmp_path, spans[len(spans) // 2 :], "older.json.zst", in_base64=True)
    of_files = asked("otlp", folder=tmp_path)
    with tempo(spans) as server:
        of_tempo = asked("tempo", url=server.url)
        assert len(server.calls) <= 40
        assert {call.method for call in server.calls} == {"GET"}
    cart = of_files["service:cart"]
    assert cart.status is ObservationStatus.OK, cart.detail
    assert cart.rows is not None
    served = cart.rows.filter(cart.rows["operation"] == "Cart/Get")
    assert served["count"].sum() == 60
    assert served["errors"].sum() == 10
    assert of_files["database:carts"].rows is not None
    for entity in ENTITIES:
        ours, theirs = of_files[entity], of_tempo[entity]
        assert theirs.status is ours.status
        assert theirs.rows is not None
        assert ours.rows is not None
        assert theirs.rows.equals(ours.rows), entity


def test_names_and_calls_are_learned_from_both(tmp_path: Path) -> None:
    spans = requests(20)
    written(tmp_path, spans, "traces.jsonl.gz")
    with tempo(spans) as server:
        answers = [
            run_probe(opened(backend, **config), InventoryProbe(backend="t", window=WINDOW))
            for backend, config in (("tempo", {"url": server.url}), ("otlp", {"folder": tmp_path}))
        ]
    for answer in answers:
        assert answer.rows is not None
        resolver = Resolver({"t": answer.rows})
        assert set(resolver.known_by()) == set(ENTITIES)
    assert answers[0].rows is not None
    edges = Resolver({"t": answers[0].rows}).topology()
    assert ("service:frontend", "service:cart") in set(edges.select("source", "target").iter_rows())


def test_failed_and_slow_traces_are_searched_apart_where_there_are_many() -> None:
    spans = requests(600, every_s=0.3)
    with tempo(spans) as server:
        answers = asked("tempo", url=server.url, most_traces=20)
        queries = [call.parameters["q"] for call in server.calls if "q" in call.parameters]
    assert any("status = error" in query for query in queries)
    assert any("duration >= " in query for query in queries)
    rows = answers["service:cart"].rows
    assert rows is not None
    served = rows.filter(rows["operation"] == "Cart/Get")
    assert served["errors"].sum() == 10, "failed ones are all there"
    assert 500 <= served["count"].sum() <= 700, "the others stand for all of them"


def test_a_moment_between_two_seconds_loses_nothing() -> None:
    """Tempo is asked by whole seconds: what lies beside them must not fill the limit."""
    spans = requests(6_000, every_s=0.05)
    end = NOW - timedelta(seconds=0.6)
    with tempo(spans) as server:
        source = opened("tempo", url=server.url)
        window = Window(start=end - timedelta(hours=1), end=end)
        probe = TraceProbe(backend="t", window=window, entity=EntityId("service:cart"))
        answer = run_probe(source, probe)
        source.close()
    assert answer.rows is not None
    served = answer.rows.filter(answer.rows["operation"] == "Cart/Get")["count"].sum()
    assert 5_000 <= served <= 7_500, "the part of the time in which traffic began is taken for full of it"


def test_a_search_that_fails_costs_only_what_it_asked_for() -> None:
    spans = requests(600, every_s=0.3)
    server_of = Tempo(spans)

    def handle(call: Call) -> Reply:
        refused = "status = error" in call.parameters.get("q", "") or "duration" in call.parameters.get("q", "")
        return Reply(422, b"too expensive") if refused else server_of.handle(call)

    with faulty_server(handle) as server:
        answer = asked("tempo", url=server.url, most_traces=20)["service:cart"]
    assert answer.status is ObservationStatus.TRUNCATED
    assert "too expensive" in answer.detail
    assert answer.rows is not None
    assert answer.rows.height


def test_times_that_are_none_cost_one_span(tmp_path: Path) -> None:
    spans = requests(20)
    odd = [
        {**spans[0], "id": "f" * 16, "nanos": 10**30},
        {**spans[1], "id": "e" * 16, "start": 10**30, "name": "a\ud800"},
    ]
    written(tmp_path, [*spans, *odd])
    of_files = asked("otlp", folder=tmp_path)["service:cart"]
    with tempo([*spans, *odd]) as server:
        of_tempo = asked("tempo", url=server.url)["service:cart"]
    for answer in (of_files, of_tempo):
        assert answer.rows is not None
        assert answer.rows.filter(answer.rows["operation"] == "Cart/Get")["count"].sum() >= 19


def test_a_tempo_without_hints_and_one_with_long_traces() -> None:
    with tempo(requests(5), knows_hints=False) as server:
        plain = asked("tempo", url=server.url)["service:cart"]
        refused = [call for call in server.calls if "most_recent" in call.parameters.get("q", "")]
    assert plain.status is ObservationStatus.OK, plain.detail
    assert len(refused) == 1, "it is not tried again"
    long = [{**span, "trace": f"{1:032x}"} for span in requests(40, every_s=0.01)]
    with tempo(long) as server:
        cut = asked("tempo", url=server.url, most_spans=50)["service:cart"]
    assert cut.status is ObservationStatus.TRUNCATED
    assert "more than 50 spans" in cut.detail


def test_files_that_are_damaged_old_or_too_many(tmp_path: Path) -> None:
    path = written(tmp_path, requests(2_000, every_s=1.0))
    with path.open("a") as file:
        file.write('{"resourceSpans": [{"resou')
    old = written(tmp_path, requests(5), "old.json")
    os.utime(old, (0, 0))
    assert asked("otlp", folder=tmp_path)["service:cart"].status is ObservationStatus.OK, "a line is just being written"
    (tmp_path / "not.json").write_text("no\nJSON\nat all\n")
    broken = asked("otlp", folder=tmp_path)["service:cart"]
    assert "3 lines are no JSON" in broken.detail or "4 lines are no JSON" in broken.detail
    few = asked("otlp", folder=tmp_path, pattern="traces*", most_spans=1_500)["service:cart"]
    assert few.status is ObservationStatus.TRUNCATED
    assert few.coverage is not None
    assert timedelta(seconds=490) < NOW - few.coverage.window.start < timedelta(seconds=1_010)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="there is no folder"):
        opened("otlp", folder=tmp_path / "nothing")
    with pytest.raises(ValueError, match="beginning with /"):
        opened("otlp", folder="traces")
