"""A Git repository at the other end of our HTTP client: commits, trees and single files, never the whole of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from dulwich.client import AbstractHttpGitClient
from dulwich.errors import GitProtocolError, HangupException
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Blob, Commit, ObjectID, ShaFile

from activities.telemetry.exceptions import QueryError
from activities.telemetry.http import SourceClient
from workflows.contracts.observation import ObservationStatus

TREES_ONLY = b"blob:none"
SUBMODULE = 0o160000
BROKEN = (GitProtocolError, HangupException, ValueError, KeyError, AssertionError, IndexError, OSError, EOFError)
"""What the library raises over an answer that is none of Git's."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """A file as it stands in one commit."""

    path: bytes
    mode: int
    name: ObjectID
    """Of its content."""

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

    def head(self, branch: str) -> ObjectID:
        """The commit at the tip of a branch; of the default one without a name.

        Raises:
            QueryError: there is none.
        """
        refs = self._asking(lambda: self._wire.get_refs(b"", protocol_version=2)).refs
        name = b"refs/heads/" + branch.encode() if branch else b"HEAD"
        found = refs.get(name)
        if found is None:
            raise QueryError(ObservationStatus.NOT_FOUND, f"there is no branch {branch or 'HEAD'}: see branch")
        return ObjectID(found)

    def fetch_history(self, head: ObjectID, since: datetime) -> None:
        """Commits and folders from `head` back to a moment, and of the commits before it the first."""
        seconds = str(int(since.timestamp()))
        try:
            self._fetch([head], filter_spec=TREES_ONLY, shallow_since=seconds)
        except QueryError as error:
            if error.status is not ObservationStatus.ERROR:
                raise
            self._fetch([head], filter_spec=TREES_ONLY, depth=1)  # nothing is as young as that
        lacking = {parent for commit in self.commits() for parent in commit.parents[:1] if parent not in self._objects}
        if lacking:
            self._fetch(sorted(lacking), filter_spec=TREES_ONLY, depth=1)

    def commits(self) -> Iterator[Commit]:
        """Every commit that was fetched."""
        for name in self._objects:
            found = self._objects[name]
            if isinstance(found, Commit):
                yield found

    def commit(self, name: ObjectID) -> Commit | None:
        """A commit, where it was fetched."""
        found = self._found(name)
        return found if isinstance(found, Commit) else None

    def differing(self, before: Commit | None, after: Commit) -> Iterator[Difference]:
        """What differs between two commits, renames not followed: that would need the files themselves."""
        old = before.tree if before is not None else None
        for paths, modes, names in self._objects.tree_changes(old, after.tree, want_unchanged=False):
            sides = [
                Side(path=path, mode=mode, name=name) if path is not None and mode is not None and name else None
                for path, mode, name in zip(paths, modes, names, strict=True)
            ]
            yield Difference(before=sides[0], after=sides[1])

    def fetch_files(self, names: Sequence[ObjectID]) -> None:
        """The contents of files, all at once.

        Raises:
            QueryError: the server does not give them, or they are too many.
        """
        lacking = [name for name in dict.fromkeys(names) if name not in self._objects]
        if lacking:
            self._fetch(lacking)

    def content(self, name: ObjectID | None) -> bytes | None:
        """What a file holds; None where it was not fetched."""
        found = None if name is None else self._found(name)
        return found.data if isinstance(found, Blob) else None

    def _found(self, name: ObjectID) -> ShaFile | None:
        try:
            return self._objects[name]
        except KeyError:
            return None

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
