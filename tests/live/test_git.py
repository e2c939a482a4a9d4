"""A real Git server over HTTP: what landed on a branch, for whom, with its differences, and no more than that."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from typer.testing import CliRunner

from activities.answers import COLUMNS
from activities.telemetry.backend import Answer, Spent, run_probe
from activities.telemetry.entities import Resolver, inventory_rows
from activities.telemetry.exceptions import QueryError
from activities.telemetry.git import KIND
from activities.telemetry.registry import Opening
from tests.live.git_server import GitServer, git_server
from workers.installation import Installation
from workers.topology_commands import GROUP
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe, Window
from workflows.contracts.topology import Edge, EdgeKind

NOW = datetime.now(UTC).replace(microsecond=0)
FLAGS: dict[str, Any] = {
    "flags": {
        "slowCart": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"},
        "newAds": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"},
    }
}
TURNED_ON = {"flags": {**FLAGS["flags"], "slowCart": {**FLAGS["flags"]["slowCart"], "defaultVariant": "on"}}}


class Author:
    """Commits to a repository, at moments of its choosing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, at: datetime = NOW, stdin: str | None = None) -> str:
        identity = {"NAME": "a", "EMAIL": "a@example.com", "DATE": at.isoformat()}
        environment = {f"GIT_{who}_{key}": value for who in ("AUTHOR", "COMMITTER") for key, value in identity.items()}
        command = ["git", "-C", str(self.folder), *arguments]
        environment |= {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, input=stdin)
        return done.stdout.strip()

    def commit(self, message: str, files: Mapping[str, str], hours_ago: float) -> str:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message, at=NOW - timedelta(hours=hours_ago))
        return self.git("rev-parse", "HEAD")


@dataclass
class Served:
    server: GitServer
    commits: dict[str, str]


@pytest.fixture(scope="module")
def served(need: Callable[..., None], folder: Path) -> Iterator[Served]:
    need("git")
    author = Author(folder)
    commits = {
        "long ago": author.commit(
            "Begin",
            {
                "services/cart/main.py": "limit = 10\n" * 50,
                "flags.json": json.dumps(FLAGS, indent=1),
                "big.bin": os.urandom(3_000_000).hex(),
            },
            hours_ago=24 * 40,
        ),
        "code": author.commit(
            "Raise the limit\n\nIt was too low.", {"services/cart/main.py": "limit = 99\n"}, hours_ago=30
        ),
        "flag": author.commit("Turn on slowCart", {"flags.json": json.dumps(TURNED_ON, indent=1)}, hours_ago=20),
    }
    author.git("checkout", "-q", "-b", "topic")
    author.commit("Half of it", {"deploy/payments-deployment.yaml": "replicas: 1\n"}, hours_ago=10)
    author.commit("The rest", {"services/ads/app.py": "x = 1\n", "docs/ads.md": "more\n"}, hours_ago=9)
    author.git("checkout", "-q", "main")
    author.git("merge", "-q", "--no-ff", "-m", "Merge topic", "topic", at=NOW - timedelta(hours=2))
    commits["merge"] = author.git("rev-parse", "HEAD")
    bare = folder / "served" / "shop.git"
    author.git("clone", "-q", "--bare", str(folder), str(bare))
    author.git("-C", str(bare), "config", "uploadpack.allowFilter", "true")
    plain = folder / "served" / "plain.git"
    author.git("clone", "-q", "--bare", str(folder), str(plain))
    author.git("init", "-q", "--bare", str(folder / "served" / "empty.git"))
    with git_server(folder / "served") as server:
        yield Served(server, commits)


def resolver() -> Resolver:
    names = ("cart", "ads", "payments")
    rows: pl.DataFrame = inventory_rows([({"service_name": name}, "", {}) for name in names])
    return Resolver({"prometheus": rows})


def asked(served: Served, repository: str = "shop.git", **config: object) -> tuple[Answer, Spent]:
    given = {"name": "g", "backend": "git", "url": f"{served.server.url}/{repository}", **config}
    backend = KIND.open(Opening(config=KIND.config.model_validate(given), resolver=resolver))
    window = Window(start=NOW - timedelta(days=14), end=NOW + timedelta(seconds=1))
    try:
        return run_probe(backend, ChangeProbe(backend="g", window=window)), backend.spent
    finally:
        backend.close()


def test_what_landed_is_there_once_for_each_service(served: Served) -> None:
    answer, spent = asked(served)
    assert answer.status is ObservationStatus.OK, answer.detail
    assert answer.rows is not None
    assert list(answer.rows.columns) == list(COLUMNS["changes"])
    found = {(row["kind"], row["target"], row["title"]): row for row in answer.rows.iter_rows(named=True)}
    assert set(found) == {
        ("commit", "service:cart", "Raise the limit"),
        ("commit", "", "Turn on slowCart"),
        ("flag", "", "flag slowCart: default variant off to on"),
        ("commit", "service:payments", "Merge topic"),
        ("commit", "service:ads", "Merge topic"),
    }, "the first-parent history, without what is older than the window"
    assert "+limit = 99" in found["commit", "service:cart", "Raise the limit"]["detail"]
    assert found["commit", "service:ads", "Merge topic"]["revision"] == served.commits["merge"]
    assert "docs/ads.md" in found["commit", "service:ads", "Merge topic"]["detail"]
    assert found["commit", "service:payments", "Merge topic"]["ts"] == NOW - timedelta(hours=2)
    assert spent.bytes_received < 100_000, "files that did not change are not fetched"
    assert not [line for line in served.server.asked if "receive-pack" in line]


def test_people_say_what_belongs_to_whom(served: Served) -> None:
    answer, _ = asked(served, target="service:shop", paths={"services/": "service:backend"})
    assert answer.rows is not None
    assert set(answer.rows["target"]) == {"service:shop", "service:backend"}
    answer, _ = asked(served, most_diffs=1)
    assert answer.rows is not None
    assert answer.rows.filter(pl.col("title") == "Raise the limit")["detail"].to_list() == ["its files were not read"]


def test_a_server_that_cannot_filter_sends_all_within_the_limits(served: Served) -> None:
    answer, spent = asked(served, "plain.git")
    assert answer.rows is not None
    assert answer.rows.height == 5
    assert spent.bytes_received > 1_000_000
    with pytest.raises(QueryError, match="larger than 1 MB"):
        asked(served, "plain.git", limits={"answer_megabytes": 1})


def test_what_somebody_committed_to_do_harm_is_survived(served: Served, folder: Path) -> None:
    """Folders within folders of equal folders, names that are no text, dates out of order, YAML that is a trap."""
    author = Author(folder / "evil")
    author.commit("Begin", {"a.py": "1\n"}, hours_ago=24 * 40)
    tree = author.git("write-tree")
    for _ in range(12):
        tree = author.git("mktree", stdin="".join(f"040000 tree {tree}\td{n}\n" for n in range(10)))
    parent = author.git("rev-parse", "HEAD")
    bomb = author.git("commit-tree", tree, "-p", parent, "-m", "A bomb", at=NOW - timedelta(hours=9))
    author.git("reset", "-q", "--hard", parent)
    author.git("update-ref", "refs/heads/main", bomb)
    author.git("read-tree", parent)
    author.commit("From long ago", {"a.py": "2\n"}, hours_ago=24 * 20)
    (author.folder / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    yaml_trap = "flags: {a: {state: !!timestamp x, variants: {y: 0x" + "F" * 6_000 + "}}}\n"
    author.commit("Odd\x01 names", {"flags.yaml": yaml_trap, "long.txt": "a\nb\n" * 60_000}, hours_ago=5)
    bare = folder / "served" / "evil.git"
    author.git("clone", "-q", "--bare", str(author.folder), str(bare))
    author.git("-C", str(bare), "config", "uploadpack.allowFilter", "true")
    answer, _ = asked(served, "evil.git")
    assert answer.rows is not None
    found = {row["title"]: row["detail"] for row in answer.rows.iter_rows(named=True) if row["kind"] == "commit"}
    assert set(found) == {"A bomb", "Odd names"}, "a date out of order hides no commit behind it"
    assert found["A bomb"] == "its files were not read"
    assert "x = 1" in found["Odd names"]


def test_what_is_not_there_is_said(served: Served) -> None:
    with pytest.raises(QueryError, match="there is no branch develop"):
        asked(served, branch="develop")
    with pytest.raises(QueryError, match="not found"):
        asked(served, "nothing.git")
    answer, _ = asked(served, "empty.git")
    assert answer.status is ObservationStatus.EMPTY


def test_changes_near_an_entity_are_asked_of_the_sources(
    served: Served, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = f"near-{uuid4().hex[:8]}"
    (tmp_path / f"{environment}.yaml").write_text(
        f"sources:\n  - {{name: {environment}, backend: git, url: '{served.server.url}/shop.git'}}\n"
        f"  - {{name: {environment}-away, backend: git, url: 'http://127.0.0.1:1/shop.git'}}\n"
    )
    monkeypatch.setenv("INQUEST_DATA_DIR", str(installation.settings.data_dir))
    monkeypatch.setenv("INQUEST_ENVIRONMENTS_DIR", str(tmp_path))
    called = Edge(source=EntityId("service:web"), target=EntityId("service:cart"), kind=EdgeKind.CALLS)
    installation.store.topology(installation.tenant).observe(environment, [], [called], at=NOW)
    asked = ["changes", "web", "--environment", environment, "--since", "3d"]
    done = CliRunner().invoke(GROUP, asked)
    assert done.exit_code == 0, done.output
    assert "service:cart  commit  Raise the limit" in done.stdout
    assert "service:ads" not in done.stdout, "nothing that web depends on"
    assert f"{environment}-away: " in done.stderr, "what has no answer is said"
