"""Whatever is typed, a command ends with a sentence and an exit code; never with a stack trace."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inquest import PayloadError, alerts_from_alertmanager
from typer.testing import CliRunner

from tests.conftest import RECORDINGS
from workers.cli import APP
from workers.installation import Installation

WORDS = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
VALUES = st.one_of(
    WORDS,
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["inf", "-1", "", " ", "7d", "30m", "0h", "99999999999d", "../..", "/proc/1/mem", "~", "-", "--", "%s"]
    ),
)
ARGUMENTS = st.one_of(
    st.tuples(st.just("list"), st.sampled_from(["--limit", "--service", "--since"]), VALUES),
    st.tuples(st.just("show"), VALUES),
    st.tuples(st.just("history"), VALUES),
    st.tuples(st.sampled_from(["settings", "--version", "--help"])),
    st.tuples(st.just("codec"), st.just("--port"), st.sampled_from(["0", "-1", "70000", "x", ""])),
    st.tuples(st.just("bundle"), st.just("import"), VALUES, st.just("--root"), VALUES, st.just("/proc/nowhere")),
    st.tuples(st.just("evidence"), VALUES, VALUES),
    st.tuples(st.just("investigate"), VALUES, st.sampled_from(["--seconds", "--probes", "--out"]), VALUES),
    st.tuples(st.just("bundle"), st.just("check"), VALUES),
    st.tuples(st.just("capture"), VALUES, st.just("--out"), st.just("/proc/nowhere")),
    st.tuples(st.just("eval"), st.sampled_from(["score", "compare", "report"]), VALUES, VALUES),
    st.lists(VALUES, max_size=3).map(tuple),
)


@given(arguments=ARGUMENTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_command_ends_in_a_stack_trace(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("INQUEST_DATA_DIR", str(installation.settings.data_dir))
    done = CliRunner().invoke(APP, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert "Traceback" not in done.output
    assert done.exit_code in (0, 1, 2)


@given(payload=st.one_of(st.binary(max_size=300), st.text(max_size=300), st.from_regex(r"\\{.{0,80}\\}")))
@settings(max_examples=150)
def test_no_payload_raises_anything_but_its_own_error(payload: bytes | str) -> None:
    with suppress(PayloadError):
        alerts_from_alertmanager(payload)


def test_recordings_are_good_bundles() -> None:
    for folder in sorted((RECORDINGS / "bundles").iterdir()):
        done = CliRunner().invoke(APP, ["bundle", "check", str(folder)])
        assert done.exit_code == 0, done.output
