"""What is down at once because what it runs on is: several things of one host, and hardly anything elsewhere."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.graph import Graph
from activities.analysis.parameters import LIMITS
from activities.analysis.wording import name_of
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import AllOf


def says_down(item: Finding) -> bool:
    """Whether it says that something is not there: by its own word, or because nobody gets an answer."""
    if FaultKind.CRASH not in item.fault_kinds:
        return False
    unanswered = item.family in (FindingFamily.TRACE, FindingFamily.LOG) and item.caller is not None
    return unanswered or item.family in (FindingFamily.METRIC, FindingFamily.CLUSTER)


@evidence_family(needs={}, reads_findings=True)
def find_dead_hosts(given: AnalysisInput) -> Iterator[Finding]:
    """At most one finding per host: how many of what runs on it, and nowhere else, are down.

    Its strength is the part of those that are down, times the part that these are of all that is down, times how
    surely each of them is.
    """
    graph = given.evidence.graph
    down: dict[EntityId, Finding] = {}
    for item in given.found:
        if says_down(item) and item.strength >= given.parameters.host_down_from:
            known = down.get(item.entity)
            down[item.entity] = item if known is None or item.strength > known.strength else known
    everywhere = {graph.workload_of(name) for name in down}
    for host, units in sorted(_alone_on(graph).items()):
        if host in down:
            continue
        fallen = {unit: _fallen(unit, down, graph) for unit in sorted(units)}
        proofs = {unit: item for unit, item in fallen.items() if item is not None}
        if len(proofs) < given.parameters.host_least_down:
            continue
        own = {graph.workload_of(unit) for unit in proofs}
        sure = sum(item.strength for item in proofs.values()) / len(proofs)
        strength = sure * len(proofs) / len(units) * len(own) / len(everywhere | own)
        named = ", ".join(name_of(unit) for unit in list(proofs)[: LIMITS.named_on_a_host])
        onsets = [item.onset for item in proofs.values() if item.onset is not None]
        yield given.factory.stated(
            family=FindingFamily.CLUSTER,
            mechanism=Mechanism.DEAD_HOST,
            entity=host,
            signal="what runs on it",
            summary=f"{len(proofs):,} of {len(units):,} that run on {name_of(host)} alone are down: {named}",
            direction=Direction.APPEARED,
            strength=strength,
            fault_kinds={FaultKind.CRASH: 1.0},
            onset=min(onsets, default=None),
            predicate=_all(list(proofs.values())[: LIMITS.named_on_a_host]),
        )


def _all(proofs: Iterable[Finding]) -> AllOf:
    """That each of them holds."""
    parts = [item.predicate for item in proofs]
    return AllOf(parts=tuple(one for part in parts for one in (part.parts if isinstance(part, AllOf) else (part,))))


def _fallen(unit: EntityId, down: Mapping[EntityId, Finding], graph: Graph) -> Finding | None:
    """What says that it, or an instance of it, is down; the strongest."""
    found = [down[name] for name in (unit, *graph.instances.get(unit, ())) if name in down]
    return max(found, key=lambda item: (item.strength, item.key), default=None)


def _alone_on(graph: Graph) -> dict[EntityId, set[EntityId]]:
    """What runs on each host and on no other: workloads, and instances of workloads that run elsewhere too."""
    units: dict[EntityId, set[EntityId]] = defaultdict(set)
    for name, hosts in graph.hosts.items():
        whole = graph.workload_of(name)
        alone = whole if len(graph.hosts.get(whole, hosts)) == 1 else name
        if len(graph.hosts.get(alone, hosts)) == 1:
            for host in hosts:
                units[host].add(alone)
    return units
