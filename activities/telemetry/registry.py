"""Which backends there are: each is one folder, found by its entry point."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.entities import Resolver
from activities.telemetry.environment import SourceConfig
from workflows.contracts.probe import Modality

GROUP = "inquest.backends"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a backend is opened with."""

    config: SourceConfig
    resolver: Callable[[], Resolver]
    """Who is who; made when it is called, and the same one each time."""


@dataclass(frozen=True, kw_only=True)
class ClusterRule:
    """One rule of a Kubernetes ClusterRole that a backend needs."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...] = ("get", "list")


@dataclass(frozen=True, kw_only=True)
class BackendKind:
    """One kind of server that can be a source."""

    name: str
    title: str
    """What it queries, in one line."""

    modalities: frozenset[Modality]
    config: type[SourceConfig]
    open: Callable[[Opening], TelemetryBackend]
    """Opens one source; nothing is queried yet.

    Raises:
        SourceRefusedError: it cannot be used as it is configured.
    """

    check: Callable[[Opening], Sequence[str]]
    """Looks whether the source answers; returns lines for people, of which the first says its version.

    Raises:
        BackendUnavailableError: it cannot be reached.
        QueryError: it does not answer as it should.
        SourceRefusedError: it cannot be used as it is configured.
    """

    permissions: tuple[str, ...]
    """The least that its credential must allow, a line each."""

    cluster_rules: Callable[[SourceConfig], Sequence[ClusterRule]] = lambda _: ()
    """What of a Kubernetes cluster a source of this kind reads, as it is configured."""


@cache
def backend_kinds() -> dict[str, BackendKind]:
    """Every installed kind by its name."""
    kinds = [point.load() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)]
    return {kind.name: kind for kind in kinds}


def configs() -> dict[str, type[SourceConfig]]:
    """The model of each kind's configuration."""
    return {name: kind.config for name, kind in backend_kinds().items()}


def modalities() -> dict[str, frozenset[Modality]]:
    """What each kind can be queried for."""
    return {name: kind.modalities for name, kind in backend_kinds().items()}
