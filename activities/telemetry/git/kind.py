"""What kind of source a Git repository is."""

from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.git.config import GitConfig
from activities.telemetry.registry import BackendKind, Opening


def _open(opening: Opening) -> TelemetryBackend:
    from activities.telemetry.git.backend import GitBackend  # noqa: PLC0415 - its library takes a quarter of a second

    return GitBackend(opening)


def _check(opening: Opening) -> list[str]:
    from activities.telemetry.git.backend import check  # noqa: PLC0415

    return check(opening)


KIND = BackendKind(
    name="git",
    title="commits of a Git repository, over HTTP",
    modalities=frozenset(("changes",)),
    config=GitConfig,
    open=_open,
    check=_check,
    permissions=("fetch (git-upload-pack) from the repository, and no push",),
)
