"""What kind of source a repository on GitHub is."""

from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.github.api import GithubApi
from activities.telemetry.github.config import GithubConfig
from activities.telemetry.http import SourceClient
from activities.telemetry.registry import BackendKind, Opening
from activities.telemetry.repository.hosted import HostedBackend


def _open(opening: Opening) -> TelemetryBackend:
    config = opening.config
    assert isinstance(config, GithubConfig)
    return HostedBackend(opening, lambda client: GithubApi(client, config))


def _check(opening: Opening) -> list[str]:
    assert isinstance(opening.config, GithubConfig)
    client = SourceClient(opening.config)
    try:
        return [f"{opening.config.repository}, default branch {GithubApi(client, opening.config).default_branch()}"]
    finally:
        client.close()


KIND = BackendKind(
    name="github",
    title="commits and deployments of a repository on GitHub",
    modalities=frozenset(("changes",)),
    config=GithubConfig,
    open=_open,
    check=_check,
    permissions=("a fine-grained token for the one repository: Contents read, Deployments read, Metadata read",),
)
