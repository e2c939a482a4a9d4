"""Who feels the fault, and who is ruled out as its root cause."""

from activities.analysis.parameters import DEFAULT, LIMITS
from activities.reporting.conclusion import Conclusion
from workflows.contracts.finding import Finding, FindingFamily
from workflows.contracts.identifiers import EntityId
from workflows.contracts.report import Owner, RuledOut


def blast_radius(conclusion: Conclusion) -> tuple[EntityId, ...]:
    """What calls the suspect and shows something itself, or alerted."""
    suspect = conclusion.suspect
    if suspect is None:
        return ()
    felt = {item.entity for item in conclusion.strong}
    felt |= {item.caller for item in conclusion.findings if item.caller is not None and item.entity == suspect}
    context = conclusion.context
    return tuple(sorted((felt | context.alerting) & context.graph.upstream(suspect)))


def owners(conclusion: Conclusion) -> tuple[Owner, ...]:
    """Who owns the suspect, what alerts, and what else is affected."""
    suspect = conclusion.suspect
    touched = [*([suspect] if suspect is not None else []), *sorted(conclusion.context.alerting)]
    owned: dict[EntityId, list[EntityId]] = {}
    for entity in dict.fromkeys([*touched, *blast_radius(conclusion)]):
        for owner in sorted(conclusion.context.graph.owners_of(entity)):
            owned.setdefault(owner, []).append(entity)
    return tuple(Owner(owner=owner, owns=tuple(entities)) for owner, entities in owned.items())[: LIMITS.owners]


def ruled_out(conclusion: Conclusion) -> tuple[RuledOut, ...]:
    """Entities that show something, or alerted, and are hardly probable; the strongest sign first."""
    suspect = conclusion.suspect
    if suspect is None:
        return ()
    strongest: dict[EntityId, Finding] = {}
    for item in conclusion.seen:
        if item.family is not FindingFamily.CHANGE:
            strongest.setdefault(item.entity, item)
    upstream = conclusion.context.graph.upstream(suspect)
    rows = []
    for name, item in sorted(strongest.items(), key=lambda pair: (-pair[1].strength, pair[0])):
        probability = conclusion.probabilities.get(name, 0.0)
        weak = item.strength < DEFAULT.reported_from and name not in conclusion.context.alerting
        if weak or probability >= DEFAULT.ruled_out_below:
            continue
        why = f"calls {suspect}, which explains more" if name in upstream else "explains less of what was seen"
        rows.append(RuledOut(entity=name, reason=f"{why}; its strongest sign: {item.summary[:160]}"))
    return tuple(rows[: LIMITS.ruled_out])
