"""What metrics mean and what error texts name: documented entries, whole words, harmless lines."""

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from activities.analysis.catalogue import Bad, Resource, Signal, kind_of_text, meaning_of, own_kind_of_text
from activities.analysis.family import families
from activities.analysis.traces.mechanism import mechanisms
from workflows.contracts.hypothesis import FaultKind

HERE = Path(__file__).parent
DATA = files("activities.analysis.catalogue")


def test_every_entry_is_of_the_stated_vocabulary_and_names_its_source() -> None:
    count = 0
    for path in DATA.joinpath("metrics").iterdir():
        document = tomllib.loads(path.read_text())
        assert document["source"].startswith("https://")
        for name, entry in document["metrics"].items():
            Signal(entry["signal"]), Resource(entry["resource"]), Bad(entry["bad"])
            assert entry.get("capacity", name) in document["metrics"], name
            count += 1
    assert count > 1_000


@pytest.mark.parametrize(
    ("metric", "signal", "resource", "kind"),
    [
        ("rate(process_cpu_seconds_total)", Signal.UTILISATION, Resource.CPU, FaultKind.CPU),
        ('container_memory_working_set_bytes{pod="a"}', Signal.UTILISATION, Resource.MEMORY, FaultKind.MEMORY),
        ("http_server_request_duration_seconds_mean", Signal.DURATION, Resource.REQUEST, FaultKind.LATENCY),
        ("rate(http_server_request_duration_seconds_count)", Signal.TRAFFIC, Resource.REQUEST, FaultKind.TRAFFIC),
        ("kube_pod_container_status_restarts_total", Signal.STATE, Resource.PROCESS, FaultKind.CRASH),
        ("FreeStorageSpace", Signal.UTILISATION, Resource.DISK, FaultKind.DISK),
        ("requests_error_ratio", Signal.ERRORS, Resource.REQUEST, FaultKind.ERROR),
        ('http_requests{status="500"}', Signal.ERRORS, Resource.REQUEST, FaultKind.ERROR),
        ('http_requests{code="5xx"}', Signal.ERRORS, Resource.REQUEST, FaultKind.ERROR),
        ('http_requests{outcome="SERVER_ERROR"}', Signal.ERRORS, Resource.REQUEST, FaultKind.ERROR),
        ('http_requests{success="false"}', Signal.ERRORS, Resource.REQUEST, FaultKind.ERROR),
        ('http_requests{exception="None"}', Signal.TRAFFIC, Resource.REQUEST, FaultKind.TRAFFIC),
        ('http_requests{route="/errors/failed"}', Signal.TRAFFIC, Resource.REQUEST, FaultKind.TRAFFIC),
        ('http_requests{service="error-collector",zone="500"}', Signal.TRAFFIC, Resource.REQUEST, FaultKind.TRAFFIC),
        ('http_requests{operation="/memory/disk"}', Signal.TRAFFIC, Resource.REQUEST, FaultKind.TRAFFIC),
        ("500", Signal.ERRORS, Resource.REQUEST, FaultKind.ERROR),
        ("http.5xx", Signal.ERRORS, Resource.REQUEST, FaultKind.ERROR),
        ("cache_hit_ratio", Signal.STATE, Resource.CACHE, FaultKind.UNKNOWN),
        ("tls_certificate_seconds_left", Signal.COUNTDOWN, Resource.CERTIFICATE, FaultKind.EXPIRY),
        ("app_lock_waiting", Signal.SATURATION, Resource.LOCK, FaultKind.LOCK),
        ('ALERTS{alertname="HighCpuUsage"}', Signal.UTILISATION, Resource.CPU, FaultKind.CPU),
    ],
)
def test_what_well_known_and_well_named_metrics_mean(
    metric: str, signal: Signal, resource: Resource, kind: FaultKind
) -> None:
    found = meaning_of(metric)
    assert (found.signal, found.resource, found.kind) == (signal, resource, kind)


@pytest.mark.parametrize("metric", ["node_clock_seconds", "memory_blocks", "app_blocks", "clockwork_total"])
def test_parts_of_words_are_no_words(metric: str) -> None:
    assert meaning_of(metric).kind is not FaultKind.LOCK


def test_the_same_metric_in_another_spelling_means_the_same() -> None:
    dotted, underscored = meaning_of("http.server.request.duration"), meaning_of("http_server_request_duration_seconds")
    assert (dotted.signal, dotted.resource, dotted.kind) == (underscored.signal, underscored.resource, underscored.kind)
    good, bad = meaning_of("checkout_success_ratio"), meaning_of("checkout_error_ratio")
    assert good.kind is bad.kind is FaultKind.ERROR
    assert good.fall_is_bad
    assert not bad.fall_is_bad


def test_limits_and_labels_are_no_signs() -> None:
    assert not meaning_of("kube_node_status_allocatable").says_something
    assert not meaning_of("go_info").says_something
    assert not meaning_of("volume_size_bytes").says_something


def examples() -> list[tuple[str, str]]:
    lines = (HERE / "message_examples.tsv").read_text().splitlines()
    return [(kind, text) for kind, _, text in (line.partition("\t") for line in lines if line)]


@pytest.mark.parametrize(("kind", "text"), examples())
def test_well_known_messages_name_their_kind(kind: str, text: str) -> None:
    assert kind_of_text(text) is FaultKind(kind)


def test_harmless_lines_name_none() -> None:
    lines = [line for line in (HERE / "harmless_lines.txt").read_text().splitlines() if line]
    assert len(lines) > 60
    assert [line for line in lines if kind_of_text(line) is not None] == []


def test_who_cannot_reach_another_does_not_speak_of_itself() -> None:
    assert kind_of_text("dial tcp 10.0.0.1:443: connect: connection refused") is FaultKind.CRASH
    assert own_kind_of_text("dial tcp 10.0.0.1:443: connect: connection refused") is None
    assert own_kind_of_text("write /data/a: no space left on device") is FaultKind.DISK


def test_families_and_mechanisms_are_found_because_they_are_there() -> None:
    names = [family.name for family in families()]
    assert {"metrics", "logs", "trace_family", "cluster", "saturation", "trends", "expiry"} < set(names)
    assert names[-4:] == ["changes", "facts", "past_incidents", "shared_host"], (
        "what looks at the findings of others comes last"
    )
    assert len(mechanisms()) == len(set(mechanisms())) >= 5
