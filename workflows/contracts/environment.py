"""One running system under watch, as far as others than its own sources need to know it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from workflows.contracts.contract import Contract
from workflows.contracts.identifiers import EntityName, Name
from workflows.contracts.probe import Modality

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=256)]

MOST_SOURCES = 32


class SourceRef(Contract):
    """One source of an environment and what it can be queried for."""

    name: SourceName
    """Of the source; it is queried on the task queue `telemetry-<name>`."""

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1, max_length=8)]

    @property
    def knows_names(self) -> bool:
        """Whether it is queried for what exists; a source of changes alone is not."""
        return set(self.modalities) != {"changes"}


class EntityMapping(Contract):
    """A person's word on who is who: whatever carries these labels is that entity."""

    entity: EntityName
    labels: Annotated[dict[LabelKey, Name], Field(min_length=1, max_length=16)]
    """Label values as the sources have them; all must be equal."""
