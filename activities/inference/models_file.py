"""The models file: which endpoints there are, and which workloads each of them may see.

A workload has a tier from T1 (anybody may see it) to T5 (it never leaves the perimeter): the highest that any rule
gives it, and T5 where none does. An endpoint is cleared for a tier: it may see workloads up to that. The first endpoint
of the file that is cleared is asked, and where none is, no model is.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import IntEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from activities.credentials.reference import CredentialReference
from activities.safety.egress import destination_of
from workflows.contracts.alert import Alert
from workflows.contracts.environment import SourceName

LARGEST_FILE = 1024 * 1024
MOST_ENDPOINTS, MOST_RULES = 32, 1_000
LEAST_WINDOW = 2_048
"""Tokens that a model must be able to read: a digest and its answer."""


class ModelsFileError(Exception):
    """The models file cannot be used; the message names the field and what to write."""


class ModelNotAllowedError(ModelsFileError):
    """The endpoint that was asked for is not there, or may not see the workload."""

    def __init__(self, endpoint: str, tier: str, *, known: Sequence[str]) -> None:
        there = f"there are {', '.join(known)}" if known else "the models file names none"
        super().__init__(
            f"no endpoint {endpoint!r} may see this workload, which is of tier {tier} ({there}): "
            "see the models file that inquest settings names"
        )


class Tier(IntEnum):
    """How sensitive a workload is, and what an endpoint is cleared for."""

    T1 = 1
    T2 = 2
    T3 = 3
    T4 = 4
    T5 = 5


def _tier(value: object) -> object:
    if isinstance(value, str) and value in Tier.__members__:
        return Tier[value]
    raise PydanticCustomError("tier", "write one of T1, T2, T3, T4, T5")


ReadTier = Annotated[Tier, BeforeValidator(_tier)]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Endpoint(_Part):
    """One model behind one OpenAI-compatible server."""

    name: SourceName
    """Of the endpoint, in reports and as its task queue `inference-<name>`."""

    url: Annotated[str, Field(max_length=2_048)]
    """Up to and with `/v1`."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """Its name at the server."""

    cleared: ReadTier
    """The most sensitive tier that it may see; T5 only for one that stands inside the perimeter."""

    credential: CredentialReference | None = None
    trusted: Path | None = None
    """PEM file of the authorities that may sign its certificate. Not set: the system's."""

    weights: Path | None = None
    """Folder of its weights, where this machine can read it: what is served is then known by their digests."""

    at_once: Annotated[int, Field(ge=1, le=1_024)] = 4
    """Questions under way at the same time in one worker process: as many as the server has sequences."""

    timeout: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(minutes=5))] = timedelta(seconds=60)
    """After which an answer is given up."""

    @model_validator(mode="after")
    def _is_an_address(self) -> "Endpoint":
        try:
            destination_of(self.url)
        except ValueError as error:
            raise PydanticCustomError("address", "{problem}", {"problem": f"url: {error}"}) from None
        return self


class Workload(_Part):
    """What an investigation is about, as far as its alerts say."""

    environment: str = ""
    service: str = ""
    team: str = ""


class Rule(_Part):
    """How sensitive some workloads are. What is named must fit (`*` and `?` as in file names)."""

    environment: Pattern | None = None
    service: Pattern | None = None
    team: Pattern | None = None
    tier: ReadTier

    @model_validator(mode="after")
    def _names_something(self) -> "Rule":
        if self.environment is None and self.service is None and self.team is None:
            raise PydanticCustomError("rule", "name an environment, a service or a team")
        return self

    def fits(self, workload: Workload) -> bool:
        """Whether it is about this workload."""
        named = (
            (self.environment, workload.environment),
            (self.service, workload.service),
            (self.team, workload.team),
        )
        return all(pattern is None or fnmatchcase(value, pattern) for pattern, value in named)


class Models(_Part):
    """Endpoints and rules."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(max_length=MOST_ENDPOINTS)] = ()
    workloads: Annotated[tuple[Rule, ...], Field(max_length=MOST_RULES)] = ()
    otherwise: ReadTier = Tier.T5
    """Tier of workloads that no rule is about."""

    admitted_from: ReadTier | None = None
    """Workloads of this tier and above are shown only to models that were admitted (`inquest model admit`)."""

    @model_validator(mode="after")
    def _has_no_twins(self) -> "Models":
        names = [item.name for item in self.endpoints]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise PydanticCustomError("endpoint", "two endpoints have the name {name}", {"name": twice})
        return self

    def tier(self, workloads: Iterable[Workload]) -> Tier:
        """The highest tier of any of these workloads."""
        found = [
            max((rule.tier for rule in self.workloads if rule.fits(workload)), default=self.otherwise)
            for workload in workloads
        ]
        return max(found, default=Tier.T5)

    def demands_admission(self, workloads: Iterable[Workload]) -> bool:
        """Whether only an admitted model may see these workloads."""
        return self.admitted_from is not None and self.tier(workloads) >= self.admitted_from

    def allowed(self, workloads: Iterable[Workload]) -> Endpoint | None:
        """The first endpoint that may see all of these workloads; None when there is none."""
        tier = self.tier(workloads)
        return next((item for item in self.endpoints if item.cleared >= tier), None)

    def cleared(self, name: str, workloads: Iterable[Workload]) -> Endpoint | None:
        """The endpoint of this name, if it may see all of these workloads."""
        tier = self.tier(workloads)
        return next((item for item in self.endpoints if item.name == name and item.cleared >= tier), None)


def no_models() -> Models:
    """No endpoint at all."""
    return Models()


def workloads_of(alerts: Sequence[Alert], environment: str) -> list[Workload]:
    """What alerts are about, as far as their labels say."""
    return [
        Workload(
            environment=environment,
            service=alert.labels.get("service") or alert.labels.get("job") or "",
            team=alert.labels.get("team") or alert.labels.get("owner") or "",
        )
        for alert in alerts
    ]


def read_models(path: Path) -> Models:
    """The models file; without one there is no model.

    Raises:
        ModelsFileError: it cannot be used.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ModelsFileError(f"{path}: is larger than {LARGEST_FILE:,} bytes: write less into it")
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return Models()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelsFileError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ModelsFileError(f"{path}: is not YAML ({str(error).splitlines()[0]})") from error
    try:
        return Models.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelsFileError(f"{path}: {f'{where}: ' if where else ''}{first['msg']}") from None
