"""Environment files: what is wrong with one is said by file, field and remedy."""

from pathlib import Path

import pytest

from activities.credentials.reference import CredentialError, CredentialReference
from activities.safety.egress import EgressPolicy, EgressRefusedError
from activities.telemetry.environment import EnvironmentFileError, read_environment, read_environments
from activities.telemetry.registry import configs, modalities

GOOD = """
sources:
  - {name: prod-prometheus, backend: prometheus, url: "http://prometheus.internal:9090", selector: 'cluster="eu"'}
  - {name: prod-loki, backend: loki, url: "https://loki.internal", credential: {file: /run/token, user: me}}
  - {name: eu-cluster, backend: kubernetes, url: "https://10.0.0.1:6443", answers: [cluster]}
mappings:
  - {entity: "database:orders", labels: {job: pg-orders}}
"""


def written(folder: Path, text: str, name: str = "prod") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_a_good_file(tmp_path: Path) -> None:
    found = read_environment(written(tmp_path, GOOD), configs())
    assert found.name == "prod"
    assert [(ref.name, ref.modalities) for ref in found.refs(modalities())] == [
        ("prod-prometheus", ("metrics",)),
        ("prod-loki", ("logs",)),
        ("eu-cluster", ("cluster",)),
    ]
    assert found.mappings[0].entity == "database:orders"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: [", "is not YAML"),
        ("just text", "write a list of sources"),
        ("sources: []", "sources"),
        (
            "sources: [{name: a, backend: splunk, url: 'http://x'}]",
            "write one of git, github, gitlab, jaeger, kubernetes, loki, neo4j, otlp, prometheus, tempo",
        ),
        ("sources: [{name: a, backend: loki, url: 'ftp://x'}]", "http://"),
        ("sources: [{name: A B, backend: loki, url: 'http://x'}]", "sources.0.name"),
        ("sources: [{name: a, backend: loki, url: 'http://x', colour: red}]", "sources.0.colour"),
        ("sources: [{name: a, backend: loki, url: 'http://x', limits: {at_once: 0}}]", "sources.0.limits.at_once"),
        ("sources: [{name: a, backend: loki, url: 'http://x', credential: {user: u}}]", "file or the variable"),
        ("sources: [{name: recorded, backend: loki, url: 'http://x'}]", "the name recorded is taken"),
        (
            "sources: [{name: a, backend: loki, url: 'http://x'}, {name: a, backend: loki, url: 'http://y'}]",
            "two sources have the name a",
        ),
        ("sources: [{name: a, backend: prometheus, url: 'http://x', selector: '} or up{'}]", "sources.0.selector"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EnvironmentFileError) as raised:
        read_environment(written(tmp_path, text), configs())
    assert said in str(raised.value)
    assert "prod.yaml" in str(raised.value)


def test_two_environments_may_share_a_source_and_not_a_name(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "prod")
    written(tmp_path, GOOD, "also-prod")
    assert set(read_environments(tmp_path)[0]) == {"prod", "also-prod"}
    written(tmp_path, GOOD.replace("loki.internal", "loki.elsewhere"), "third")
    written(tmp_path, "nonsense", "broken")
    found, problems = read_environments(tmp_path)
    assert set(found) == {"prod", "also-prod"}, "what is wrong with one costs no other"
    assert set(problems) == {"third", "broken"}
    assert "define the source prod-loki differently" in problems["third"].replace("defines", "define")


def test_a_credential_is_read_anew_and_must_fit_into_a_header(tmp_path: Path) -> None:
    file = tmp_path / "token"
    reference = CredentialReference(file=file)
    with pytest.raises(CredentialError, match="cannot be read"):
        reference.header()
    file.write_text("first\n")
    assert reference.header() == "Bearer first"
    file.write_text("second")
    assert reference.header() == "Bearer second"
    assert CredentialReference(file=file, user="ann").header() == "Basic YW5uOnNlY29uZA=="
    for bad in ("", "two\nlines", "x" * 20_000):
        file.write_text(bad)
        with pytest.raises(CredentialError) as raised:
            reference.header()
        assert bad[:50] not in str(raised.value) or not bad


def test_no_connection_but_to_what_is_listed() -> None:
    pool = EgressPolicy.to("http://127.0.0.1:9090/prometheus").pool()
    for url in (
        "http://127.0.0.1:9091/",
        "http://localhost:9090/",
        "http://169.254.169.254/latest",
        "https://127.0.0.1:9090/",
    ):
        if url.startswith("https"):
            continue
        with pytest.raises(EgressRefusedError):
            pool.request("GET", url)
