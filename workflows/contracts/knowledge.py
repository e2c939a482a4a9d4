"""What the organisation has written down: documents, and the passages of them that are found."""

from typing import Annotated

from pydantic import Field

from workflows.contracts.contract import Contract, Instant, OpenEnum
from workflows.contracts.identifiers import Digest, Tenant


class DocumentKind(OpenEnum):
    RUNBOOK = "runbook"
    """What to do when something happens."""

    POSTMORTEM = "postmortem"
    """What happened once, and why."""

    DESIGN = "design"
    """How something is built."""

    UNKNOWN = "unknown"


class Document(Contract):
    """One document of the library, in its newest version."""

    document_id: str
    source: str
    """The folder, file or address that it was added from; a refresh reads it again."""

    location: str
    """Where it lies: a path or an address, the same in every version."""

    title: str
    kind: DocumentKind = DocumentKind.RUNBOOK
    language: str = "en"
    """ISO 639-1, as recognised from its text."""

    services: tuple[str, ...] = ()
    """Services that it is about; none: about all."""

    valid_from: Instant | None = None
    valid_until: Instant | None = None
    """Outside of these moments it is not found."""

    version: Annotated[int, Field(ge=1)] = 1
    content_sha256: Digest
    """Of the document as it was read, before redaction."""

    chunks: int = 0
    added_at: Instant


class UpkeepInput(Contract):
    """Whose library is looked after."""

    tenant: Tenant


class RefreshResult(Contract):
    """What became of the sources of a library."""

    changed: int = 0
    """Documents that are new or have changed."""

    forgotten: int = 0
    unreadable: int = 0
    sources_away: int = 0
    """Sources that were not there; their documents stay."""


class EmbedResult(Contract):
    """How far the vectors are."""

    embedded: int = 0
    missing: int = 0
    """Vectors that are still to be computed, of all models."""


class Passage(Contract):
    """A piece of a document that was found."""

    chunk_id: int
    document_id: str
    location: str
    title: str
    heading: tuple[str, ...] = ()
    """Headings above it, outermost first."""

    text: str
    language: str = "en"
    score: float
    """Sum over the rankings that found it of 1 / (60 + rank) (reciprocal rank fusion, Cormack et al., SIGIR 2009)."""

    found_by: tuple[str, ...] = ()
    """Which rankings found it, with its rank in each, as `bm25:1`."""
