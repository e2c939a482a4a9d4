"""Jobs and CronJobs."""

import re
from collections.abc import Iterator
from typing import Any

from activities.telemetry.kubernetes.facts import controller
from activities.telemetry.kubernetes.rule import Cluster, Stated, rule

_FIELD = re.compile(r"(\*|\?|[\dA-Za-z]+(-[\dA-Za-z]+)?)(/\d+)?(,(\*|[\dA-Za-z]+(-[\dA-Za-z]+)?)(/\d+)?)*")
_LARGEST = (59, 23, 31, 12, 7)
_MACROS = frozenset(("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"))


@rule("Job")
def job(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """It failed, or is suspended by a person."""
    for condition in (item.status.conditions or ()) if item.status is not None else ():
        if condition.type == "Failed" and condition.status == "True":
            yield Stated(
                type="Failed",
                reason=condition.reason or "JobFailed",
                message=condition.message or "",
                at=condition.last_transition_time,
            )
    if item.spec is not None and item.spec.suspend and controller(item.metadata) is None:
        yield Stated(reason="JobSuspended", message="it is suspended")


@rule("CronJob")
def cron_job(item: Any, _cluster: Cluster) -> Iterator[Stated]:
    """It is suspended, or its schedule is none."""
    if item.spec is None:
        return
    if item.spec.suspend:
        yield Stated(reason="CronJobSuspended", message="it is suspended")
    if not is_schedule(item.spec.schedule or ""):
        yield Stated(reason="BadSchedule", message=f"{item.spec.schedule!r} is no schedule")


def is_schedule(text: str) -> bool:
    """Whether a text is a schedule of cron: five fields within their ranges, or one of the macros."""
    if text in _MACROS or re.fullmatch(r"@every \S+", text):
        return True
    fields = re.sub(r"^(CRON_)?TZ=\S+\s+", "", text).split()
    if len(fields) != len(_LARGEST) or not all(_FIELD.fullmatch(field) for field in fields):
        return False
    return all(
        int(number) <= largest
        for field, largest in zip(fields, _LARGEST, strict=True)
        for number in re.findall(r"(?<![/\w])\d+", field)
    )
