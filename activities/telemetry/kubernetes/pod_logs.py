"""Lines that containers wrote, read through the API server; of the container before a restart too."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from activities.telemetry.exceptions import BackendUnavailableError, QueryError
from activities.telemetry.http import SourceClient
from activities.telemetry.kubernetes.config import KubernetesConfig
from activities.telemetry.kubernetes.facts import PodFacts
from activities.telemetry.lines import LINES, Sample
from activities.telemetry.log_lines import line_of
from workflows.contracts.identifiers import EntityId
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window

READ_BACK = timedelta(hours=1)
"""Lines are read this far back, as those of a log store are."""

PODS_OF_ENTITY = 4
"""Pods of one entity that are read: those that are not ready first, then those that restarted most."""

LARGEST_LOG = 1_000_000
"""Bytes of one container's log that are read."""

TRIES = 4
OF_THE_NODE = ("dial tcp", "HTTP 502", "HTTP 504", "no route to host", "i/o timeout", "connection refused")
"""What the API server says when it is the node's kubelet that does not answer."""

_MOMENT = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")


@dataclass(frozen=True, kw_only=True)
class ContainerLog:
    """One log to read."""

    pod: PodFacts
    container: str
    previous: bool


@dataclass(kw_only=True)
class EntityLines:
    """What the containers of one entity wrote."""

    window: Window
    """Since when everything that was read is complete."""

    lines: pl.DataFrame
    notes: list[str] = field(default_factory=list)
    """What was left out."""

    failed: QueryError | None = None
    """Why nothing could be read at all."""

    @property
    def sample(self) -> Sample:
        """All lines of the time since which they are complete."""
        return Sample(window=self.window, lines=self.lines, whole=True)


class PodLogs:
    """Reads the logs of the pods of entities, within the limits of one step."""

    def __init__(self, client: SourceClient, config: KubernetesConfig) -> None:
        self._client = client
        self._config = config
        self._left = config.log_containers
        self._dead_nodes: dict[str, str] = {}

    def read(
        self, pods: Mapping[EntityId, Sequence[PodFacts]], window: Window
    ) -> Iterator[tuple[EntityId, EntityLines]]:
        """The lines of each entity, in the order in which they are given.

        Raises:
            BackendUnavailableError: the API server itself cannot be reached any more.
        """
        with ThreadPoolExecutor(self._config.limits.at_once, thread_name_prefix="pod-logs") as pool:
            for entity, of_entity in pods.items():
                wanted, notes = self._chosen(of_entity)
                results = list(pool.map(lambda log: self._lines(log, window), wanted))
                yield entity, _together(entity, window, results, notes)

    def _chosen(self, pods: Sequence[PodFacts]) -> tuple[list[ContainerLog], list[str]]:
        order = sorted(pods, key=lambda pod: (pod.ready, -sum(count for _, count in pod.containers), pod.name))
        chosen = order[:PODS_OF_ENTITY]
        logs = [
            ContainerLog(pod=pod, container=name, previous=previous)
            for pod in chosen
            for name, restarts in pod.containers
            for previous in ((False, True) if restarts else (False,))
        ]
        read, self._left = logs[: self._left], max(0, self._left - len(logs))
        notes = []
        if len(chosen) < len(order):
            notes.append(f"logs of {len(chosen)} of its {len(order)} pods")
        if len(read) < len(logs):
            notes.append(
                f"{len(logs) - len(read)} of its logs were not read: "
                f"{self._config.log_containers} is the most in one investigation (log_containers)"
            )
        return read, notes

    def _lines(self, log: ContainerLog, window: Window) -> "_Read":
        """What one container wrote; a node that is away costs its own logs only."""
        pod = log.pod
        if pod.node in self._dead_nodes:
            return _Read(log, problem=BackendUnavailableError(self._dead_nodes[pod.node]))
        parameters = {
            "container": log.container,
            "timestamps": "true",
            "sinceTime": window.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "limitBytes": str(LARGEST_LOG),
            **({"previous": "true"} if log.previous else {}),
        }
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/log"
        lines = self._config.log_lines
        try:
            for _ in range(TRIES):
                body = self._client.request("GET", path, {**parameters, "tailLines": str(lines)}, {"Accept": "*/*"})
                if len(body) < LARGEST_LOG:
                    break
                # The kubelet stops at the limit, so the newest lines are missing: fewer, longer ones are asked for.
                lines = max(1, min(lines // 2, body.count(b"\n") * 3 // 4))
        except QueryError as error:
            return _Read(log, problem=error)
        except BackendUnavailableError as error:
            if "HTTP" not in str(error):
                raise  # the API server itself is away
            if any(word in str(error) for word in OF_THE_NODE):
                self._dead_nodes[pod.node] = f"node {pod.node}: {error}"
            return _Read(log, problem=error)
        if len(body) >= LARGEST_LOG:
            detail = f"its lines are longer than {LARGEST_LOG:,} bytes together"
            return _Read(log, problem=QueryError(ObservationStatus.TRUNCATED, detail))
        return _Read(log, lines=list(_parsed(body)), cut=body.count(b"\n") >= lines)


@dataclass(frozen=True)
class _Read:
    log: ContainerLog
    lines: Sequence[tuple[datetime, str]] = ()
    cut: bool = False
    """Whether there was more than was read."""

    problem: QueryError | BackendUnavailableError | None = None


def _together(entity: EntityId, window: Window, results: Sequence[_Read], notes: list[str]) -> EntityLines:
    start = window.start
    problems = [(found.log, found.problem) for found in results if found.problem is not None and _matters(found)]
    failed = None
    for found in results:
        if found.cut and found.lines:
            start = max(start, min(at for at, _ in found.lines))
    if problems and len(problems) == len(results):
        error = problems[0][1]
        failed = (
            error if isinstance(error, QueryError) else QueryError(ObservationStatus.UNAVAILABLE, f"its logs: {error}")
        )
    elif problems:
        notes = [*notes, *sorted({f"{log.pod.name}: {error}"[:200] for log, error in problems})]
    since = Window(start=min(start, window.end), end=window.end)
    rows = []
    for found in results:
        for at, text in found.lines:
            if since.start <= at < since.end:
                line = line_of(text, {})
                rows.append((at, entity, line.severity, line.message, line.trace_id, line.span_id))
    return EntityLines(window=since, lines=pl.DataFrame(rows, schema=LINES, orient="row"), notes=notes, failed=failed)


def _matters(found: _Read) -> bool:
    """Whether an error is a gap: a container that has not started, or a pod that is gone, has no log."""
    error = found.problem
    if not isinstance(error, QueryError):
        return True
    if error.status is ObservationStatus.NOT_FOUND:
        return False
    return not (error.status is ObservationStatus.ERROR and "HTTP 400" in error.detail)


def _parsed(body: bytes) -> Iterator[tuple[datetime, str]]:
    """(moment, text) of each line; what has no moment of its own belongs to the line before it."""
    moment: datetime | None = None
    for raw in body.decode(errors="replace").split("\n"):  # and at nothing else: a line may hold any character
        match = _MOMENT.match(raw)
        at = None if match is None else _moment(match)
        moment = at or moment
        text = raw if match is None or at is None else raw[match.end() :]
        if moment is not None and text.strip():
            yield moment, text


def _moment(match: "re.Match[str]") -> datetime | None:
    micros = (match[2] or "").ljust(6, "0")[:6]
    try:
        return datetime.fromisoformat(f"{match[1]}.{micros}{match[3].replace('Z', '+00:00')}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
