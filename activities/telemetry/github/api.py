"""The few calls to GitHub that are needed (REST API, version 2022-11-28, https://docs.github.com/rest)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from activities.telemetry.documents import Document, as_list, as_map, moment, rfc3339
from activities.telemetry.exceptions import QueryError
from activities.telemetry.github.config import GithubConfig
from activities.telemetry.http import SourceClient
from activities.telemetry.repository.commits import Commit, FileChange, first_parents
from activities.telemetry.repository.hosted import MOST_DEPLOYMENTS, MOST_PAGES, PAGE, Deployment
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
RAW = {**HEADERS, "Accept": "application/vnd.github.raw+json"}


class GithubApi:
    """Queries one repository."""

    def __init__(self, client: SourceClient, config: GithubConfig) -> None:
        self._client = client
        self._config = config
        self._base = f"/repos/{config.repository}"
        self._parents: dict[str, list[str]] = {}

    def default_branch(self) -> str:
        """The repository's; the health check."""
        return str(as_map(self._get("")).get("default_branch") or "")

    def commits(self, window: Window) -> Sequence[Commit]:
        """See `HostApi`."""
        parameters = {"since": rfc3339(window.start), "until": rfc3339(window.end)}
        if self._config.branch:
            parameters["sha"] = self._config.branch
        items = list(self._pages("/commits", parameters))
        found = {str(item["sha"]): item for item in items if isinstance(item.get("sha"), str)}
        self._parents = {
            name: [str(as_map(parent).get("sha")) for parent in as_list(item.get("parents"))]
            for name, item in found.items()
        }
        history = first_parents(self._parents, next(iter(found), ""))
        return [commit for name in history if (commit := _commit(name, found[name])) is not None]

    def files(self, commit: Commit) -> Sequence[FileChange]:
        """See `HostApi`."""
        document = as_map(self._get(f"/commits/{commit.sha}"))
        return [_file(as_map(item)) for item in as_list(document.get("files")) if as_map(item).get("filename")]

    def text(self, path: str, revision: str) -> str | None:
        """See `HostApi`."""
        try:
            body = self._client.request("GET", f"{self._base}/contents/{quote(path)}", {"ref": revision}, headers=RAW)
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
        for item in self._created_deployments(window):
            statuses = [as_map(status) for status in as_list(self._get(f"/deployments/{item['id']}/statuses"))]
            done = [
                at
                for status in statuses
                if status.get("state") == "success" and (at := moment(status.get("created_at")))
            ]
            if done and window.start <= min(done) < window.end:
                found.append(
                    Deployment(
                        id=str(item["id"]),
                        at=min(done),
                        sha=str(item.get("sha") or ""),
                        environment=str(item.get("environment") or ""),
                        url=str(next((status.get("log_url") or "" for status in statuses), "")),
                    )
                )
        return sorted(found, key=lambda item: (item.at, item.id), reverse=True)

    def _created_deployments(self, window: Window) -> list[Document]:
        wanted: list[Document] = []
        for environment in self._config.environments or ("",):
            parameters = {"environment": environment} if environment else {}
            for item in self._pages("/deployments", parameters):
                at = moment(item.get("created_at"))
                if at is None or at < window.start or len(wanted) >= MOST_DEPLOYMENTS:
                    break  # the latest come first
                if at < window.end and "id" in item:
                    wanted.append(item)
        return wanted

    def _pages(self, path: str, parameters: Mapping[str, str]) -> Iterator[Document]:
        for page in range(1, MOST_PAGES + 1):
            items = self._get(path, {**parameters, "per_page": str(PAGE), "page": str(page)})
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise QueryError(ObservationStatus.ERROR, "is no list of GitHub's API: see url and repository")
            yield from items
            if len(items) < PAGE:
                return

    def _get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        return self._client.get(f"{self._base}{path}", parameters, HEADERS)


def _commit(name: str, item: Document) -> Commit | None:
    about = as_map(item.get("commit"))
    at = moment(as_map(about.get("committer")).get("date"))
    if at is None:
        return None
    return Commit(sha=name, at=at, message=str(about.get("message") or ""), url=str(item.get("html_url") or ""))


def _file(item: Document) -> FileChange:
    path, before = str(item["filename"]), str(item.get("previous_filename") or "")
    patch = str(item.get("patch") or "")
    head = f"diff --git a/{before or path} b/{path}\n"
    return FileChange(path=path, previous_path=before, patch=f"{head}{patch}\n" if patch else "")
