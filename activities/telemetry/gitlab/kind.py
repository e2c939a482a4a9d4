"""What kind of source a project on GitLab is."""

from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.gitlab.api import GitlabApi
from activities.telemetry.gitlab.config import GitlabConfig
from activities.telemetry.http import SourceClient
from activities.telemetry.registry import BackendKind, Opening
from activities.telemetry.repository.hosted import HostedBackend


def _open(opening: Opening) -> TelemetryBackend:
    config = opening.config
    assert isinstance(config, GitlabConfig)
    return HostedBackend(opening, lambda client: GitlabApi(client, config))


def _check(opening: Opening) -> list[str]:
    assert isinstance(opening.config, GitlabConfig)
    client = SourceClient(opening.config)
    try:
        return [f"{opening.config.project}, default branch {GitlabApi(client, opening.config).default_branch()}"]
    finally:
        client.close()


KIND = BackendKind(
    name="gitlab",
    title="commits and deployments of a project on GitLab",
    modalities=frozenset(("changes",)),
    config=GitlabConfig,
    open=_open,
    check=_check,
    permissions=("a project access token of the role Reporter with the scope read_api",),
)
