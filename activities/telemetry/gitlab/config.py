"""How a project on GitLab is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from activities.telemetry.repository.config import RepositoryConfig


class GitlabConfig(RepositoryConfig):
    """A project on GitLab; the url is `https://HOST/api/v4`."""

    backend: Literal["gitlab"]
    project: Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+)*$", max_length=512)]
    """Its path with the groups, as in `acme/web/shop`, or its number."""

    environments: Annotated[tuple[Annotated[str, StringConstraints(max_length=255)], ...], Field(max_length=20)] = ()
    """GitLab's environments whose deployments count, as in `production`. Not set: all."""
