"""What every source of commits is configured with."""

from typing import Annotated

from pydantic import Field, StringConstraints

from activities.telemetry.environment import HttpSourceConfig
from workflows.contracts.identifiers import EntityName

PathPrefix = Annotated[str, StringConstraints(min_length=1, max_length=1_024, pattern=r"^[^\x00-\x1f]+$")]
Branch = Annotated[str, StringConstraints(max_length=256, pattern=r"^([\w.+@-][\w./+@-]*)?$")]


class RepositoryConfig(HttpSourceConfig):
    """A repository whose commits are changes."""

    branch: Branch = ""
    """Whose history is read. Not set: the repository's default branch."""

    target: EntityName | None = None
    """What its commits change where no path says it, as in `service:checkout`. Not set: nothing that is known."""

    paths: Annotated[dict[PathPrefix, EntityName], Field(max_length=1_000, default_factory=dict)]
    """Entities by the beginning of a path, as in `src/pay/: service:payments`. Without one, folders and files that are
    called like a known service belong to it."""

    most_diffs: Annotated[int, Field(ge=0, le=1_000)] = 100
    """Commits, the latest first, that are read with their differences; of the others there is the title."""
