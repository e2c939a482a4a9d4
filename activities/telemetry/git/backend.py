"""Answers change probes from the history of a repository."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO

from dulwich.objects import Blob, ObjectID
from dulwich.objects import Commit as GitCommit
from dulwich.patch import write_blob_diff

from activities.telemetry.backend import Answers
from activities.telemetry.changes import answered_in_part, change_rows
from activities.telemetry.exceptions import QueryError
from activities.telemetry.git.config import GitConfig
from activities.telemetry.git.remote import Difference, GitRemote
from activities.telemetry.http import HttpBackend, SourceClient
from activities.telemetry.registry import Opening
from activities.telemetry.repository.commits import Commit, FileChange, Owners, changes_of, first_parents
from activities.telemetry.repository.flags import may_hold_flags
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import ChangeProbe, Window

MOST_FILES = 1_000
"""Files of all commits whose contents are read."""

LARGEST_TEXT = 500_000


class GitBackend(HttpBackend):
    """One repository, open for one attempt at one step."""

    def __init__(self, opening: Opening) -> None:
        assert isinstance(opening.config, GitConfig)
        self._config = opening.config
        self._resolver = opening.resolver
        super().__init__(opening.config)

    def changes(self, probes: Sequence[ChangeProbe]) -> Answers:
        """What landed on the branch in the window, with the differences of the latest commits."""
        for probe in probes:
            remote = GitRemote(self._client, self._config.url)
            owners = Owners(self._config, self._resolver)
            history = _History(remote, self._config, probe.window)
            found = [change for commit in history.commits() for change in changes_of(commit, owners)]
            rows = change_rows(found, self._resolver())
            yield probe, answered_in_part(rows, probe, history.problems)


@dataclass(frozen=True)
class _History:
    """What landed on a branch in a window."""

    remote: GitRemote
    config: GitConfig
    window: Window
    problems: list[str] = field(default_factory=list)
    """What was left out."""

    def commits(self) -> Iterator[Commit]:
        """The commits, the latest first."""
        head = self.remote.head(self.config.branch)
        self.remote.fetch_history(head, self.window.start)
        known = {item.id.decode(): item for item in self.remote.commits()}
        parents = {name: [parent.decode() for parent in item.parents] for name, item in known.items()}
        inside = [
            known[name]
            for name in first_parents(parents, head.decode())
            if self.window.start <= _moment(known[name]) < self.window.end
        ]
        detailed = inside[: self.config.most_diffs]
        changed = {item.id: list(self._changed(item)) for item in detailed}
        try:
            self.remote.fetch_files(self._wanted(changed))
        except QueryError as error:
            self.problems.append(f"differences could not be read: {error.detail}")
        for item in inside:
            entries = changed.get(item.id)
            yield Commit(
                sha=item.id.decode(),
                at=_moment(item),
                message=item.message.decode(errors="replace"),
                files=None if entries is None else [self._file(entry) for entry in entries],
            )

    def _changed(self, commit: GitCommit) -> Iterator[Difference]:
        """What differs from the first parent; of a root, everything; of one whose parent is not there, nothing."""
        parent = commit.parents[0] if commit.parents else None
        before = self.remote.commit(parent) if parent is not None else None
        if parent is None or before is not None:
            yield from self.remote.differing(before, commit)

    def _wanted(self, changed: Mapping[ObjectID, Sequence[Difference]]) -> list[ObjectID]:
        names = [side.name for entries in changed.values() for entry in entries for side in entry.sides if side.is_file]
        return names[:MOST_FILES]

    def _file(self, entry: Difference) -> FileChange:
        path = entry.sides[-1].path.decode(errors="replace")
        before, after = [
            None if side is None else self.remote.content(side.name) for side in (entry.before, entry.after)
        ]
        patch = _patch(entry, before, after)
        flags = may_hold_flags(path, patch)
        return FileChange(
            path=path,
            patch=patch,
            before=_text(before) if flags else None,
            after=_text(after) if flags else None,
        )


def _patch(entry: Difference, before: bytes | None, after: bytes | None) -> str:
    """The difference of one file, as Git writes it; empty where a side that exists was not read."""
    both = ((entry.before, before), (entry.after, after))
    if any(side is not None and (content is None or len(content) > LARGEST_TEXT) for side, content in both):
        return ""
    out = BytesIO()
    old, new = [
        (None, None, None) if side is None else (side.path, side.mode, Blob.from_string(content or b""))
        for side, content in both
    ]
    write_blob_diff(out, old, new)
    return out.getvalue().decode(errors="replace")


def _text(content: bytes | None) -> str | None:
    return None if content is None or len(content) > LARGEST_TEXT else content.decode(errors="replace")


def _moment(commit: GitCommit) -> datetime:
    """When it was committed, by the clock of who did it."""
    try:
        return datetime.fromtimestamp(commit.commit_time, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def check(opening: Opening) -> list[str]:
    """Whether the repository answers, and where its branch stands."""
    assert isinstance(opening.config, GitConfig)
    client = SourceClient(opening.config)
    try:
        head = GitRemote(client, opening.config.url).head(opening.config.branch)
    finally:
        client.close()
    if not head:
        raise QueryError(ObservationStatus.EMPTY, "the repository has no commit")
    return [f"{opening.config.branch or 'its default branch'} is at {head.decode()[:12]}"]
