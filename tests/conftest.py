"""What many tests need: an embedded installation per process, the shipped recordings, a clean environment."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from infra.settings import Settings
from infra.stack import wait_until_stopped
from workers.installation import Installation, open_installation

PROJECT = Path(__file__).parents[1]
RECORDINGS = PROJECT / "evals" / "recordings"

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # a machine under load draws slowly: that says nothing about the code


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """No setting of the person who runs the tests leaks in."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("INQUEST_")}
    for name in kept:
        del os.environ[name]
    os.environ["XDG_CONFIG_HOME"] = "/nonexistent"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a third of each start of a command is compiling our own files
    with tempfile.TemporaryDirectory(prefix="inquest-cache-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        yield
    os.environ.update(kept)


@contextmanager
def own_data_dir() -> Iterator[Path]:
    """A data folder with a short path, gone afterwards together with whatever ran in it."""
    folder = Path(tempfile.mkdtemp(prefix="inquest-test-"))
    yield folder
    wait_until_stopped(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """The real embedded Temporal and Postgres, one pair per test process."""
    with own_data_dir() as folder, open_installation(Settings(data_dir=folder)) as opened:
        yield opened


def recorded(case: str) -> Path:
    """The shipped bundle of a lab fault, found through its truth (which only tests and evals may open)."""
    for path in sorted((RECORDINGS / "truths").glob("*.json")):
        truth = json.loads(path.read_text())
        if truth["case"] == case:
            return RECORDINGS / "bundles" / str(truth["bundle_id"])
    raise LookupError(f"no shipped recording of {case}")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of a shipped bundle that a test may damage."""
    return Path(shutil.copytree(recorded("bad_deploy"), tmp_path / "bundle"))
