"""Where the real servers are that a lab or a live test starts: in the user's cache, else on the PATH."""

import os
import shutil
from pathlib import Path

BUILDING = ".building-"
"""How the folder of a server begins that is being built."""

_DEBIAN_NAMES = {"alertmanager": "prometheus-alertmanager"}


def _cache_folder() -> Path:
    named = os.environ.get("INQUEST_TEST_SERVERS")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "inquest" / "servers"


CACHE = _cache_folder()
"""Read when this module is loaded: tests hide the user's folders from what they start."""


def server(name: str) -> Path | None:
    """The executable of that name: the newest in the cache, else one on PATH, else None."""
    built = [path for path in CACHE.glob(f"*/{name}") if not path.parent.name.startswith(BUILDING)]
    if built:
        return max(built, key=lambda path: path.stat().st_mtime)
    found = shutil.which(name) or shutil.which(_DEBIAN_NAMES.get(name, name))
    return Path(found) if found else None
