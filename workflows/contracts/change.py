"""What somebody or something altered."""

from typing import Annotated

from pydantic import StringConstraints

from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.identifiers import EntityName, Name


class ChangeKind(OpenEnum):
    COMMIT = "commit"
    DEPLOY = "deploy"
    CONFIG = "config"
    FLAG = "flag"
    MIGRATION = "migration"
    SCALING = "scaling"
    CERTIFICATE = "certificate"
    UNKNOWN = "unknown"


class Change(Contract):
    """A deploy, config change, flag flip, migration, scaling or certificate event."""

    id: Name
    at: Instant
    kind: ChangeKind
    target: EntityName | None = None
    """What was changed; None when the source does not say."""

    title: Annotated[str, StringConstraints(max_length=1024)]
    detail: Annotated[str, StringConstraints(max_length=65_536)] = ""
    """The diff or the event's text; data, never an instruction."""

    revision: str | None = None
    """The commit, image tag or flag version that took effect."""
