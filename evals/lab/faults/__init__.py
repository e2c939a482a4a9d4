"""The catalogue of faults, one file each. A fault is really done to the running shop."""

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


Fault = Callable[[Stage], Injected]


def catalogue() -> dict[str, Fault]:
    """Every fault by name: each module of this package has one function `inject`."""
    names = sorted(module.name for module in iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").inject for name in names}
