"""Whose calls fail, by what a caller logs of them: an error that names one of its callees accuses that callee."""

import re

from activities.analysis.graph import Graph
from workflows.contracts.identifiers import EntityId

CALLING = frozenset(
    (
        *("call", "called", "calling", "calls", "connect", "connecting", "connection", "contact", "dial", "fetch"),
        *("fetching", "grpc", "http", "https", "invoke", "lookup", "query", "querying", "reach", "request"),
        *("requesting", "rpc", "tcp", "upstream", "unreachable"),
    )
)
"""Words of sentences about calls."""

_WORDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_ADDRESS = re.compile(r"(?://|@)([A-Za-z0-9][A-Za-z0-9_-]*)|([A-Za-z0-9][A-Za-z0-9_-]*)(?=:[0-9]{2,5}\b|/)")


def failing_callee(text: str, caller: EntityId, graph: Graph) -> EntityId | None:
    """The one callee of an entity that an error's text names; None where it names none, or several.

    A name that consists of several words (`payment-api`) is taken wherever it stands; a plain word (`payment`) where it
    stands in an address, or where the sentence is about a call.
    """
    names = _callees(caller, graph)
    if not names:
        return None
    words = {word.lower() for word in _WORDS.findall(text)}
    about_a_call = not CALLING.isdisjoint(words)
    addresses = {(first or second).lower() for first, second in _ADDRESS.findall(text)}
    found = {
        entity
        for name, entity in names.items()
        if name in addresses or (name in words and (about_a_call or not name.isalpha()))
    }
    return found.pop() if len(found) == 1 else None


def _callees(caller: EntityId, graph: Graph) -> dict[str, EntityId]:
    """The callees of an entity by their names, in small letters."""
    return {name.partition(":")[2].lower(): name for name in graph.called_by(caller) if graph.kinds.get(name) != "node"}
