"""`inquest topology`: what depends on what in an environment, as it is and as it was."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from pydantic import ValidationError
from rich.text import Text

from activities.credentials.reference import CredentialReference
from activities.topology.declaration import DeclarationError, read_declaration
from activities.topology.dependencies import Reached
from activities.topology.record import TopologyRecord
from workers.installation import Installation, open_installation
from workers.invocation import ERR, OUT, handle_known_errors, read_settings, zoned
from workers.rendering.listing import span_of
from workers.rendering.plain_text import one_line
from workers.source_queries import changes_of
from workflows.contracts.identifiers import EntityId
from workflows.contracts.probe import Window

GROUP = typer.Typer(
    help="What depends on what: declare, show, dependents, dependencies, common, owners, changes, sync.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
CHANGES_SHOWN = 1_000
SHOWN = 200
Where = Annotated[str, typer.Option("--environment", help="The running system.")]
At = Annotated[datetime | None, typer.Option(help="As it was known then; now if left out.")]
Hops = Annotated[int, typer.Option(min=1, max=10, help="Edges to follow at most.")]
One = Annotated[str, typer.Argument(help="kind:name, or the name of a service.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document a line.")]


@GROUP.command()
@handle_known_errors
def declare(
    file: Annotated[Path, typer.Argument(help="YAML: entities with owner, tier, calls, runs_on, part_of.")],
    environment: Where,
) -> None:
    """Say what exists and depends on what; what an earlier file said and this one does not has ended."""
    try:
        declared = read_declaration(file)
    except DeclarationError as error:
        raise typer.BadParameter(str(error)) from error
    with _record() as (_, record):
        record.declare(environment, declared, at=datetime.now(UTC))
    OUT.print(f"{len(declared.entities)} entities, {len(declared.edges)} edges")


@GROUP.command()
@handle_known_errors
def show(entity: One, environment: Where, *, at: At = None, as_json: AsJson = False) -> None:
    """Every edge from and to an entity, with where it is known from and how far it is believed."""
    name, moment = _entity(entity), _moment(at)
    with _record() as (_, record):
        edges = sorted(
            record.edges_of(environment, [name], at=moment), key=lambda item: (item.kind, item.source, item.target)
        )
        tier = record.tier_of(environment, name, at=moment)
    if tier is not None and not as_json:
        OUT.print(Text(f"{one_line(name)} is of tier {tier}"))
    for item in edges:
        if as_json:
            values = {"source": item.source, "kind": item.kind.value, "target": item.target, "origin": item.origin}
            print(json.dumps({**values, "confidence": item.confidence, "last_seen": item.last_seen.isoformat()}))
        else:
            said = f"{one_line(item.source)} {item.kind.value.replace('_', ' ')} {one_line(item.target)}"
            OUT.print(Text.assemble(said, (f"  {item.origin}, {item.confidence:.0%}", "dim")))
    _say_if_nothing(edges, name)


@GROUP.command()
@handle_known_errors
def dependents(entity: One, environment: Where, *, hops: Hops = 3, at: At = None, as_json: AsJson = False) -> None:
    """What feels a fault of an entity: its blast radius, with the path to each."""
    with _record() as (_, record):
        found = record.dependents(environment, _entity(entity), at=_moment(at), hops=hops)
    _print(found, _entity(entity), as_json=as_json)


@GROUP.command()
@handle_known_errors
def dependencies(entity: One, environment: Where, *, hops: Hops = 3, at: At = None, as_json: AsJson = False) -> None:
    """What can be the cause of a fault that an entity feels, with the path to each."""
    with _record() as (_, record):
        found = record.dependencies(environment, _entity(entity), at=_moment(at), hops=hops)
    _print(found, _entity(entity), as_json=as_json)


@GROUP.command()
@handle_known_errors
def common(
    entities: Annotated[list[str], typer.Argument(help="What alerts, two or more.")],
    environment: Where,
    *,
    hops: Hops = 3,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """What all of these depend on, or are."""
    names = [_entity(item) for item in entities]
    with _record() as (_, record):
        found = record.common_causes(environment, names, at=_moment(at), hops=hops)
    _print(found, names[0], as_json=as_json)


@GROUP.command()
@handle_known_errors
def owners(entity: One, environment: Where, *, hops: Hops = 1, at: At = None) -> None:
    """Who owns an entity, and who owns what feels its faults."""
    name, moment = _entity(entity), _moment(at)
    with _record() as (_, record):
        felt = [item.entity for item in record.dependents(environment, name, at=moment, hops=hops)]
        found = record.owners(environment, [name, *felt], at=moment)
    for owned, teams in found.items():
        OUT.print(Text(f"{one_line(owned)}  {', '.join(one_line(team) for team in teams)}"))
    _say_if_nothing(found, name)


@GROUP.command()
@handle_known_errors
def changes(
    entity: One,
    environment: Where,
    *,
    hops: Hops = 2,
    since: Annotated[str, typer.Option(help="How far back: 30m, 2h, 7d.")] = "2h",
    at: At = None,
) -> None:
    """Changes of an entity and of what it depends on, before a moment: announced ones, and what the sources say."""
    name, moment = _entity(entity), _moment(at)
    window = Window(start=moment - span_of(since), end=moment)
    with _record() as (installation, record):
        near = {item.entity for item in record.dependencies(environment, name, at=moment, hops=hops)} | {name}
        announced = installation.store.announced_changes(installation.tenant).within(
            window, environment=environment, limit=CHANGES_SHOWN
        )
        watched = installation.environments().get(environment)
    found = {(item.at, item.target or "", item.kind.value, item.title) for item in announced if item.target in near}
    answers, problems = ([], []) if watched is None else changes_of(watched, window, near)
    for _, rows in answers:
        inside = rows.filter(pl.col("target").is_in(sorted(near)))
        found |= set(inside.select("ts", "target", "kind", "title").iter_rows())
    for ts, target, kind, title in sorted(found, reverse=True)[:CHANGES_SHOWN]:
        OUT.print(Text(f"{ts:%Y-%m-%d %H:%M:%S}  {one_line(target)}  {kind}  {one_line(title)}"))
    for problem in problems:
        ERR.print(Text(one_line(problem, 500), style="yellow"))
    _say_if_nothing(found, name)


@GROUP.command()
@handle_known_errors
def sync(
    environment: Where,
    *,
    to: Annotated[str, typer.Option(help="bolt://host:port, or with TLS bolt+s://host:port.")],
    user: Annotated[str | None, typer.Option(help="Who signs in there.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File that holds the password.")] = None,
    password_variable: Annotated[str | None, typer.Option(help="Environment variable that holds it.")] = None,
    database: Annotated[str | None, typer.Option(help="The server's default if left out.")] = None,
    trusted: Annotated[Path | None, typer.Option(help="PEM file of who may sign its certificate.")] = None,
) -> None:
    """Make the copy of an environment on a Neo4j equal to the record; a second run writes what has changed since."""
    from activities.topology.graph_server import GraphAddress, GraphServer  # noqa: PLC0415 - its library is slow
    from activities.topology.mirror import mirror  # noqa: PLC0415

    credential = None
    if password_file is not None or password_variable is not None:
        try:
            credential = CredentialReference(file=password_file, variable=password_variable, user=user)
        except ValidationError as error:
            raise typer.BadParameter(error.errors()[0]["msg"]) from error
    with (
        closing(GraphServer(GraphAddress(url=to, credential=credential, database=database, trusted=trusted))) as server,
        _record() as (_, record),
    ):
        done = mirror(record, environment, server)
    OUT.print(
        f"{done.entities:,} entities, {done.edges:,} edges: {done.written:,} written, {done.removed:,} removed there"
    )


@contextmanager
def _record() -> Iterator[tuple[Installation, TopologyRecord]]:
    with open_installation(read_settings()) as installation:
        yield installation, installation.store.topology(installation.tenant)


def _entity(given: str) -> EntityId:
    return EntityId(given if ":" in given else f"service:{given}")


def _moment(at: datetime | None) -> datetime:
    return zoned(at) or datetime.now(UTC)


def _print(found: Sequence[Reached], name: EntityId, *, as_json: bool) -> None:
    for item in found if as_json else found[:SHOWN]:
        if as_json:
            print(json.dumps({"entity": item.entity, "confidence": item.confidence, "path": item.path}))
        else:
            path = " > ".join(one_line(part) for part in item.path)
            OUT.print(Text.assemble((f"{item.confidence:>4.0%}  ", "dim"), one_line(item.entity), (f"  {path}", "dim")))
    if not as_json and len(found) > SHOWN:
        OUT.print(Text(f"and {len(found) - SHOWN} more", style="dim"))
    _say_if_nothing(found, name)


def _say_if_nothing(found: object, name: EntityId) -> None:
    if not found:
        ERR.print(Text(f"nothing is known of {one_line(name)} there and then", style="dim"))
