"""Commits as changes: one for each entity whose files a commit touches."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from activities.telemetry.documents import clean
from activities.telemetry.entities import Resolver
from activities.telemetry.repository.config import RepositoryConfig
from activities.telemetry.repository.flags import flag_changes
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.identifiers import EntityId

LONGEST_TITLE = 1_000
LONGEST_ID = 200
LONGEST_PATCH = 6_000
LONGEST_DETAIL = 64_000
MOST_TARGETS = 20
"""Entities of one commit; a commit that touches more changes nothing in particular."""

_COMMIT = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?")
_SUFFIX = re.compile(r"[-_.](?:deployment|statefulset|service|values|config|configmap)$")


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """What a commit did to one file."""

    path: str
    previous_path: str = ""
    """Where it was before, when it was moved."""

    patch: str = ""
    """The difference, as Git writes it; empty when it was not read, or the file is no text."""

    before: str | None = None
    after: str | None = None
    """Its whole text, of flag files only."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit of a branch's first-parent history: what landed, and when."""

    sha: str
    at: datetime
    message: str
    url: str = ""
    files: Sequence[FileChange] | None = None
    """None when they were not read."""


class Owners:
    """Which entity a path of a repository belongs to."""

    def __init__(self, config: RepositoryConfig, resolver: Callable[[], Resolver]) -> None:
        self._prefixes = sorted(config.paths.items(), key=lambda item: -len(item[0]))
        self._default = EntityId(config.target) if config.target is not None else None
        found = resolver()
        self._resolver = found
        self._known = found.known_by()
        self._names: dict[str, EntityId | None] = {}

    def of(self, path: str) -> EntityId | None:
        """The entity of a path; that of the repository when the path does not say."""
        for prefix, named in self._prefixes:
            if path.startswith(prefix):
                return EntityId(named)
        if self._default is not None:
            return self._default
        pure = PurePosixPath(path)
        for name in (_SUFFIX.sub("", pure.stem), *reversed(pure.parent.parts)):
            entity = self._called(name)
            if entity is not None:
                return entity
        return None

    @property
    def default(self) -> EntityId | None:
        """That of commits whose files are not known."""
        return self._default

    def _called(self, name: str) -> EntityId | None:
        if name not in self._names:
            entity = self._resolver.entity({"service": name})
            self._names[name] = entity if entity in self._known else None
        return self._names[name]


def changes_of(commit: Commit, owners: Owners) -> Iterator[Change]:
    """The changes that a commit made, those of feature flags apart."""
    title = (commit.message.strip().splitlines() or ["a commit without a message"])[0][:LONGEST_TITLE]
    short = commit.sha[:12]
    if commit.files is None:
        yield _change(
            commit, short, ChangeKind.COMMIT, target=owners.default, title=title, detail="its files were not read"
        )
        return
    by_entity: dict[EntityId | None, list[FileChange]] = {}
    for file in commit.files:
        by_entity.setdefault(owners.of(file.path), []).append(file)
    if len(by_entity) > MOST_TARGETS:
        by_entity = {None: list(commit.files)}
    for entity, files in sorted(by_entity.items(), key=lambda item: item[0] or ""):
        name = short if len(by_entity) == 1 else f"{short}:{entity or 'others'}"
        yield _change(commit, name, ChangeKind.COMMIT, target=entity, title=title, detail=_differences(files))
        for file in files:
            for flag, sentence in flag_changes(file.before, file.after):
                detail = f"{file.path}\n{file.patch}"[:LONGEST_DETAIL]
                yield _change(
                    commit, f"{short}:flag:{flag}", ChangeKind.FLAG, target=entity, title=sentence, detail=detail
                )
    if not by_entity:
        yield _change(commit, short, ChangeKind.COMMIT, target=owners.default, title=title, detail="")


def _change(commit: Commit, name: str, kind: ChangeKind, *, target: EntityId | None, title: str, detail: str) -> Change:
    text = f"{commit.url}\n{detail}" if commit.url else detail
    return change(name, commit.at, kind, target=target, title=title, detail=text, revision=commit.sha)


def change(
    name: str, at: datetime, kind: ChangeKind, *, target: EntityId | None, title: str, detail: str, revision: str
) -> Change:
    """A change out of what somebody else wrote: cleaned, and cut to what can be stored."""
    name = " ".join(clean(name).split())
    if len(name) > LONGEST_ID:
        name = f"{name[: LONGEST_ID - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return Change(
        id=name or "unnamed",
        at=at,
        kind=kind,
        target=target,
        title=" ".join(clean(title).split())[:LONGEST_TITLE],
        detail=clean(detail)[:LONGEST_DETAIL],
        revision=clean(revision)[:LONGEST_ID] or None,
    )


def _differences(files: Sequence[FileChange]) -> str:
    """Every path first, then as much of the differences as there is room for."""
    paths = [f"{file.previous_path} => {file.path}" if file.previous_path else file.path for file in files]
    parts, room = ["\n".join(paths)[:20_000]], 40_000
    for file in files:
        patch = file.patch
        if len(patch) > LONGEST_PATCH:
            patch = f"{patch[:LONGEST_PATCH]}\n(and {patch[LONGEST_PATCH:].count(chr(10))} lines more)"
        if not patch or len(patch) > room:
            continue
        room -= len(patch) + 1
        parts.append(patch)
    return "\n".join(parts)


def commit_id(value: object) -> str:
    """The name of a commit; empty where the value is none."""
    return value if isinstance(value, str) and _COMMIT.fullmatch(value) else ""


def first_parents(parents: Mapping[str, Sequence[str]], head: str) -> list[str]:
    """The first-parent history from `head` on, as far as it is known.

    Args:
        parents: of each known commit.
        head: where it begins.
    """
    found: list[str] = []
    while head in parents and len(found) <= len(parents):
        found.append(head)
        head = parents[head][0] if parents[head] else ""
    return found
