"""How a Git repository is configured as a source."""

from typing import Literal

from activities.telemetry.environment import Limits
from activities.telemetry.repository.config import RepositoryConfig


class GitConfig(RepositoryConfig):
    """A repository over HTTP or HTTPS, whoever serves it; the url is the one that `git clone` takes."""

    backend: Literal["git"]
    limits: Limits = Limits(answer_megabytes=32.0)
