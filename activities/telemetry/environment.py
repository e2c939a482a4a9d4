"""Environment files: one typed YAML document for each running system under watch."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from activities.credentials.reference import CredentialReference
from activities.safety.egress import destination_of
from workflows.contracts.environment import MOST_SOURCES, EntityMapping, SourceName, SourceRef
from workflows.contracts.probe import MODALITIES, Modality

LARGEST_FILE = 1024 * 1024
MOST_MAPPINGS = 2_000
RESERVED = frozenset(("recorded", "announced", "resolved"))
"""Names of sources that every installation has."""


class EnvironmentFileError(Exception):
    """An environment cannot be used; the message names the file, the field and what to write."""


class EnvironmentMissingError(EnvironmentFileError):
    """There is no environment of that name."""


class Limits(BaseModel):
    """What one investigation may do to a source."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Queries under way at the same time."""

    per_second: Annotated[float, Field(gt=0, le=1_000)] = 20.0
    """Queries begun in a second, on average."""

    query_timeout: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(minutes=10))] = timedelta(seconds=10)
    """After which one query is given up; that is a data gap."""

    answer_megabytes: Annotated[float, Field(gt=0, le=1_024)] = 16.0
    """Largest answer to one query that is read, unpacked."""

    total_megabytes: Annotated[float, Field(gt=0, le=10_240)] = 30.0
    """What one investigation may have sent over the network by this source."""


class SourceConfig(BaseModel):
    """What every backend is configured with; a backend adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: SourceName
    """Of this source; unique among all environments, because its task queue is `telemetry-<name>`."""

    backend: str
    """Which kind of server it is."""

    limits: Limits = Limits()
    answers: Annotated[tuple[Modality, ...], Field(max_length=8)] = ()
    """What it is queried for, where that is less than the backend can."""

    def modalities(self, possible: frozenset[Modality]) -> frozenset[Modality]:
        """What it is queried for, of what its backend can be."""
        return possible & set(self.answers) if self.answers else possible


class HttpSourceConfig(SourceConfig):
    """What every backend is configured with that queries a server."""

    url: Annotated[str, Field(max_length=2_048)]
    """Where its API is, with http:// or https:// and, where it has one, the path before the API's own."""

    credential: CredentialReference | None = None
    """With which it is queried; none where it asks for none."""

    trusted: Path | None = None
    """PEM file of the authorities that may sign its certificate. Not set: the system's."""

    @model_validator(mode="after")
    def _is_an_address(self) -> "HttpSourceConfig":
        try:
            destination_of(self.url)
        except ValueError as error:
            raise PydanticCustomError("address", "{problem}", {"problem": f"url: {error}"}) from None
        return self


class Environment(BaseModel):
    """One running system under watch."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: SourceName
    """The file's own name without `.yaml`."""

    sources: Annotated[tuple[SourceConfig, ...], Field(min_length=1, max_length=MOST_SOURCES)]
    mappings: Annotated[tuple[EntityMapping, ...], Field(max_length=MOST_MAPPINGS)] = ()
    """Who is who, where the rules do not know or are wrong."""

    def refs(self, modalities: "dict[str, frozenset[Modality]]") -> tuple[SourceRef, ...]:
        """Its sources and what each is queried for.

        Args:
            modalities: what each backend can be queried for.
        """
        refs = []
        for source in self.sources:
            queried = source.modalities(modalities[source.backend])
            chosen = tuple(item for item in MODALITIES if item in queried)
            if chosen:
                refs.append(SourceRef(name=source.name, modalities=chosen))
        return tuple(refs)


def read_environment(path: Path, configs: "dict[str, type[SourceConfig]]") -> Environment:
    """The environment in a file.

    Args:
        path: the file; its name without the suffix is the environment's.
        configs: the model of each backend's configuration.

    Raises:
        EnvironmentFileError: it cannot be used.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise EnvironmentFileError(f"{path}: is larger than {LARGEST_FILE:,} bytes: write less into it")
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise EnvironmentFileError(f"{path}: there is no such environment: write one as README.md shows") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFileError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise EnvironmentFileError(f"{path}: is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(document, dict) or not isinstance(document.get("sources"), list):
        raise EnvironmentFileError(f"{path}: write a list of sources into it, as README.md shows")
    sources = [_source(path, number, item, configs) for number, item in enumerate(document["sources"])]
    try:
        found = Environment.model_validate({**document, "name": path.stem, "sources": sources})
    except ValidationError as error:
        raise EnvironmentFileError(f"{path}: {_problem(error)}") from None
    reserved = next((source.name for source in found.sources if source.name in RESERVED), None)
    if reserved:
        raise EnvironmentFileError(f"{path}: the name {reserved} is taken: give the source another one")
    twice = _repeated(source.name for source in found.sources)
    if twice:
        raise EnvironmentFileError(f"{path}: two sources have the name {twice}: each needs one of its own")
    return found


def _source(path: Path, number: int, item: object, configs: "dict[str, type[SourceConfig]]") -> SourceConfig:
    backend = item.get("backend") if isinstance(item, dict) else None
    config = configs.get(backend) if isinstance(backend, str) else None
    if config is None:
        known = ", ".join(sorted(configs))
        raise EnvironmentFileError(f"{path}: sources.{number}.backend: write one of {known}")
    try:
        return config.model_validate(item)
    except ValidationError as error:
        raise EnvironmentFileError(f"{path}: sources.{number}.{_problem(error)}") from None


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _installed() -> "dict[str, type[SourceConfig]]":
    from activities.telemetry.registry import configs  # noqa: PLC0415 - backends are loaded for who has environments

    return configs()


def read_environments(
    folder: Path, configs: "Callable[[], dict[str, type[SourceConfig]]] | None" = None
) -> tuple[dict[str, Environment], dict[str, str]]:
    """Every environment of a folder by its name, and why others cannot be used.

    Args:
        folder: that of the files.
        configs: gives the model of each backend's configuration; None: of every installed backend.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        return {}, {}
    models = _installed() if configs is None else configs()
    found: dict[str, Environment] = {}
    problems: dict[str, str] = {}
    defined: dict[str, tuple[str, SourceConfig]] = {}
    for path in paths:
        try:
            environment = read_environment(path, models)
        except EnvironmentFileError as error:
            problems[path.stem] = str(error)
            continue
        other = next(
            (
                defined[source.name]
                for source in environment.sources
                if defined.get(source.name, ("", source))[1] != source
            ),
            None,
        )
        if other is not None:
            problems[path.stem] = (
                f"{path}: {other[0]} defines the source {other[1].name} differently: give one of them another name"
            )
            continue
        found[path.stem] = environment
        defined.update({source.name: (path.stem, source) for source in environment.sources})
    return found, problems
