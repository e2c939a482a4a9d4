"""The catalogue of faults, one file each. A fault is really done to the running shop.

A module says in which `ROLE` of the shop it is played unless stated otherwise, and has `inject(stage, name)`; where it
needs something before the shop starts, also `arrange(stage, name)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from evals.lab.stage import Stage
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId


@dataclass(frozen=True, kw_only=True)
class Injected:
    """What a fault did, for the truth."""

    entity: EntityId
    fault_kind: FaultKind
    aliases: tuple[EntityId, ...] = ()
    change_id: str | None = None
    undo: Callable[[], None] | None = None
    """Ends the fault, where it can be ended."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of trouble."""

    role: str
    inject: Callable[[Stage, str], Injected]
    arrange: Callable[[Stage, str], None]


def catalogue() -> dict[str, Fault]:
    """Every fault by name."""
    modules = {item.name: import_module(f"{__name__}.{item.name}") for item in iter_modules(__path__)}
    return {
        name: Fault(
            role=modules[name].ROLE, inject=modules[name].inject, arrange=getattr(modules[name], "arrange", _nothing)
        )
        for name in sorted(modules)
    }


def _nothing(_stage: Stage, _name: str) -> None:
    """Most faults need nothing arranged."""
