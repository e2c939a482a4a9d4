"""The files of the installation's keys: made once, read by their owner only."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

SIZE = 32
"""Random bytes of one key."""

SUFFIX = ".key"
FIRST = "0001"
"""Id of the key that is made."""


class KeyFileError(RuntimeError):
    """The keys cannot be used; the message says what to do."""


def read_keys(folder: Path) -> tuple[dict[str, bytes], str]:
    """The keys of a folder by id, and the id of the current one: the last by name. Makes the first key.

    A key is rotated by adding a file with a later name; the earlier ones stay as long as anything was made with them.

    Raises:
        KeyFileError: a key is damaged, or others than its owner may read it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not any(folder.glob(f"*{SUFFIX}")):
            _make(folder)
        found = {path.stem: _read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}
    except OSError as error:
        raise KeyFileError(f"the keys in {folder} cannot be read: {error.strerror}; see INQUEST_KEYS_DIR") from error
    return found, max(found)


def _make(folder: Path) -> None:
    """One key, whole or not at all; of two processes that make the first one, one wins."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".making-") as file:
        file.write(secrets.token_hex(SIZE).encode())
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, folder / f"{FIRST}{SUFFIX}")


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise KeyFileError(f"others may read the key {path}: chmod 600 it, and make a new one if that is unexpected")
    try:
        found = bytes.fromhex(path.read_text().strip())
    except ValueError:
        found = b""
    if len(found) < SIZE:
        raise KeyFileError(f"the key {path} is damaged: restore it from a backup; what it encrypted needs it")
    return found
