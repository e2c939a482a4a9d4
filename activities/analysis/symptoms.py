"""Is there an incident at all? What people feel of it, and whether it has ended."""

from collections.abc import Collection, Sequence
from datetime import datetime

from activities.analysis.parameters import Parameters
from activities.analysis.ranking import CLUSTER, FAILURE, METRIC, SLOW, group_of
from workflows.contracts.finding import Finding, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId

FELT = frozenset((FaultKind.ERROR, FaultKind.LATENCY, FaultKind.CRASH))
"""Kinds of metrics that people feel: requests that fail or are slow, and what is down."""


def felt(findings: Sequence[Finding], parameters: Parameters) -> list[Finding]:
    """Findings of what people feel that are worth reporting: requests that fail or are slow, what is down or unwell.

    Args:
        findings: verified ones.
        parameters: numbers of the engine.
    """
    return [item for item in findings if item.strength >= parameters.reported_from and _is_felt(item)]


def ended_at(findings: Sequence[Finding], about: Collection[EntityId]) -> datetime | None:
    """When the symptom of an alert ended; None where it lasts, where there is none, or where its end cannot be seen.

    The symptom is what people feel of what alerts, in whichever series it shows; it has ended when each of them has.

    Args:
        findings: what people feel.
        about: what alerts.
    """
    own = [item for item in findings if item.entity in about or item.caller in about]
    ends = [item.ended for item in own if item.ended is not None]
    return max(ends) if own and len(ends) == len(own) else None


def _is_felt(item: Finding) -> bool:
    group = group_of(item)
    if group in (SLOW, FAILURE):
        return True
    if group == CLUSTER:
        return not item.note
    return group == METRIC and (item.mechanism is Mechanism.FIRING_ALERT or not FELT.isdisjoint(item.fault_kinds))
