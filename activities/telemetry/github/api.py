"""The few calls to GitHub that are needed (REST API, version 2022-11-28, https://docs.github.com/rest)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from activities.telemetry.documents import Document, as_list, as_map, clean, moment
from activities.telemetry.exceptions import QueryError
from activities.telemetry.github.config import GithubConfig
from activities.telemetry.http import SourceClient
from activities.telemetry.repository.commits import Commit, FileChange, commit_id, first_parents
from activities.telemetry.repository.hosted import LOOK_BACK, MOST_DEPLOYMENTS, MOST_PAGES, PAGE, Deployment
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window

MOST_FILES = 300
"""Of one commit that GitHub lists on the first page."""

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
RAW = {**HEADERS, "Accept": "application/vnd.github.raw+json"}


class GithubApi:
    """Queries one repository."""

    def __init__(self, client: SourceClient, config: GithubConfig) -> None:
        self._client = client
        self._config = config
        self._base = f"/repos/{config.repository}"
        self._parents: dict[str, list[str]] = {}
        self._notes: list[str] = []

    def default_branch(self) -> str:
        """The repository's; the health check."""
        return str(as_map(self._get("")).get("default_branch") or "")

    @property
    def notes(self) -> Sequence[str]:
        """See `HostApi`."""
        return self._notes

    def commits(self, window: Window) -> Sequence[Commit]:
        """See `HostApi`.

        The list holds the commits of merged branches too, by date: the history is walked from the branch's own head,
        and read back until a whole page is older than the window.
        """
        parameters = {"sha": self._config.branch} if self._config.branch else {}
        found: dict[str, Commit] = {}
        head = ""
        try:
            for page in self._pages("/commits", parameters, "commits"):
                commits = [item for item in map(_commit, page) if item is not None]
                head = head or (commits[0].sha if commits else "")
                found |= {item.sha: item for item in commits}
                self._parents |= {
                    name: [commit_id(as_map(parent).get("sha")) for parent in as_list(item.get("parents"))]
                    for item in page
                    if (name := commit_id(item.get("sha")))
                }
                if all(item.at < window.start for item in commits):
                    break
        except QueryError as error:
            if "HTTP 409" in error.detail:
                return ()  # the repository is empty
            raise
        return [found[name] for name in first_parents(self._parents, head) if name in found]

    def files(self, commit: Commit) -> Sequence[FileChange]:
        """See `HostApi`."""
        document = as_map(self._get(f"/commits/{commit.sha}"))
        files = [as_map(item) for item in as_list(document.get("files"))]
        if len(files) >= MOST_FILES:
            self._notes.append(f"{commit.sha[:12]} touches more than {MOST_FILES} files")
        return [_file(item) for item in files if item.get("filename")]

    def text(self, path: str, revision: str) -> str | None:
        """See `HostApi`."""
        try:
            body = self._client.request(
                "GET", f"{self._base}/contents/{quote(clean(path))}", {"ref": revision}, headers=RAW
            )
        except QueryError as error:
            if error.status is ObservationStatus.NOT_FOUND:
                return None
            raise
        return body.decode(errors="replace")

    def parent(self, commit: Commit) -> str:
        """See `HostApi`."""
        return next(iter(self._parents.get(commit.sha, ())), "")

    def deployments(self, window: Window) -> Sequence[Deployment]:
        """See `HostApi`; one that has no successful status did not happen."""
        found = []
        for environment in self._config.environments or ("",):
            parameters = {"environment": environment} if environment else {}
            before: set[str] = set()
            for item in self._created(parameters, window):
                name = str(item.get("environment") or "")
                if name in before:
                    continue
                deployment = self._deployment(item, name)
                if deployment is not None and deployment.at < window.end:
                    found.append(deployment)
                    before |= {name} if deployment.at < window.start else set()
        return sorted(found, key=lambda item: (item.at, item.id), reverse=True)

    def _created(self, parameters: Mapping[str, str], window: Window) -> Iterator[Document]:
        """Deployments that were begun since some time before the window, the latest first."""
        count = 0
        for page in self._pages("/deployments", parameters, "deployments"):
            for item in page:
                at = moment(item.get("created_at"))
                if at is None or not isinstance(item.get("id"), int) or not commit_id(item.get("sha")):
                    continue
                if at < window.start - LOOK_BACK:
                    return
                if count >= MOST_DEPLOYMENTS:
                    self._notes.append(f"only the latest {MOST_DEPLOYMENTS} deployments were read")
                    return
                count += 1
                yield item

    def _deployment(self, item: Document, environment: str) -> Deployment | None:
        statuses = [as_map(status) for status in as_list(self._get(f"/deployments/{item['id']}/statuses"))]
        done = [
            at for status in statuses if status.get("state") == "success" and (at := moment(status.get("created_at")))
        ]
        if not done:
            return None
        return Deployment(
            id=str(item["id"]),
            at=min(done),
            sha=str(item.get("sha") or ""),
            environment=environment,
            url=str(next((status.get("log_url") or "" for status in statuses), "")),
        )

    def _pages(self, path: str, parameters: Mapping[str, str], what: str) -> Iterator[list[Document]]:
        for page in range(1, MOST_PAGES + 1):
            items = self._get(path, {**parameters, "per_page": str(PAGE), "page": str(page)})
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise QueryError(ObservationStatus.ERROR, "is no list of GitHub's API: see url and repository")
            yield items
            if len(items) < PAGE:
                return
        self._notes.append(f"only the latest {MOST_PAGES * PAGE:,} {what} were read")

    def _get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        return self._client.get(f"{self._base}{path}", parameters, HEADERS)


def _commit(item: Document) -> Commit | None:
    about = as_map(item.get("commit"))
    at, name = moment(as_map(about.get("committer")).get("date")), commit_id(item.get("sha"))
    if at is None or not name:
        return None
    return Commit(sha=name, at=at, message=str(about.get("message") or ""), url=str(item.get("html_url") or ""))


def _file(item: Document) -> FileChange:
    path, before = str(item["filename"]), str(item.get("previous_filename") or "")
    patch = str(item.get("patch") or "")
    head = f"diff --git a/{before or path} b/{path}\n"
    return FileChange(path=path, previous_path=before, patch=f"{head}{patch}\n" if patch else "")
