"""What sources of commits do alike that a Git host answers by its own API: GitHub, GitLab."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from activities.telemetry.backend import Answers
from activities.telemetry.changes import answered_in_part, change_rows
from activities.telemetry.exceptions import BackendUnavailableError, QueryError
from activities.telemetry.http import HttpBackend, SourceClient
from activities.telemetry.registry import Opening
from activities.telemetry.repository.commits import Commit, FileChange, Owners, change, changes_of
from activities.telemetry.repository.config import RepositoryConfig
from activities.telemetry.repository.flags import may_hold_flags
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe, Window

MOST_DEPLOYMENTS = 100
MOST_COMMITS_DEPLOYED = 30
MOST_FLAG_FILES = 20
LOOK_BACK = timedelta(days=30)
"""How far before the window the deployment is looked for that the first one of it replaced."""

PAGE = 100
MOST_PAGES = 10
FAILURES_IN_A_ROW = 3
"""After which no further difference is asked for."""

_FOR_ALL = (ObservationStatus.FORBIDDEN, ObservationStatus.TIMEOUT, ObservationStatus.TRUNCATED)
"""Statuses that the next query would have too."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What the host knows of one delivery that succeeded."""

    id: str
    at: datetime
    sha: str
    environment: str
    url: str = ""


class HostApi(Protocol):
    """What a host is asked for."""

    @property
    def notes(self) -> Sequence[str]:
        """What there was more of than was read."""

    def commits(self, window: Window) -> Sequence[Commit]:
        """The first-parent history of the branch since a window's begin, the latest first, without files.

        Raises:
            QueryError: there is no answer.
        """

    def files(self, commit: Commit) -> Sequence[FileChange]:
        """What a commit did to files, without whole texts.

        Raises:
            QueryError: there is no answer.
        """

    def text(self, path: str, revision: str) -> str | None:
        """A file as it was; None where it was not there.

        Raises:
            QueryError: there is no answer.
        """

    def parent(self, commit: Commit) -> str:
        """The first parent; empty of a root."""

    def deployments(self, window: Window) -> Sequence[Deployment]:
        """Deliveries that succeeded in a window, and of each environment one before it, the latest first.

        Raises:
            QueryError: there is no answer.
        """


class HostedBackend(HttpBackend):
    """One repository of a host, open for one attempt at one step."""

    def __init__(self, opening: Opening, api: "Callable[[SourceClient], HostApi]") -> None:
        assert isinstance(opening.config, RepositoryConfig)
        self._config = opening.config
        self._resolver = opening.resolver
        super().__init__(opening.config)
        self._api = api(self._client)

    def changes(self, probes: Sequence[ChangeProbe]) -> Answers:
        """What landed on the branch, and what was deployed of it."""
        for probe in probes:
            problems: list[str] = []
            owners = Owners(self._config, self._resolver)
            commits = list(self._commits(probe.window, problems))
            found = [item for commit in commits for item in changes_of(commit, owners)]
            found += self._deployed(probe.window, commits, owners, problems)
            problems += self._api.notes
            yield probe, answered_in_part(change_rows(found, self._resolver()), probe, problems)

    def _commits(self, window: Window, problems: list[str]) -> Iterator[Commit]:
        failures, flag_files = 0, [MOST_FLAG_FILES]
        inside = [item for item in self._api.commits(window) if window.start <= item.at < window.end]
        for number, commit in enumerate(inside):
            if number >= self._config.most_diffs or failures >= FAILURES_IN_A_ROW:
                yield commit
                continue
            try:
                files = [self._with_flags(commit, file, flag_files) for file in self._api.files(commit)]
            except (BackendUnavailableError, QueryError) as error:
                lasting = isinstance(error, QueryError) and error.status in _FOR_ALL
                failures = FAILURES_IN_A_ROW if lasting else failures + 1
                if len(problems) < FAILURES_IN_A_ROW:
                    problems.append(f"differences of {commit.sha[:12]} could not be read: {error}")
                yield commit
            else:
                failures = 0
                yield replace(commit, files=files)

    def _with_flags(self, commit: Commit, file: FileChange, left: list[int]) -> FileChange:
        """The file with its whole texts, where it may hold flags and there is room for two more queries."""
        if not may_hold_flags(file.path, file.patch) or left[0] <= 0:
            return file
        left[0] -= 1
        parent = self._api.parent(commit)
        before = self._api.text(file.previous_path or file.path, parent) if parent else None
        return replace(file, before=before, after=self._api.text(file.path, commit.sha))

    def _deployed(
        self, window: Window, commits: Sequence[Commit], owners: Owners, problems: list[str]
    ) -> Iterator[Change]:
        try:
            deployments = self._api.deployments(window)
        except (BackendUnavailableError, QueryError) as error:
            problems.append(f"deployments could not be read: {error}")
            return
        for number, deployment in enumerate(deployments):
            if not window.start <= deployment.at < window.end:
                continue
            earlier = next(
                (item for item in deployments[number + 1 :] if item.environment == deployment.environment), None
            )
            delivered = _delivered(deployment, earlier, commits)
            yield from _deployment_changes(deployment, delivered, owners, earlier)


def _delivered(deployment: Deployment, earlier: Deployment | None, commits: Sequence[Commit]) -> Sequence[Commit]:
    """The commits that a deployment brought, the latest first; none where it is of another branch, or went back."""
    places = {commit.sha: number for number, commit in enumerate(commits)}
    begins = places.get(deployment.sha)
    if begins is None:
        return ()
    ends = begins + 1
    if earlier is not None and earlier.sha in places:
        ends = places[earlier.sha]
    elif earlier is not None and earlier.at <= commits[-1].at:
        ends = len(commits)
    return commits[begins:ends][:MOST_COMMITS_DEPLOYED]


def _deployment_changes(
    deployment: Deployment, delivered: Sequence[Commit], owners: Owners, earlier: Deployment | None
) -> Iterator[Change]:
    """One change for each entity that the delivered commits touch; they say what was new in it."""
    backwards = earlier is not None and not delivered
    title = f"Deployment of {deployment.sha[:12]} to {deployment.environment}"
    since = f", after {earlier.sha[:12]}" if earlier is not None and backwards else ""
    details: dict[str, list[str]] = {}
    targets = {}
    for commit in delivered:
        for item in changes_of(commit, owners):
            targets[str(item.target)] = item.target
            details.setdefault(str(item.target), []).append(f"{commit.sha[:12]} {item.title}\n{item.detail}")
    if not targets:
        targets, details = {str(owners.default): owners.default}, {}
    for key, target in targets.items():
        name = f"deployment-{deployment.id}"
        yield change(
            name if len(targets) == 1 else f"{name}:{target or 'others'}",
            deployment.at,
            ChangeKind.DEPLOY,
            target=target,
            title=f"{title}{since}",
            detail="\n".join([*([deployment.url] if deployment.url else []), *details.get(key, [])]),
            revision=deployment.sha,
        )
