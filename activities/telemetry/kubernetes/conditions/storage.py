"""Claims and volumes."""

from collections.abc import Iterator
from typing import Any

from activities.telemetry.kubernetes.rule import Cluster, Stated, rule


@rule("PersistentVolumeClaim")
def claim(item: Any, cluster: Cluster) -> Iterator[Stated]:
    """It waits for a volume, or has lost it; why, where the storage classes say."""
    phase = item.status.phase if item.status is not None else None
    if phase == "Lost":
        yield Stated(type="Phase", reason="ClaimLost", message="the volume it was bound to is gone")
    elif phase == "Pending":
        yield Stated(type="Phase", reason="ClaimPending", message=_why_pending(item, cluster))
    for condition in (item.status.conditions or ()) if item.status is not None else ():
        if condition.type == "FileSystemResizePending" and condition.status == "True":
            yield Stated(
                type=condition.type,
                reason=condition.type,
                message=condition.message or "",
                at=condition.last_transition_time,
            )


def _why_pending(item: Any, cluster: Cluster) -> str:
    name = item.spec.storage_class_name if item.spec is not None else None
    if not cluster.knows("StorageClass"):
        return "it waits for a volume"
    classes = cluster.facts.storage_classes
    if name and name not in classes:
        return f"the storage class {name} does not exist"
    defaults = [known for known, default in classes.items() if default]
    if name is None and not defaults:
        return "it names no storage class, and none is the default"
    if name is None and len(defaults) > 1:
        return f"several storage classes are the default: {', '.join(sorted(defaults))}"
    return "it waits for a volume"


@rule("PersistentVolume")
def volume(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """It failed to be reclaimed, or was released and nobody may have it."""
    phase = item.status.phase if item.status is not None else None
    at = getattr(item.status, "last_phase_transition_time", None)
    if phase == "Failed":
        yield Stated(type="Phase", reason="VolumeFailed", message=item.status.message or "", at=at)
    elif phase == "Released":
        yield Stated(type="Phase", reason="VolumeReleased", message="its claim is gone, and it is not free", at=at)
