"""The few calls to GitLab that are needed (REST API, version 4, https://docs.gitlab.com/api/rest/)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from activities.telemetry.documents import Document, as_map, clean, moment, rfc3339
from activities.telemetry.exceptions import QueryError
from activities.telemetry.gitlab.config import GitlabConfig
from activities.telemetry.http import SourceClient
from activities.telemetry.repository.commits import Commit, FileChange, commit_id
from activities.telemetry.repository.hosted import LOOK_BACK, MOST_PAGES, PAGE, Deployment
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Window


class GitlabApi:
    """Queries one project."""

    def __init__(self, client: SourceClient, config: GitlabConfig) -> None:
        self._client = client
        self._config = config
        self._base = f"/projects/{quote(config.project, safe='')}"
        self._parents: dict[str, str] = {}
        self._notes: list[str] = []

    def default_branch(self) -> str:
        """The project's; the health check."""
        return str(as_map(self._client.get(self._base)).get("default_branch") or "")

    @property
    def notes(self) -> Sequence[str]:
        """See `HostApi`."""
        return self._notes

    def commits(self, window: Window) -> Sequence[Commit]:
        """See `HostApi`."""
        parameters = {"since": rfc3339(window.start), "until": rfc3339(window.end), "first_parent": "true"}
        if self._config.branch:
            parameters["ref_name"] = self._config.branch
        found = []
        for item in self._pages("/repository/commits", parameters, "commits"):
            at, name = moment(item.get("committed_date")), commit_id(item.get("id"))
            if at is not None and name:
                parents = item.get("parent_ids")
                self._parents[name] = commit_id(parents[0]) if isinstance(parents, list) and parents else ""
                message, url = str(item.get("message") or ""), str(item.get("web_url") or "")
                found.append(Commit(sha=name, at=at, message=message, url=url))
        return found

    def files(self, commit: Commit) -> Sequence[FileChange]:
        """See `HostApi`."""
        items = self._pages(f"/repository/commits/{commit.sha}/diff", {}, "files of a commit")
        return [_file(item) for item in items if item.get("new_path")]

    def text(self, path: str, revision: str) -> str | None:
        """See `HostApi`."""
        address = f"{self._base}/repository/files/{quote(clean(path), safe='')}/raw"
        try:
            body = self._client.request("GET", address, {"ref": revision}, {"Accept": "*/*"})
        except QueryError as error:
            if error.status is ObservationStatus.NOT_FOUND:
                return None
            raise
        return body.decode(errors="replace")

    def parent(self, commit: Commit) -> str:
        """See `HostApi`."""
        return self._parents.get(commit.sha, "")

    def deployments(self, window: Window) -> Sequence[Deployment]:
        """See `HostApi`."""
        found: list[Deployment] = []
        for environment in self._config.environments or ("",):
            parameters = {
                "status": "success",
                "order_by": "updated_at",
                "sort": "desc",
                "updated_after": rfc3339(window.start - LOOK_BACK),
                **({"environment": environment} if environment else {}),
            }
            for item in self._pages("/deployments", parameters, "deployments"):
                at = moment(as_map(item.get("deployable")).get("finished_at")) or moment(item.get("updated_at"))
                if at is not None and at < window.end and commit_id(item.get("sha")):
                    found.append(_deployment(item, at))
        return sorted(found, key=lambda item: (item.at, item.id), reverse=True)

    def _pages(self, path: str, parameters: Mapping[str, str], what: str) -> Iterator[Document]:
        for page in range(1, MOST_PAGES + 1):
            given = {**parameters, "per_page": str(PAGE), "page": str(page)}
            items: Any = self._client.get(f"{self._base}{path}", given)
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise QueryError(ObservationStatus.ERROR, "is no list of GitLab's API: see url and project")
            yield from items
            if len(items) < PAGE:
                return
        self._notes.append(f"only the latest {MOST_PAGES * PAGE:,} {what} were read")


def _deployment(item: Document, at: datetime) -> Deployment:
    environment = as_map(item.get("environment"))
    return Deployment(
        id=str(item.get("id") or ""),
        at=at,
        sha=str(item.get("sha") or ""),
        environment=str(environment.get("name") or ""),
        url=str(as_map(item.get("deployable")).get("web_url") or ""),
    )


def _file(item: Document) -> FileChange:
    path, before = str(item["new_path"]), str(item.get("old_path") or item["new_path"])
    patch = str(item.get("diff") or "")
    head = f"diff --git a/{before} b/{path}\n"
    return FileChange(
        path=path, previous_path=before if before != path else "", patch=f"{head}{patch}" if patch else ""
    )
