"""From the root cause up to what alerted, along calls of which a finding says that the fault travelled there."""

import heapq
from collections.abc import Iterable, Mapping

from activities.analysis.parameters import LIMITS
from activities.analysis.ranking import INHERITED_KINDS
from activities.reporting.conclusion import Conclusion
from workflows.contracts.finding import Finding, FindingFamily
from workflows.contracts.identifiers import EntityId
from workflows.contracts.report import CausalStep

Step = tuple[EntityId, EntityId]


def causal_chain(conclusion: Conclusion) -> tuple[CausalStep, ...]:
    """The best evidenced way from the suspect through its callers to what alerted.

    Every step has a finding: about the call itself, or a symptom of the caller that it would inherit from the callee.
    Where evidence does not reach an alerting entity, the way ends at the outermost caller that it reaches; without
    any evidenced step there is no chain.
    """
    suspect = conclusion.suspect
    if suspect is None:
        return ()
    evidence = _evidence_of_steps(conclusion, suspect)
    cost, before = _cheapest(suspect, evidence)
    reached = [name for name in cost if name != suspect]
    alerting = [name for name in reached if name in conclusion.context.alerting]
    outermost = [name for name in reached if not any(step[0] == name for step in evidence)]
    target = min(alerting or outermost or reached, key=lambda name: (cost[name], name), default=None)
    path: list[Step] = []
    while target is not None and target != suspect:
        path.append((before[target], target))
        target = before[target]
    return tuple(_step(step, evidence[step]) for step in reversed(path))


def _evidence_of_steps(conclusion: Conclusion, suspect: EntityId) -> dict[Step, list[Finding]]:
    """(callee, caller) with the findings that say so, the strongest first."""
    graph = conclusion.context.graph
    felt: dict[EntityId, list[Finding]] = {}
    for item in conclusion.strong:
        if item.family is not FindingFamily.CHANGE:
            felt.setdefault(item.entity, []).append(item)
    steps: dict[Step, list[Finding]] = {}
    for callee in sorted({suspect, *graph.upstream(suspect)}):
        for caller in sorted(graph.callers.get(callee, ())):
            found = [item for item in felt.get(callee, ()) if item.caller == caller]
            found += [item for item in felt.get(caller, ()) if _is_about(item, callee)]
            if found:
                steps[callee, caller] = sorted(found, key=lambda item: (-item.strength, item.key))
    return steps


def _is_about(item: Finding, callee: EntityId) -> bool:
    """Whether a finding of a caller is about its calls of `callee`, or a symptom that it may have inherited."""
    if item.caller == callee:
        return True
    kinds = item.fault_kinds
    return item.caller is None and bool(kinds) and INHERITED_KINDS.issuperset(kinds)


def _cheapest(
    start: EntityId, evidence: Mapping[Step, list[Finding]]
) -> tuple[dict[EntityId, float], dict[EntityId, EntityId]]:
    """Dijkstra's way from `start`; a step costs one, and more the weaker its best finding is."""
    callers: dict[EntityId, list[EntityId]] = {}
    for callee, caller in evidence:
        callers.setdefault(callee, []).append(caller)
    cost: dict[EntityId, float] = {}
    before: dict[EntityId, EntityId] = {}
    queue: list[tuple[float, EntityId, EntityId]] = [(0.0, start, start)]
    while queue:
        spent, here, origin = heapq.heappop(queue)
        if here in cost:
            continue
        cost[here], before[here] = spent, origin
        for caller in callers.get(here, ()):
            if caller not in cost:
                heapq.heappush(queue, (spent + 2 - evidence[here, caller][0].strength, caller, here))
    return cost, before


def _step(step: Step, findings: Iterable[Finding]) -> CausalStep:
    shown = list(findings)[: LIMITS.findings_of_a_step]
    callee, caller = step
    return CausalStep(
        source=callee,
        target=caller,
        sentence=f"{caller} calls {callee}: {shown[0].summary}"[:400],
        findings=tuple(item.key for item in shown),
    )
