"""What was rolled out and reconfigured, from what the cluster keeps: revisions, and who wrote a ConfigMap when."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from activities.telemetry.kubernetes.facts import PodFacts, controller, key_of
from activities.telemetry.kubernetes.reader import ClusterReader
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.identifiers import EntityId

REVISION = "deployment.kubernetes.io/revision"
EARLIER_REVISIONS = "deployment.kubernetes.io/revision-history"
CAUSE = "kubernetes.io/change-cause"
LONGEST_DETAIL = 16_384
_LEFT_OUT = ("pod-template-hash", "kubectl.kubernetes.io/restartedAt", "controller-revision-hash")
_BY_MACHINE = frozenset(
    ("kube-controller-manager", "kube-apiserver", "kubelet", "leader-election", "kube-root-ca-cert-publisher")
)
EntityOf = Callable[[str, str], EntityId]


def rollouts(reader: ClusterReader, entity_of: EntityOf) -> Iterator[Change]:
    """One change for each revision of a Deployment, StatefulSet or DaemonSet that the cluster still has.

    The first one is left out: with it the workload began to be, and nothing that ran before was changed.
    """
    sets: dict[tuple[str, str], list[Any]] = {}
    for item in reader.each("ReplicaSet"):
        owner = controller(item.metadata)
        if owner is not None and owner[0] == "Deployment":
            sets.setdefault((key_of(item)[0], owner[1]), []).append(item)
    moved = {key_of(item): _last_rollout(item) for item in reader.each("Deployment")}
    for (namespace, name), revisions in sets.items():
        revisions.sort(key=_revision)
        before = None
        for item in revisions:
            if before is None and _revision(item) <= 1:
                before = item  # the workload's own beginning: nothing was changed
                continue
            again = (item.metadata.annotations or {}).get(EARLIER_REVISIONS)
            is_latest = item is revisions[-1]
            at = moved.get((namespace, name)) if again and is_latest else None
            yield _rollout(item, before, at or item.metadata.creation_timestamp, entity_of(namespace, name), name)
            before = item
    yield from _controller_revisions(reader, entity_of)


def _rollout(item: Any, before: Any, at: datetime, entity: EntityId, name: str) -> Change:
    number = _revision(item)
    cause = (item.metadata.annotations or {}).get(CAUSE)
    images = _images(item)
    return Change(
        id=f"rollout-{key_of(item)[0]}-{name}-{number}",
        at=at.astimezone(UTC),
        kind=ChangeKind.DEPLOY,
        target=entity,
        title=f"Rollout of {name}, revision {number}" + (f": {cause}" if cause else ""),
        detail=_difference(_template(before), _template(item)),
        revision=", ".join(images)[:1_024] or str(number),
    )


def _controller_revisions(reader: ClusterReader, entity_of: EntityOf) -> Iterator[Change]:
    found: dict[tuple[str, str, str], list[Any]] = {}
    for item in reader.each("ControllerRevision"):
        owner = controller(item.metadata)
        if owner is not None:
            found.setdefault((key_of(item)[0], *owner), []).append(item)
    for (namespace, kind, name), revisions in found.items():
        revisions.sort(key=lambda item: item.revision or 0)
        before: Any = {}
        for item in revisions:
            if not before and (item.revision or 0) <= 1:
                before = item.data if isinstance(item.data, Mapping) else {}
                continue
            data = item.data if isinstance(item.data, Mapping) else {}
            yield Change(
                id=f"rollout-{namespace}-{name}-{kind}-{item.revision}",
                at=item.metadata.creation_timestamp.astimezone(UTC),
                kind=ChangeKind.DEPLOY,
                target=entity_of(namespace, name),
                title=f"Rollout of {kind} {name}, revision {item.revision}",
                detail=_difference(before, data),
                revision=str(item.revision),
            )
            before = data


def config_changes(reader: ClusterReader, pods: Iterable[PodFacts], entity_of: EntityOf) -> Iterator[Change]:
    """The last time that a person or a pipeline wrote each ConfigMap that pods use."""
    users: dict[tuple[str, str], set[str]] = {}
    for pod in pods:
        for name in pod.config_maps:
            users.setdefault((pod.namespace, name), set()).add(pod.owner[1])
    for item in reader.each("ConfigMap"):
        namespace, name = key_of(item)
        written = [
            field
            for field in item.metadata.managed_fields or ()
            if field.time is not None and field.manager not in _BY_MACHINE
        ]
        if not written:
            continue
        last = max(written, key=lambda field: field.time)
        for workload in sorted(users.get((namespace, name), ())):
            yield Change(
                id=f"config-{namespace}-{name}-{workload}-{last.time:%Y%m%d%H%M%S}",
                at=last.time.astimezone(UTC),
                kind=ChangeKind.CONFIG,
                target=entity_of(namespace, workload),
                title=f"ConfigMap {name} written by {last.manager or 'somebody'}",
                detail="What it said before is not kept by the cluster.",
            )


def _revision(item: Any) -> int:
    text = (item.metadata.annotations or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _last_rollout(deployment: Any) -> datetime | None:
    for condition in (deployment.status.conditions or ()) if deployment.status is not None else ():
        if condition.type == "Progressing":
            found: datetime | None = condition.last_update_time
            return found
    return None


def _images(item: Any) -> list[str]:
    template = item.spec.template if item.spec is not None else None
    containers = template.spec.containers if template is not None and template.spec is not None else ()
    return [container.image for container in containers or () if container.image]


def _template(item: Any) -> Mapping[str, Any]:
    template = item.spec.template if item is not None and item.spec is not None else None
    document: dict[str, Any] = template.to_dict() if template is not None else {}
    about = document.get("metadata") or {}
    for part in ("labels", "annotations"):
        for name in _LEFT_OUT:
            (about.get(part) or {}).pop(name, None)
    return document


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What changed, as a unified diff of YAML; the whole of a first revision is no change of anything."""
    if not before:
        return ""
    old, new = [yaml.safe_dump(_plain(item), sort_keys=True).splitlines() for item in (before, after)]
    lines = difflib.unified_diff(old, new, "before", "after", lineterm="", n=2)
    return "\n".join(lines)[:LONGEST_DETAIL]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
