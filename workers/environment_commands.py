"""`inquest environment`: look whether an environment's sources answer, and what they know."""

from collections.abc import Sequence
from typing import Annotated

import typer
import yaml
from rich.table import Table
from rich.text import Text

from activities.telemetry.entities import Resolution, Resolver, labels_of
from activities.telemetry.environment import Environment, EnvironmentFileError, read_environments
from activities.telemetry.exceptions import BackendUnavailableError, QueryError, SourceRefusedError
from activities.telemetry.registry import Opening, backend_kinds, modalities
from workers.invocation import ERR, OUT, handle_known_errors, read_settings
from workers.rendering.plain_text import one_line
from workers.source_queries import resolver_of
from workflows.contracts.probe import MODALITIES

SHOWN = 500
GROUP = typer.Typer(
    help="Look at a running system through its sources: check, entities, coverage, permissions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
Name = Annotated[str, typer.Argument(help="Name of the environment: its file without .yaml.")]


@GROUP.command()
@handle_known_errors
def check(name: Name) -> None:
    """Query every source once and say what it answers; ends with 1 where one does not."""
    failed = False
    for source in _environment(name).sources:
        kind = backend_kinds()[source.backend]
        try:
            lines = kind.check(Opening(config=source, resolver=lambda: Resolver({})))
        except (BackendUnavailableError, QueryError, SourceRefusedError) as error:
            failed = True
            OUT.print(Text.assemble(("failed ", "red"), f"{source.name} ({source.backend}): {one_line(str(error))}"))
        else:
            OUT.print(Text.assemble(("ok     ", "green"), f"{source.name} ({source.backend}): {', '.join(lines)}"))
    if failed:
        raise typer.Exit(1)


@GROUP.command()
@handle_known_errors
def entities(
    name: Name, unmatched: Annotated[bool, typer.Option("--unmatched", help="Only labels that match nothing.")] = False
) -> None:
    """List what was recognised, from which source, by which rule, and which labels matched nothing or several."""
    environment = _environment(name)
    resolver, problems = resolver_of(environment)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("entity", "source", "rule", "labels"):
        table.add_column(column, overflow="fold")
    rows = [(found.entity or "", source, found, labels) for source, labels, found in _names(resolver)]
    rows.sort(key=lambda row: (row[0], row[1], row[3]))
    shown = [row for row in rows if not unmatched or not row[0]]
    for entity, source, found, labels in shown[:SHOWN]:
        what = Text(entity) if entity else Text(", ".join(found.candidates) or "nothing", style="yellow")
        table.add_row(what, source, found.rule, Text(_short(labels)))
    OUT.print(table)
    if len(shown) > SHOWN:
        OUT.print(Text(f"and {len(shown) - SHOWN} more", style="dim"))
    lost = sum(not row[0] for row in rows)
    OUT.print(Text(f"{len({row[0] for row in rows if row[0]})} entities; {lost} label sets match none", style="dim"))
    _report(problems)


@GROUP.command()
@handle_known_errors
def coverage(name: Name) -> None:
    """Say for each entity which modalities know it, so that blind spots are seen before an incident."""
    environment = _environment(name)
    resolver, problems = resolver_of(environment)
    having = {ref.name: ref.modalities for ref in environment.refs(modalities())}
    known = resolver.known_by()
    columns = [item for item in MODALITIES if any(item in having.get(source, ()) for source in having)]
    table = Table("entity", *columns, box=None, padding=(0, 2, 0, 0))
    for entity, sources in sorted(known.items()):
        cells = [
            "yes" if any(column in having.get(source, ()) for source in sources) else Text("no", style="yellow")
            for column in columns
        ]
        table.add_row(Text(entity), *cells)
    OUT.print(table)
    _report(problems)


@GROUP.command()
@handle_known_errors
def permissions(name: Name) -> None:
    """Print the least that the sources' credentials must allow; of Kubernetes, as a ClusterRole to apply."""
    environment = _environment(name)
    used = {source.backend for source in environment.sources}
    for backend in sorted(used):
        for line in backend_kinds()[backend].permissions:
            OUT.print(f"# {backend}: {line}", highlight=False, soft_wrap=True)
    found = [rule for source in environment.sources for rule in backend_kinds()[source.backend].cluster_rules(source)]
    cluster = list(dict.fromkeys(found))
    if cluster:
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"inquest-{name}"},
            "rules": [
                {"apiGroups": list(rule.groups), "resources": list(rule.resources), "verbs": list(rule.verbs)}
                for rule in cluster
            ],
        }
        OUT.print(yaml.safe_dump(role, sort_keys=False), end="", highlight=False, soft_wrap=True)


def _environment(name: str) -> Environment:
    """The environment of that name.

    Raises:
        EnvironmentFileError: there is none, or its file cannot be used.
    """
    folder = read_settings().environments_dir
    known, problems = read_environments(folder)
    if name in problems:
        raise EnvironmentFileError(problems[name])
    if name not in known:
        there = f"there are {', '.join(known)}" if known else f"write {folder / (one_line(name, 63) + '.yaml')}"
        raise EnvironmentFileError(f"there is no environment {one_line(name, 63)}: {there}")
    return known[name]


def _names(resolver: Resolver) -> list[tuple[str, str, Resolution]]:
    return list(resolver.names())


def _short(labels: str) -> str:
    return one_line(", ".join(f"{key}={value}" for key, value in labels_of(labels).items()), 300)


def _report(problems: Sequence[str]) -> None:
    for problem in problems:
        ERR.print(Text(one_line(problem, 500), style="yellow"))
    if problems:
        raise typer.Exit(1)
