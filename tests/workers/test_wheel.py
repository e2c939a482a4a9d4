"""The wheel puts `inquest` into an environment and nothing else, and works from there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import PROJECT

LARGEST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the tree as it is, without an index."""
    out = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "-w", str(out)]
    build = [sys.executable, "-m", "pip", "wheel", *options, str(PROJECT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    return next(out.glob("*.whl"))


def test_it_installs_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"inquest"}
    assert wheel.stat().st_size < LARGEST_BYTES


def test_it_works_beside_packages_of_other_people(wheel: Path, tmp_path: Path) -> None:
    """Another project's top-level `evals` stays what it was, and the command runs from anywhere."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "evals").mkdir()
    (site / "evals" / "__init__.py").write_text("OURS = False\n")
    script = f"""
import sys
sys.path[:] = [{str(site)!r}] + [path for path in sys.path if path and path != {str(PROJECT)!r}
    and not path.startswith({str(PROJECT / "workers")!r})]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
import evals, inquest
assert evals.OURS is False
assert inquest.__file__.startswith({str(site)!r})
print(inquest.Inquest.__name__)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Inquest\n"
