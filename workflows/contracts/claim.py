"""Sentences of a report."""

from workflows.contracts.contract import Contract, OpenEnum
from workflows.contracts.identifiers import ClaimKey
from workflows.contracts.predicate import Predicate


class ClaimState(OpenEnum):
    VERIFIED = "verified"
    CONTRADICTED = "contradicted"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


class Claim(Contract):
    """A sentence with its predicate and evidence."""

    key: ClaimKey
    text: str
    findings: tuple[str, ...]
    """Keys of the findings it rests on."""

    predicate: Predicate
    state: ClaimState
    reason: str = ""
    """Why it is not verified; empty when it is."""
