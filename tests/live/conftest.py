"""Live tests: real servers, each started by its fixture; what this machine lacks is skipped with the reason."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evals.lab.executables import server

REQUIRED = os.environ.get("REQUIRE_LIVE") == "1"


@pytest.fixture(scope="session")
def need() -> Callable[..., None]:
    """Skip the test, or fail it with REQUIRE_LIVE=1, where one of these servers is missing."""

    def needed(*names: str) -> None:
        missing = [name for name in names if server(name) is None]
        if missing:
            reason = f"no {', '.join(missing)} on this machine: python -m tests.live.build_servers {' '.join(missing)}"
            if REQUIRED:
                pytest.fail(reason)
            pytest.skip(reason)

    return needed


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a short path, for servers' data."""
    with tempfile.TemporaryDirectory(prefix="inquest-live-") as name:
        yield Path(name)
