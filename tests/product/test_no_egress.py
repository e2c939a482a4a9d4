"""The main job runs in a network namespace that has nothing but a loopback interface: any leak is an error."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import own_data_dir, recorded
from workflows.contracts.report import Report

LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
    fcntl.ioctl(handle, 0x8914, struct.pack("16sH", b"lo", 0x1 | 0x40))
    try:
        handle.connect(("192.0.2.1", 53))
    except OSError:
        os.execv(sys.argv[1], sys.argv[1:])
sys.exit("there is a way out of this namespace")
"""


def unshare() -> list[str]:
    """The command that runs another in an empty network namespace and keeps the user."""
    found = shutil.which("unshare")
    if found is None:
        pytest.skip("unshare is not installed")
    command = [found, "-n"] if os.geteuid() == 0 else [found, "-cn", "--keep-caps"]
    if subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        if os.environ.get("REQUIRE_LIVE") == "1":
            pytest.fail("this machine does not allow network namespaces")
        pytest.skip("this machine does not allow network namespaces")
    return command


def test_an_investigation_needs_no_network() -> None:
    command = unshare()
    with own_data_dir() as folder:
        (folder / "locks.md").write_text("# Row locks\n\nTransactions wait for a lock of another one: end the oldest.")

        def inside(*words: str) -> subprocess.CompletedProcess[str]:
            inquest = str(Path(sys.executable).parent / "inquest")
            done = subprocess.run(
                [*command, sys.executable, "-c", LOOPBACK_UP, inquest, *words],
                env={**os.environ, "INQUEST_DATA_DIR": str(folder)},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            return done

        inside("knowledge", "add", str(folder / "locks.md"))
        done = inside("investigate", "--json", str(recorded("row_lock")))
    assert Report.model_validate_json(done.stdout).findings.verdict.entity == "database:shopdb"
