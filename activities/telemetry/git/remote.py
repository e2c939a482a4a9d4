"""A Git repository at the other end of our HTTP client: commits, trees and single files, never the whole of it.

What comes from the other end is not trusted: packs are measured before they are unpacked, folders are walked with an
end, and an object that cannot be read is left out.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from dulwich.client import AbstractHttpGitClient
from dulwich.errors import ApplyDeltaError, ChecksumMismatch, FileFormatException, GitProtocolError, HangupException
from dulwich.errors import WrongObjectException as WrongObjectError
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.pack import UnresolvedDeltas as UnresolvedDeltasError

from activities.telemetry.exceptions import QueryError
from activities.telemetry.git.pack import require_bounded
from activities.telemetry.http import SourceClient
from workflows.contracts.observation import ObservationStatus

TREES_ONLY = b"blob:none"
SUBMODULE = 0o160000
FOLDER = 0o040000
MOST_FOLDERS, MOST_FILES_OF_COMMIT = 20_000, 3_000
"""Looked at to find what one commit changed; more is a commit whose files are not read."""

LARGEST_FOLDER = 2_000_000
"""Bytes of one folder's own entries: some fifty thousand."""

DEEPER, MOST_FETCHES = 30, 5
"""Commits that are fetched behind the first that is too old, and how often: dates of commits need not be in order."""

BATCH = 200
"""Files of one request."""

BROKEN = (
    ApplyDeltaError,
    AssertionError,
    ChecksumMismatch,
    EOFError,
    FileFormatException,
    GitProtocolError,
    HangupException,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    UnresolvedDeltasError,
    ValueError,
    WrongObjectError,
    zlib.error,
)
"""What the library raises over an answer that is none of Git's."""


@dataclass(frozen=True, kw_only=True)
class Landed:
    """A commit that could be read."""

    name: ObjectID
    parents: tuple[ObjectID, ...]
    tree: ObjectID
    at: datetime
    """When it was committed, by the clock of who did it."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """A file or folder as it stands in one commit."""

    path: bytes
    mode: int
    name: ObjectID
    """Of its content."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.mode & 0o170000 == FOLDER

    @property
    def is_file(self) -> bool:
        """Whether it is one, and not a commit of another repository."""
        return self.mode != SUBMODULE


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One file that is not the same in two commits."""

    before: Side | None
    """None where it was added."""

    after: Side | None
    """None where it was removed."""

    @property
    def sides(self) -> Sequence[Side]:
        """Those there are."""
        return [side for side in (self.before, self.after) if side is not None]


class GitRemote:
    """Fetches into memory.

    The protocol is Git's second (https://git-scm.com/docs/protocol-v2): a filter leaves out the files, and single ones
    are fetched by their name afterwards. A server that cannot filter sends everything, up to the limits of the source.
    """

    def __init__(self, client: SourceClient, url: str) -> None:
        self._wire = _Wire(client, url)
        self._objects = MemoryObjectStore()
        self._problems: list[str] = []

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read."""
        return self._problems

    def head(self, branch: str) -> ObjectID | None:
        """The commit at the tip of a branch; of the default one without a name. None: there is no commit at all.

        Raises:
            QueryError: there is no such branch.
        """
        refs = self._asking(lambda: self._wire.get_refs(b"", protocol_version=2)).refs
        name = b"refs/heads/" + branch.encode() if branch else b"HEAD"
        found = refs.get(name)
        if found is None and any(refs.values()):
            raise QueryError(ObservationStatus.NOT_FOUND, f"there is no branch {branch or 'HEAD'}: see branch")
        return None if found is None else ObjectID(found)

    def history(self, head: ObjectID, since: datetime) -> list[Landed]:
        """The first-parent history from `head` back to a moment, and some commits before it."""
        seconds = str(int(since.timestamp()))
        try:
            self._fetch([head], filter_spec=TREES_ONLY, shallow_since=seconds)
        except QueryError as error:
            if error.status is not ObservationStatus.ERROR:
                raise
            self._fetch([head], filter_spec=TREES_ONLY, depth=1)  # nothing is as young as that
        for _ in range(MOST_FETCHES):
            chain = self._chain(head)
            following = chain[-1].parents[:1] if chain else ()
            if not following:
                break
            try:
                self._fetch(following, filter_spec=TREES_ONLY, depth=DEEPER)
            except QueryError as error:
                self._problems.append(f"the history before {chain[-1].at:%Y-%m-%d} could not be read: {error.detail}")
                break
            if all(item.at < since for item in self._chain(head)[len(chain) :]):
                break
        return self._chain(head)

    def _chain(self, head: ObjectID) -> list[Landed]:
        found: list[Landed] = []
        seen: set[ObjectID] = set()
        name: ObjectID | None = head
        while name is not None and name not in seen:
            seen.add(name)
            commit = self._landed(name)
            if commit is None:
                break
            found.append(commit)
            name = commit.parents[0] if commit.parents else None
        return found

    def _landed(self, name: ObjectID) -> Landed | None:
        """A commit, where it was fetched and can be read."""
        try:
            found = self._objects[name]
            if not isinstance(found, Commit):
                return None
            return Landed(
                name=name,
                parents=tuple(found.parents),
                tree=found.tree,
                at=datetime.fromtimestamp(found.commit_time, UTC),
                message=found.message.decode(errors="replace"),
            )
        except BROKEN:
            return None

    def differing(self, commit: Landed) -> list[Difference] | None:
        """What differs from the first parent, by path; renames are not followed. Of a root, everything.

        None: the parent was not fetched, or there are more folders or files than are looked at.
        """
        before = self._landed(commit.parents[0]) if commit.parents else None
        if commit.parents and before is None:
            return None
        found: list[Difference] = []
        waiting: list[tuple[bytes, ObjectID | None, ObjectID | None]] = [
            (b"", before.tree if before is not None else None, commit.tree)
        ]
        for _ in range(MOST_FOLDERS):
            if not waiting:
                return sorted(found, key=lambda item: item.sides[-1].path)
            path, old, new = waiting.pop()
            old_entries, new_entries = self._entries(path, old), self._entries(path, new)
            if old_entries is None or new_entries is None:
                return None
            for name in old_entries.keys() | new_entries.keys():
                sides = (old_entries.get(name), new_entries.get(name))
                if sides[0] == sides[1]:
                    continue
                folders = [side.name if side is not None and side.is_folder else None for side in sides]
                if any(folders):
                    waiting.append((name + b"/", folders[0], folders[1]))
                files = [side if side is not None and not side.is_folder else None for side in sides]
                if any(files):
                    found.append(Difference(before=files[0], after=files[1]))
            if len(found) > MOST_FILES_OF_COMMIT:
                return None
        return None

    def _entries(self, path: bytes, name: ObjectID | None) -> dict[bytes, Side] | None:
        """What a folder holds, by its whole path; None of one that is too large to be looked at."""
        if name is None:
            return {}
        try:
            found = self._objects[name]
            if not isinstance(found, Tree):
                return {}
            if found.raw_length() > LARGEST_FOLDER:
                return None
            return {
                path + item.path: Side(path=path + item.path, mode=item.mode, name=ObjectID(item.sha))
                for item in found.iteritems()
            }
        except BROKEN:
            return {}

    def fetch_files(self, names: Sequence[ObjectID]) -> None:
        """The contents of files, some at once; what a server does not give, or what is too large, is noted."""
        lacking = [name for name in dict.fromkeys(names) if name not in self._objects]
        waiting = [lacking[start : start + BATCH] for start in range(0, len(lacking), BATCH)]
        while waiting:
            batch = waiting.pop(0)
            try:
                self._fetch(batch)
            except QueryError as error:
                if error.status is ObservationStatus.TRUNCATED and len(batch) > 1:
                    middle = len(batch) // 2
                    waiting[:0] = [batch[:middle], batch[middle:]]
                    continue
                self._problems.append(f"differences of {len(batch)} files could not be read: {error.detail}")
                if error.status is not ObservationStatus.TRUNCATED:
                    return

    def content(self, name: ObjectID | None) -> bytes | None:
        """What a file holds; None where it was not fetched."""
        try:
            found = None if name is None else self._objects[name]
        except BROKEN:
            return None
        return found.data if isinstance(found, Blob) else None

    def _fetch(
        self,
        wanted: Sequence[ObjectID],
        *,
        filter_spec: bytes | None = None,
        shallow_since: str | None = None,
        depth: int | None = None,
    ) -> None:
        pack = BytesIO()
        self._asking(
            lambda: self._wire.fetch_pack(
                b"",
                lambda _refs, depth=None: list(wanted),  # noqa: ARG005 - the library names it
                _Nothing(),
                pack.write,
                depth=depth,
                filter_spec=filter_spec,
                protocol_version=2,
                shallow_since=shallow_since,
                progress=lambda _: None,
            )
        )
        if pack.tell():
            require_bounded(pack.getbuffer())
            self._asking(lambda: self._unpack(pack))

    def _unpack(self, pack: BytesIO) -> None:
        file, commit, abort = self._objects.add_pack()
        try:
            file.write(pack.getbuffer())
        except BaseException:
            abort()
            raise
        commit()

    def _asking(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except BROKEN as error:
            text = " ".join(str(error).split())[:200]
            raise QueryError(ObservationStatus.ERROR, f"the repository's answer cannot be used: {text}") from error


class _Nothing:
    """Tells a server that we have no commit at all."""

    shallow: frozenset[ObjectID] = frozenset()

    def ack(self, _name: ObjectID) -> None:
        """There is nothing to agree on."""

    def nak(self) -> None:
        """There is nothing to agree on."""

    def __next__(self) -> ObjectID | None:
        return None

    def update_shallow(self, _new: object, _old: object) -> None:
        """Nothing is kept for the next time."""


class _Wire(AbstractHttpGitClient):
    """The library's protocol over our client, with its limits and its policy of destinations."""

    def __init__(self, client: SourceClient, url: str) -> None:
        super().__init__(url, thin_packs=False, quiet=True)
        self._client = client

    def _http_request(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,  # noqa: ARG002 - an error is always one
    ) -> tuple[Any, Callable[[int], bytes]]:
        if not url.startswith(self._base_url):
            raise GitProtocolError(f"the server sends us to {url[:100]}")
        path = "/" + url.removeprefix(self._base_url)
        content = b"".join(data) if data is not None and not isinstance(data, bytes) else data
        body = self._client.request("GET" if content is None else "POST", path, {}, headers or {}, content)
        service = "advertisement" if content is None else "result"
        answer = SimpleNamespace(
            content_type=f"application/x-git-upload-pack-{service}", redirect_location=None, close=lambda: None
        )
        return answer, BytesIO(body).read
