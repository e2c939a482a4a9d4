"""What Argo CD and Flux delivered, as their own objects say: which commit or chart, when, and to which workloads.

Sources: the status of Argo CD's Application (v1alpha1), of Flux' Kustomization (v1) and HelmRelease (v2), as their API
references describe them.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from activities.telemetry.documents import Document, as_list, as_map, moment
from activities.telemetry.kubernetes.reader import ClusterReader
from activities.telemetry.kubernetes.rollouts import EntityOf
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.identifiers import EntityId

WORKLOADS = frozenset(("Deployment", "StatefulSet", "DaemonSet", "CronJob"))


def deliveries(reader: ClusterReader, entity_of: EntityOf) -> Iterator[Change]:
    """One change for each delivery and workload; of a delivery that names no workload, one for its own name."""
    for item in reader.each("Application"):
        yield from _argo(item, entity_of)
    for item in reader.each("Kustomization"):
        yield from _kustomization(item, entity_of)
    for item in reader.each("HelmRelease"):
        yield from _helm(item, entity_of)


def _argo(item: Document, entity_of: EntityOf) -> Iterator[Change]:
    status, (namespace, name) = as_map(item.get("status")), _name(item)
    resources = [as_map(found) for found in as_list(status.get("resources"))]
    targets = [
        entity_of(str(found.get("namespace") or namespace), str(found["name"]))
        for found in resources
        if found.get("kind") in WORKLOADS and found.get("name")
    ]
    for entry in map(as_map, as_list(status.get("history"))):
        source = as_map(entry.get("source"))
        where = f"{source.get('repoURL', '')} {source.get('path', '')}".strip()
        yield from _changes(
            f"argo-{namespace}-{name}-{entry.get('id', '')}",
            moment(entry.get("deployedAt")),
            title=f"Argo CD delivered {name}",
            revision=str(entry.get("revision") or ""),
            detail=where,
            targets=targets or [entity_of(namespace, name)],
        )


def _kustomization(item: Document, entity_of: EntityOf) -> Iterator[Change]:
    status, (namespace, name) = as_map(item.get("status")), _name(item)
    entries = [str(as_map(found).get("id", "")) for found in as_list(as_map(status.get("inventory")).get("entries"))]
    targets = []
    for entry in entries:  # namespace_name_group_kind
        parts = entry.split("_")
        if len(parts) == 4 and parts[3] in WORKLOADS:
            targets.append(entity_of(parts[0], parts[1]))
    ready = next(
        (found for found in map(as_map, as_list(status.get("conditions"))) if found.get("type") == "Ready"), {}
    )
    revision = str(status.get("lastAppliedRevision") or "")
    if revision:
        yield from _changes(
            f"flux-{namespace}-{name}-{revision}",
            moment(ready.get("lastTransitionTime")),
            title=f"Flux applied {name}",
            revision=revision,
            detail=str(ready.get("message") or ""),
            targets=targets or [entity_of(namespace, name)],
        )


def _helm(item: Document, entity_of: EntityOf) -> Iterator[Change]:
    status, (namespace, name) = as_map(item.get("status")), _name(item)
    for entry in map(as_map, as_list(status.get("history"))):
        chart = f"{entry.get('chartName', '')} {entry.get('chartVersion', '')}".strip()
        yield from _changes(
            f"helm-{namespace}-{name}-{entry.get('version', '')}",
            moment(entry.get("lastDeployed")),
            title=f"Flux released {name}: {chart}",
            revision=str(entry.get("appVersion") or entry.get("chartVersion") or ""),
            detail=f"status {entry.get('status', 'unknown')}",
            targets=[entity_of(str(entry.get("namespace") or namespace), str(entry.get("name") or name))],
        )


def _changes(
    key: str, at: datetime | None, *, title: str, revision: str, detail: str, targets: Iterable[EntityId]
) -> Iterator[Change]:
    if at is None:
        return
    for target in sorted(set(targets)):
        yield Change(
            id=f"{key}-{target}"[:512],
            at=at.astimezone(UTC),
            kind=ChangeKind.DEPLOY,
            target=target,
            title=title[:1_024],
            detail=detail[:65_536],
            revision=revision[:1_024] or None,
        )


def _name(item: Document) -> tuple[str, str]:
    about = as_map(item.get("metadata"))
    return str(about.get("namespace") or ""), str(about.get("name") or "")
