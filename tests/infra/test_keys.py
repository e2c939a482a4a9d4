"""The files of the keys: made once, of their owner only."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.keys import KeyFileError, read_keys


def test_the_first_key_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read_keys(folder), range(16)))
    assert len({current for _, current in found}) == 1
    assert all(secrets == found[0][0] for secrets, _ in found)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.key")] == [0o600]


def test_a_later_file_is_the_current_key_and_the_earlier_stays(tmp_path: Path) -> None:
    first, current = read_keys(tmp_path)
    later = tmp_path / "9999-later.key"
    later.touch(mode=0o600)
    later.write_text("ab" * 32)
    secrets, now = read_keys(tmp_path)
    assert now == "9999-later"
    assert secrets[current] == first[current]


@pytest.mark.parametrize("content", ["", "xyz", "ab" * 8])
def test_a_damaged_key_is_an_error_that_helps(tmp_path: Path, content: str) -> None:
    read_keys(tmp_path)
    next(tmp_path.glob("*.key")).write_text(content)
    with pytest.raises(KeyFileError, match="restore it from a backup"):
        read_keys(tmp_path)


def test_a_key_that_others_may_read_is_an_error(tmp_path: Path) -> None:
    read_keys(tmp_path)
    next(tmp_path.glob("*.key")).chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_keys(tmp_path)
