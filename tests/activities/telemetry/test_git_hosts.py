"""GitHub and GitLab: commits of a branch, their differences, flags and deployments, as their documentation says.

Neither is to be had here: the answers have the shape of the examples in https://docs.github.com/rest and
https://docs.gitlab.com/api, with our own content.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.telemetry.backend import Answer, run_probe
from activities.telemetry.entities import Resolver, inventory_rows
from activities.telemetry.registry import Opening, backend_kinds
from activities.telemetry.repository.flags import flag_changes, may_hold_flags
from tests.faulty_server import Call, Reply, faulty_server, json_reply
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe, Window

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
PATCH = "@@ -1 +1 @@\n-limit = 10\n+limit = 99\n"
FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
BEFORE, AFTER = [{"flags": {"slowCart": {**FLAG, "defaultVariant": value}}} for value in ("off", "on")]
SHAS = {name: letter * 40 for name, letter in (("root", "0"), ("one", "a"), ("side", "b"), ("two", "c"))}


def ago(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def github_commit(name: str, message: str, hours: float, *parents: str) -> dict[str, Any]:
    return {
        "sha": SHAS[name],
        "html_url": f"https://git.example/acme/shop/commit/{SHAS[name]}",
        "commit": {"message": message, "committer": {"date": ago(hours)}},
        "parents": [{"sha": SHAS[parent]} for parent in parents],
    }


GITHUB: dict[str, Any] = {
    "": {"default_branch": "main"},
    "/commits": [
        github_commit("two", "Merge #7\n\nTurn on slowCart", 2, "one", "side"),
        github_commit("side", "Work on a branch", 3, "one"),
        github_commit("one", "Raise the limit", 30, "root"),
    ],
    f"/commits/{SHAS['two']}": {"files": [{"filename": "deploy/flags.json", "patch": '+ "defaultVariant": "on"'}]},
    f"/commits/{SHAS['one']}": {"files": [{"filename": "services/cart/main.py", "patch": PATCH}]},
    "/deployments": [
        {"id": 3, "sha": SHAS["two"], "environment": "production", "created_at": ago(1.5)},
        {"id": 2, "sha": SHAS["two"], "environment": "production", "created_at": ago(1.8)},
        {"id": 1, "sha": SHAS["root"], "environment": "production", "created_at": ago(40)},
    ],
    "/deployments/3/statuses": [{"state": "success", "created_at": ago(1)}, {"state": "pending"}],
    "/deployments/2/statuses": [{"state": "failure", "created_at": ago(1.7)}],
    "/deployments/1/statuses": [{"state": "success", "created_at": ago(39)}],
}
GITLAB: dict[str, Any] = {
    "": {"default_branch": "main"},
    "/repository/commits": [
        {"id": SHAS["two"], "message": "Merge !7", "committed_date": ago(2), "parent_ids": [SHAS["one"]]},
        {"id": SHAS["one"], "message": "Raise the limit", "committed_date": ago(30), "parent_ids": [SHAS["root"]]},
    ],
    f"/repository/commits/{SHAS['two']}/diff": [
        {"old_path": "flags.json", "new_path": "deploy/flags.json", "diff": '+ "defaultVariant": "on"'}
    ],
    f"/repository/commits/{SHAS['one']}/diff": [
        {"old_path": "services/cart/main.py", "new_path": "services/cart/main.py", "diff": PATCH}
    ],
    "/deployments": [
        {
            "id": 3,
            "sha": SHAS["two"],
            "environment": {"name": "production"},
            "updated_at": ago(0.5),
            "deployable": {"finished_at": ago(1), "web_url": "https://git.example/-/jobs/3"},
        },
        {"id": 1, "sha": SHAS["root"], "environment": {"name": "production"}, "updated_at": ago(39)},
    ],
}
HOSTS: dict[str, tuple[str, dict[str, Any], dict[str, object]]] = {
    "github": ("/repos/acme/shop", GITHUB, {"repository": "acme/shop"}),
    "gitlab": ("/projects/acme%2Fshop", GITLAB, {"project": "acme/shop"}),
}


def flag_file(path: str, revision: str) -> Reply | None:
    """Both APIs give a file as it was at a commit."""
    if not path.endswith(("flags.json", "flags.json/raw")):
        return None
    return Reply(body=json.dumps(AFTER if revision == SHAS["two"] else BEFORE).encode())


def handler(host: str, **replaced: Reply) -> Callable[[Call], Reply]:
    base, answers, _ = HOSTS[host]

    def handle(call: Call) -> Reply:
        path = call.path.removeprefix(base)
        if path.lstrip("/") in replaced:
            return replaced[path.lstrip("/")]
        return flag_file(path, call.parameters.get("ref", "")) or (
            json_reply(answers[path], packed=True) if path in answers else Reply(404, b"Not Found")
        )

    return handle


def asked(host: str, url: str, **config: object) -> Answer:
    kind = backend_kinds()[host]
    limits = {"per_second": 1_000}
    given = {"name": "h", "backend": host, "url": url, "limits": limits, **HOSTS[host][2], **config}
    names = inventory_rows([({"service_name": "cart"}, "", {})])
    opened = kind.open(
        Opening(config=kind.config.model_validate(given), resolver=lambda: Resolver({"prometheus": names}))
    )
    try:
        return run_probe(opened, ChangeProbe(backend="h", window=Window(start=NOW - timedelta(days=14), end=NOW)))
    finally:
        opened.close()


@pytest.mark.parametrize("host", HOSTS)
def test_commits_flags_and_deployments_are_changes(host: str) -> None:
    with faulty_server(handler(host)) as server:
        answer = asked(host, server.url)
        assert {call.method for call in server.calls} == {"GET"}
    assert answer.status is ObservationStatus.OK, answer.detail
    assert answer.rows is not None
    found = {(row["kind"], row["target"], row["title"]): row for row in answer.rows.iter_rows(named=True)}
    merge = "Merge #7" if host == "github" else "Merge !7"
    delivered = f"Deployment of {SHAS['two'][:12]} to production"
    assert set(found) == {
        ("commit", "", merge),
        ("flag", "", "flag slowCart: default variant off to on"),
        ("commit", "service:cart", "Raise the limit"),
        ("deploy", "service:cart", delivered),
        ("deploy", "", delivered),
        ("deploy", "", f"Deployment of {SHAS['root'][:12]} to production"),
    }, "no failed deployment, no commit of a side branch"
    assert "+limit = 99" in found["commit", "service:cart", "Raise the limit"]["detail"]
    deployment = found["deploy", "service:cart", delivered]
    assert deployment["ts"] == NOW - timedelta(hours=1), "when it was done, not when it was begun"
    assert "Raise the limit" in deployment["detail"]
    assert deployment["revision"] == SHAS["two"]


@pytest.mark.parametrize("host", HOSTS)
def test_deployments_that_may_not_be_read_cost_only_themselves(host: str) -> None:
    with faulty_server(handler(host, deployments=Reply(403, b"Resource not accessible"))) as server:
        answer = asked(host, server.url)
    assert answer.status is ObservationStatus.TRUNCATED
    assert "deployments could not be read: forbidden (HTTP 403): Resource not accessible" in answer.detail
    assert answer.rows is not None
    assert set(answer.rows["kind"]) == {"commit", "flag"}


@pytest.mark.parametrize("host", HOSTS)
def test_only_so_many_differences_are_read(host: str) -> None:
    with faulty_server(handler(host)) as server:
        answer = asked(host, server.url, most_diffs=0, target="service:shop")
        assert not [call for call in server.calls if SHAS["one"] in call.path]
    assert answer.rows is not None
    assert set(answer.rows["target"]) == {"service:shop"}


def test_what_became_of_a_flag() -> None:
    def of(before: object, after: object) -> list[str]:
        texts = [None if item is None else json.dumps(item) for item in (before, after)]
        return [sentence for _, sentence in flag_changes(*texts)]

    assert of(BEFORE, BEFORE) == []
    assert of(BEFORE, AFTER) == ["flag slowCart: default variant off to on"]
    disabled = {"flags": {"slowCart": {**FLAG, "state": "DISABLED", "targeting": {"if": []}}}}
    assert of(BEFORE, disabled) == ["flag slowCart: state ENABLED to DISABLED; targeting changed"]
    assert of(None, AFTER) == ["flag slowCart was added, ENABLED with default variant on"]
    assert of(AFTER, None) == ["flag slowCart was removed, it was ENABLED with default variant on"]
    assert of({"flags": ["a"]}, {"flags": {"a": 1}}) == []


def test_yaml_of_flags_is_read_and_its_aliases_are_not() -> None:
    text = "flags:\n  a: {state: ENABLED, variants: {x: 1, y: 2}, defaultVariant: %s}\n"
    assert list(flag_changes(text % "x", text % "y")) == [("a", "flag a: default variant x to y")]
    bomb = "a: &a [x]\nb: &b [*a, *a]\nflags:\n  c: {variants: *b}\n"
    assert list(flag_changes(None, bomb)) == []
    assert list(flag_changes("{", "flags: {")) == []
    assert may_hold_flags("config/demo.flagd.json", "")
    assert not may_hold_flags("src/flags.py", "ENABLED")
