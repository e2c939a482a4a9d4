"""Queries that a command puts to the sources of an environment, outside of any investigation."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache

import polars as pl

from activities.telemetry.backend import TelemetryBackend, run_probe
from activities.telemetry.entities import Resolver, inventory_rows
from activities.telemetry.environment import Environment, SourceConfig
from activities.telemetry.exceptions import BackendUnavailableError, QueryError, SourceRefusedError
from activities.telemetry.plan import inventory_probe
from activities.telemetry.registry import Opening, backend_kinds, modalities
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe, Probe, Window
from workflows.contracts.topology import EntityKind

REMEMBERED = "@remembered"
"""The source of names that no source was asked for; not a name that a source may have."""

Answered = tuple[str, pl.DataFrame]
"""A source's name, and the rows that it answered."""


def resolver_of(environment: Environment, known: Iterable[EntityId] = ()) -> tuple[Resolver, list[str]]:
    """Who is who now, and which sources did not say.

    Args:
        environment: whose sources are queried.
        known: services that are known without them.
    """
    probes = {source.name: inventory_probe(source.name, datetime.now(UTC)) for source in environment.sources}
    found, problems = _queried(environment, probes, lambda: Resolver({}))
    names = [entity.partition(":")[2] for entity in known if entity.startswith(f"{EntityKind.SERVICE.value}:")]
    remembered = inventory_rows([({"service_name": name}, "", {}) for name in names])
    return Resolver({**dict(found), REMEMBERED: remembered}, environment.mappings), problems


def changes_of(environment: Environment, window: Window, known: Iterable[EntityId]) -> tuple[list[Answered], list[str]]:
    """What every source of changes says of a window, by the names that are known, and which did not answer."""
    resolver, problems = resolver_of(environment, known)
    having = {ref.name for ref in environment.refs(modalities()) if "changes" in ref.modalities}
    probes = {name: ChangeProbe(backend=name, window=window) for name in having}
    found, further = _queried(environment, probes, lambda: resolver)
    return found, list(dict.fromkeys([*problems, *further]))


def _queried(
    environment: Environment, probes: Mapping[str, Probe], resolver: Callable[[], Resolver]
) -> tuple[list[Answered], list[str]]:
    found: list[Answered] = []
    problems = []
    for source in environment.sources:
        probe = probes.get(source.name)
        if probe is None:
            continue
        try:
            with _opened(source, resolver) as backend:
                answer = run_probe(backend, probe)
        except (BackendUnavailableError, QueryError, SourceRefusedError) as error:
            problems.append(f"{source.name}: {error}")
            continue
        if answer.rows is not None:
            found.append((source.name, answer.rows))
        if answer.status not in (ObservationStatus.OK, ObservationStatus.EMPTY):
            problems.append(f"{source.name}: {answer.status.value} {answer.detail}")
    return found, problems


@contextmanager
def _opened(source: SourceConfig, resolver: Callable[[], Resolver]) -> Iterator[TelemetryBackend]:
    backend = backend_kinds()[source.backend].open(Opening(config=source, resolver=cache(resolver)))
    try:
        yield backend
    finally:
        backend.close()
