"""The answer in one line; its words follow the probabilities."""

from collections.abc import Sequence

from activities.analysis.context import IncidentContext
from activities.analysis.parameters import DEFAULT, LIMITS
from activities.analysis.symptoms import ended_at, felt
from activities.reporting.memory import expectation
from workflows.contracts.finding import Finding, FindingFamily
from workflows.contracts.hypothesis import FaultKind, Hypothesis
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.report import Outcome, Verdict


def verdict_of(hypotheses: Sequence[Hypothesis], context: IncidentContext, findings: Sequence[Finding] = ()) -> Verdict:
    """The verdict that a ranking allows.

    Args:
        hypotheses: the ranking, best first.
        context: alerts and data gaps of the incident.
        findings: verified ones; without them nobody can say whether there is an incident at all.
    """
    entities = [item for item in hypotheses if item.entity is not None]
    known = expectation(hypotheses)
    expected = f"; {known}" if known else ""
    symptoms = felt(findings, DEFAULT)
    ended = ended_at(symptoms, context.alerting)
    over = f"; the symptom ended at {ended:%H:%M:%S}" if ended is not None else ""
    top = entities[0] if entities and entities[0].rank == 1 else None
    if top is None or top.probability < DEFAULT.candidate_from:
        outcome = _without_suspect(findings, symptoms, context, ended=ended is not None)
        said = {
            Outcome.NO_FAULT_FOUND: "No fault found: nothing that people feel is out of its usual range,",
            Outcome.RECOVERED: "Recovered; no root cause identified",
        }
        return Verdict(
            outcome=outcome,
            probability=hypotheses[0].probability,
            sentence=f"{said.get(outcome, 'No root cause identified')} for: {_alert(context)}{over}{expected}",
            recovered_at=ended,
            partial=_is_partial(context),
        )
    second = entities[1].probability if len(entities) > 1 else 0.0
    found = top.probability >= DEFAULT.found_from and top.probability - second >= DEFAULT.found_margin
    return Verdict(
        outcome=Outcome.CAUSE_FOUND if found else Outcome.CANDIDATES,
        entity=top.entity,
        fault_kind=top.fault_kind,
        fault_kind_probability=top.fault_kind_probability,
        probability=top.probability,
        change_id=top.change_id,
        sentence=f"{_found(top) if found else _candidates(entities)}{over}{expected}",
        recovered_at=ended,
        partial=_is_partial(context),
    )


def _without_suspect(
    findings: Sequence[Finding], symptoms: Sequence[Finding], context: IncidentContext, *, ended: bool
) -> Outcome:
    """Why nobody is suspected: it is over, there was nothing, or nobody can say."""
    if ended:
        return Outcome.RECOVERED
    looked_at = bool(context.alerting & context.measured) and not _is_partial(context)
    quiet = not symptoms and all(item.strength < DEFAULT.reported_from for item in findings if not _is_memory(item))
    return Outcome.NO_FAULT_FOUND if looked_at and quiet else Outcome.INCONCLUSIVE


def _is_memory(item: Finding) -> bool:
    return item.family in (FindingFamily.MEMORY, FindingFamily.CHANGE)


def kind_in_words(kind: FaultKind, probability: float) -> str:
    """A kind of fault as people read it: with its own probability, or that it is unclear."""
    if kind is FaultKind.UNKNOWN or probability < DEFAULT.kind_clear_from:
        return "unclear"
    return f"{kind.value} ({probability:.0%})"


def _found(top: Hypothesis) -> str:
    change = f", introduced by {top.change_id}" if top.change_id else ""
    return f"{top.entity} is the root cause ({top.probability:.0%}){change}; kind of fault: {_kind(top)}"


def _kind(top: Hypothesis) -> str:
    return kind_in_words(top.fault_kind, top.fault_kind_probability)


def _candidates(entities: Sequence[Hypothesis]) -> str:
    named = [item for item in entities[: LIMITS.candidates] if item.probability >= DEFAULT.candidate_from]
    listed = " or ".join(f"{item.entity} ({item.probability:.0%})" for item in named)
    change = f"; suspected change: {entities[0].change_id}" if entities[0].change_id else ""
    return f"The root cause may be {listed}{change}; kind of fault: {_kind(entities[0])}"


def _alert(context: IncidentContext) -> str:
    return context.alerts[0].title if context.alerts else "the alert"


def _is_partial(context: IncidentContext) -> bool:
    """Whether anything that was recorded could not be looked at."""
    lost = any(item.status is not ObservationStatus.NOT_RECORDED for item in context.data_gaps)
    return context.stopped_by is not None or lost or not context.has_telemetry
