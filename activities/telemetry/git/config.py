"""How a Git repository is configured as a source."""

from typing import Annotated, Literal

from pydantic import Field

from activities.telemetry.environment import Limits
from activities.telemetry.repository.config import RepositoryConfig


class GitLimits(Limits):
    """Packs are larger than other answers."""

    answer_megabytes: Annotated[float, Field(gt=0, le=1_024)] = 32.0
    total_megabytes: Annotated[float, Field(gt=0, le=10_240)] = 100.0


class GitConfig(RepositoryConfig):
    """A repository over HTTP or HTTPS, whoever serves it; the url is the one that `git clone` takes."""

    backend: Literal["git"]
    limits: GitLimits = GitLimits()
