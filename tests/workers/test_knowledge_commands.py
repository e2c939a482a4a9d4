"""`inquest knowledge` as a person uses it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.settings import Settings
from tests.conftest import own_data_dir
from workers.installation import open_installation
from workers.knowledge_commands import GROUP


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    with own_data_dir() as data_dir:
        monkeypatch.setenv("INQUEST_DATA_DIR", str(data_dir))
        runbooks = tmp_path / "runbooks"
        runbooks.mkdir()
        (runbooks / "DiskFull.md").write_text("# DiskFull\n\n## Mitigation\n\nRemove old files from the volume.")
        (runbooks / "Queue.html").write_text("<h1>Queue</h1><p>Add consumers when it grows.</p>")
        (runbooks / "broken.pdf").write_bytes(b"nothing")
        with open_installation(Settings()):  # one pair of servers for all commands
            yield runbooks


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(GROUP, [str(word) for word in words])


def test_from_a_folder_to_a_passage_and_away(folder: Path) -> None:
    added = command("add", folder, "--service", "storage")
    assert added.exit_code == 1, "one of them could not be read"
    assert "2 added, 1 could not be read" in added.stdout
    assert "2 chunks wait for further vectors" in added.stdout
    other = folder.parent / "z-other"
    other.mkdir()
    (other / "Cache.md").write_text("# Cache\n\nWarm it.")
    assert command("add", other).exit_code == 0
    refreshed = command("refresh")
    assert refreshed.exit_code == 1
    assert "2 unchanged, 1 could not be read" in refreshed.stdout
    assert refreshed.stdout.count("unchanged") == 2, "a source with a broken file keeps no other from its turn"
    (other / "Cache.md").unlink()
    assert "Its documents stay" in " ".join(command("refresh").stderr.split())
    assert "1 forgotten" in command("forget", other).stdout
    (folder / "broken.pdf").unlink()
    assert "2 unchanged" in command("refresh").stdout
    assert "2 chunks embedded" in command("embed").stdout
    listed = [json.loads(line) for line in command("list", "--json").stdout.splitlines()]
    assert [(item["title"], item["services"]) for item in listed] == [("DiskFull", ["storage"]), ("Queue", ["storage"])]
    [found] = command("search", "DiskFull", "--limit", "1", "--json").stdout.splitlines()
    assert json.loads(found)["found_by"][0] == "name"
    assert "Queue" in command("search", "consumers are too few", "--service", "storage").stdout
    assert "nothing was found" in command("search", "consumers", "--service", "other", "--kind", "design").stdout
    assert "Remove old files" in command("show", folder / "DiskFull.md").stdout
    (folder / "Queue.html").unlink()
    assert "1 unchanged, 1 forgotten" in command("refresh").stdout
    assert "1 forgotten" in command("forget", folder).stdout
    assert command("list", "--json").stdout == ""
    assert command("forget", folder).exit_code == 2
    assert command("show", "nowhere").exit_code == 2
    assert command("add", folder, "--kind", "novel").exit_code == 2
    assert "holds no document" in command("add", folder / "nowhere").stderr
