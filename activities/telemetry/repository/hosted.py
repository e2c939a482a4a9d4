"""What sources of commits do alike that a Git host answers by its own API: GitHub, GitLab."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from activities.telemetry.backend import Answers
from activities.telemetry.changes import answered_in_part, change_rows
from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import HttpBackend, SourceClient
from activities.telemetry.registry import Opening
from activities.telemetry.repository.commits import Commit, FileChange, Owners, changes_of
from activities.telemetry.repository.config import RepositoryConfig
from activities.telemetry.repository.flags import may_hold_flags
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.probe import ChangeProbe, Window

MOST_DEPLOYMENTS = 100
MOST_COMMITS_DEPLOYED = 30
PAGE = 100
MOST_PAGES = 10


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

    def commits(self, window: Window) -> Sequence[Commit]:
        """The first-parent history of the branch in a window, the latest first, without files.

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
        """Deliveries that succeeded in a window, the latest first.

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
            found = [change for commit in commits for change in changes_of(commit, owners)]
            found += self._deployed(probe.window, commits, owners, problems)
            yield probe, answered_in_part(change_rows(found, self._resolver()), probe, problems)

    def _commits(self, window: Window, problems: list[str]) -> Iterator[Commit]:
        for number, commit in enumerate(self._api.commits(window)):
            if number >= self._config.most_diffs or problems:
                yield commit
                continue
            try:
                files = [self._with_flags(commit, file) for file in self._api.files(commit)]
            except QueryError as error:
                problems.append(f"differences could not be read: {error.detail}")
                yield commit
            else:
                yield replace(commit, files=files)

    def _with_flags(self, commit: Commit, file: FileChange) -> FileChange:
        if not may_hold_flags(file.path, file.patch):
            return file
        parent = self._api.parent(commit)
        before = self._api.text(file.previous_path or file.path, parent) if parent else None
        return replace(file, before=before, after=self._api.text(file.path, commit.sha))

    def _deployed(
        self, window: Window, commits: Sequence[Commit], owners: Owners, problems: list[str]
    ) -> Iterator[Change]:
        try:
            deployments = self._api.deployments(window)
        except QueryError as error:
            problems.append(f"deployments could not be read: {error.detail}")
            return
        for number, deployment in enumerate(deployments):
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
    details: dict[object, list[str]] = {}
    targets = {}
    for commit in delivered:
        for change in changes_of(commit, owners):
            targets[str(change.target)] = change.target
            details.setdefault(str(change.target), []).append(f"{commit.sha[:12]} {change.title}\n{change.detail}")
    if not targets:
        targets, details = {str(owners.default): owners.default}, {}
    for key, target in targets.items():
        name = f"deployment-{deployment.id}"
        detail = "\n".join([*([deployment.url] if deployment.url else []), *details.get(key, [])])
        yield Change(
            id=name if len(targets) == 1 else f"{name}:{target or 'others'}",
            at=deployment.at,
            kind=ChangeKind.DEPLOY,
            target=target,
            title=f"{title}{since}",
            detail=detail[:65_000],
            revision=deployment.sha,
        )
