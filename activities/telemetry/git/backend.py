"""Answers change probes from the history of a repository."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from dulwich.objects import Blob, ObjectID
from dulwich.patch import write_blob_diff

from activities.telemetry.backend import Answers
from activities.telemetry.changes import answered_in_part, change_rows
from activities.telemetry.git.config import GitConfig
from activities.telemetry.git.remote import Difference, GitRemote
from activities.telemetry.http import HttpBackend, SourceClient
from activities.telemetry.registry import Opening
from activities.telemetry.repository.commits import Commit, FileChange, Owners, changes_of
from activities.telemetry.repository.flags import may_hold_flags
from workflows.contracts.probe import ChangeProbe, Window

MOST_FILES = 1_000
"""Files of all commits whose contents are read."""

LARGEST_TEXT = 500_000
LONGEST_FILE, MOST_LINES = 10_000, 400_000
"""Lines of both versions of a file that are compared, and of all files: comparing long ones takes minutes."""


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
            head = remote.head(self._config.branch)
            if head is None:
                yield probe, answered_in_part(change_rows((), self._resolver()), probe, ())
                continue
            owners = Owners(self._config, self._resolver)
            history = _History(remote, self._config, probe.window, self._client)
            found = [change for commit in history.commits(head) for change in changes_of(commit, owners)]
            problems = [*history.problems, *remote.problems]
            yield probe, answered_in_part(change_rows(found, self._resolver()), probe, problems)


@dataclass
class _History:
    """What landed on a branch in a window."""

    remote: GitRemote
    config: GitConfig
    window: Window
    client: SourceClient
    lines_left: int = MOST_LINES
    problems: list[str] = field(default_factory=list)
    """What was left out."""

    def commits(self, head: ObjectID) -> Iterator[Commit]:
        """The commits, the latest first."""
        inside = [
            item
            for item in self.remote.history(head, self.window.start)
            if self.window.start <= item.at < self.window.end
        ]
        changed: dict[ObjectID, list[Difference] | None] = {}
        for item in inside[: self.config.most_diffs]:
            if self.client.given_up:
                self.problems.append("differences were not read: the time for queries was over")
                break
            changed[item.name] = self.remote.differing(item)
        self.remote.fetch_files(self._wanted(changed.values()))
        for item in inside:
            entries = changed.get(item.name)
            yield Commit(
                sha=item.name.decode(),
                at=item.at,
                message=item.message,
                files=None if entries is None else [self._file(entry) for entry in entries],
            )

    def _wanted(self, changed: Iterable[Sequence[Difference] | None]) -> list[ObjectID]:
        names = [side.name for entries in changed for entry in entries or () for side in entry.sides if side.is_file]
        if len(names) > MOST_FILES:
            self.problems.append(f"differences of the latest {MOST_FILES:,} of {len(names):,} files were read")
        return names[:MOST_FILES]

    def _file(self, entry: Difference) -> FileChange:
        path = entry.sides[-1].path.decode(errors="replace")
        before, after = [
            None if side is None else self.remote.content(side.name) for side in (entry.before, entry.after)
        ]
        lines = sum((content or b"").count(b"\n") for content in (before, after))
        if lines > LONGEST_FILE or lines > self.lines_left or self.client.given_up:
            return FileChange(path=path)
        self.lines_left -= lines
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
        (None, None, None) if side is None else (_readable(side.path), side.mode, Blob.from_string(content or b""))
        for side, content in both
    ]
    write_blob_diff(out, old, new)
    return out.getvalue().decode(errors="replace")


def _text(content: bytes | None) -> str | None:
    return None if content is None or len(content) > LARGEST_TEXT else content.decode(errors="replace")


def _readable(path: bytes) -> bytes:
    """The path as it can be written: Git's are any bytes."""
    return path.decode(errors="replace").encode()


def check(opening: Opening) -> list[str]:
    """Whether the repository answers, and where its branch stands."""
    assert isinstance(opening.config, GitConfig)
    client = SourceClient(opening.config)
    try:
        head = GitRemote(client, opening.config.url).head(opening.config.branch)
    finally:
        client.close()
    if head is None:
        return ["the repository has no commit"]
    return [f"{opening.config.branch or 'its default branch'} is at {head.decode()[:12]}"]
