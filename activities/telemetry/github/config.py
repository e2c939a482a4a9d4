"""How a repository on GitHub is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from activities.telemetry.repository.config import RepositoryConfig


class GithubConfig(RepositoryConfig):
    """A repository on GitHub; the url is `https://api.github.com`, or `https://HOST/api/v3` of one's own server."""

    backend: Literal["github"]
    repository: Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,100}/[\w.-]{1,100}$")]
    """Owner and name, as in `acme/shop`."""

    environments: Annotated[tuple[Annotated[str, StringConstraints(max_length=255)], ...], Field(max_length=20)] = ()
    """GitHub's environments whose deployments count, as in `production`. Not set: all."""
