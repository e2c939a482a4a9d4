"""What people declare of an environment: services, their owners, tiers and dependencies, in one YAML file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from workflows.contracts.contract import Contract
from workflows.contracts.identifiers import EntityId, EntityName
from workflows.contracts.topology import Edge, EdgeKind, Entity, EntityKind

LARGEST = 16 * 1024 * 1024
MOST = 100_000
KINDS = frozenset(kind.value for kind in EntityKind if kind is not EntityKind.UNKNOWN)


class DeclarationError(ValueError):
    """A file that cannot be used; the message says where and why."""


class _Declared(Contract):
    """What is said of one entity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: str | None = None
    """A team, with or without `team:`."""

    tier: Annotated[int | None, Field(ge=0, le=9)] = None
    """How much depends on it: 0 is the most important."""

    calls: tuple[EntityName, ...] = ()
    runs_on: tuple[EntityName, ...] = ()
    part_of: tuple[EntityName, ...] = ()


_FILE: TypeAdapter[dict[EntityName, _Declared | None]] = TypeAdapter(dict[EntityName, _Declared | None])


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A whole environment as people see it."""

    entities: tuple[Entity, ...]
    edges: tuple[Edge, ...]
    tiers: dict[EntityId, int] = field(default_factory=dict)


def read_declaration(path: Path) -> Declaration:
    """Read a declaration: a mapping of entities, `kind:name` or the plain name of a service, to what is said of each.

    Raises:
        DeclarationError: it is too large, no such mapping, or names something that cannot be.
    """
    try:
        content = path.read_bytes()
        if len(content) > LARGEST:
            raise DeclarationError(f"{path} holds {len(content):,} bytes: split it, {LARGEST:,} are read")
        found = _FILE.validate_python(yaml.safe_load(content))
    except OSError as error:
        raise DeclarationError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DeclarationError(f"{path} is no YAML: {' '.join(str(error).split())[:300]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DeclarationError(f"{path}: {'.'.join(map(str, first['loc']))[:200]}: {first['msg']}") from error
    if len(found) > MOST:
        raise DeclarationError(f"{path} declares {len(found):,} entities: at most {MOST:,}")
    edges = tuple(edge for name, said in found.items() if said is not None for edge in _edges(_entity(name), said))
    named = {_entity(name) for name in found} | {edge.source for edge in edges} | {edge.target for edge in edges}
    return Declaration(
        entities=tuple(Entity(id=name, kind=_kind(name), name=name.partition(":")[2]) for name in sorted(named)),
        edges=edges,
        tiers={_entity(name): said.tier for name, said in found.items() if said is not None and said.tier is not None},
    )


def _edges(name: EntityId, said: _Declared) -> Iterator[Edge]:
    for kind, others in (
        (EdgeKind.CALLS, said.calls),
        (EdgeKind.RUNS_ON, said.runs_on),
        (EdgeKind.PART_OF, said.part_of),
    ):
        for other in others:
            yield Edge(source=name, target=_entity(other), kind=kind)
    if said.owner:
        team = said.owner if said.owner.startswith("team:") else f"team:{said.owner}"
        yield Edge(source=name, target=EntityId(team), kind=EdgeKind.OWNED_BY)


def _entity(name: str) -> EntityId:
    if ":" not in name:
        return EntityId(f"service:{name}")
    kind = name.partition(":")[0]
    if kind not in KINDS or not name.partition(":")[2]:
        raise DeclarationError(
            f"{name[:200]!r} is no entity: write kind:name, the kind one of {', '.join(sorted(KINDS))}"
        )
    return EntityId(name)


def _kind(name: EntityId) -> EntityKind:
    return EntityKind(name.partition(":")[0])
