"""Earlier incidents that looked much the same: shown with what they have in common, and, where a person confirmed the
cause, a bounded reason to look there first.
"""

from collections.abc import Iterator, Mapping

from activities.analysis.changes import UNPLACED
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.parameters import LIMITS, Parameters
from activities.analysis.signs import Key, Likeness, likeness, rarity, sign_key, signs_of
from activities.analysis.wording import name_of
from workflows.contracts.canonical import rounded
from workflows.contracts.feedback import Judgement
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.identifiers import EntityId
from workflows.contracts.past_incident import Sign
from workflows.contracts.predicate import Occurred
from workflows.contracts.probe import Tool

PAST: dict[Tool, list[str]] = {
    "past_incidents": [
        "investigation_id",
        "ts",
        "title",
        "entity",
        "sentence",
        "judgement",
        "cause",
        "alerting",
        "signs",
    ]
}
LATER: Mapping[str, str] = {
    Judgement.RIGHT: "confirmed",
    Judgement.WRONG: "rejected",
    Judgement.PARTLY: "called partly right",
}


@evidence_family(needs=PAST, reads_findings=True)
def find_past_incidents(given: AnalysisInput) -> list[Finding]:
    """A finding for each of the few past incidents that are alike enough; none where none is."""
    graph, parameters = given.evidence.graph, given.parameters
    now = signs_of(given.found, graph)
    found: list[tuple[float, Finding]] = []
    for answer in given.evidence.of("past_incidents"):
        rows = [row for row in answer.rows.iter_rows(named=True) if row["ts"] <= given.evidence.as_of]
        signs = [tuple(Sign.model_validate(sign) for sign in row["signs"]) for row in rows]
        weights = rarity([*signs, now])
        for row, then in zip(rows, signs, strict=True):
            same_alert = not given.evidence.alerting.isdisjoint(row["alerting"])
            shown = likeness(now, then, weights, parameters=parameters)
            value = _whole(shown, parameters, same_alert=same_alert)
            if value < parameters.past_alike_from:
                continue
            finding = given.factory.stated(
                family=FindingFamily.MEMORY,
                mechanism=Mechanism.CONFIRMED_CAUSE if row["cause"] else Mechanism.PAST_INCIDENT,
                entity=EntityId(row["cause"] or row["entity"] or UNPLACED),
                signal=str(row["investigation_id"]),
                summary=f"{row['ts']:%Y-%m-%d}, {_judged(row)}: {row['sentence']}",
                note=f"{value:.0%} alike: {_why(shown, same_alert=same_alert)}",
                direction=Direction.APPEARED,
                strength=value,
                fault_kinds={},
                predicate=Occurred(
                    probe_key=answer.probe.key,
                    select={name: str(row[name]) for name in ("investigation_id", "cause", "sentence")},
                    at=row["ts"],
                ),
                about=_about(given, shown),
            )
            found.append((value, finding))
    found.sort(key=lambda pair: (-pair[0], pair[1].mechanism is not Mechanism.CONFIRMED_CAUSE, pair[1].key))
    return [finding for _, finding in found[: LIMITS.past_incidents]]


def _whole(shown: Likeness, parameters: Parameters, *, same_alert: bool) -> float:
    alert = parameters.past_alert
    return rounded((1 - alert) * shown.value + alert * same_alert)


def _judged(row: Mapping[str, object]) -> str:
    said = LATER.get(str(row["judgement"]))
    cause = f"; the cause was {row['cause']}" if row["cause"] and row["cause"] != row["entity"] else ""
    return f"{said} by a person{cause}" if said else "not judged by anybody"


def _why(shown: Likeness, *, same_alert: bool) -> str:
    signs = [f"{mechanism.value.replace('_', ' ')} of {name_of(entity)}" for entity, mechanism in shown.shared]
    parts = ["the same alert"] if same_alert else []
    parts += signs[: LIMITS.shared_signs]
    return ", ".join(parts)


def _about(given: AnalysisInput, shown: Likeness) -> tuple[str, ...]:
    """The findings of today that were there then."""

    def keys() -> Iterator[tuple[Key, str]]:
        for item in sorted(given.found, key=lambda item: (-item.strength, item.key)):
            yield sign_key(item, given.evidence.graph), item.key

    strongest: dict[Key, str] = {}
    for key, finding in keys():
        strongest.setdefault(key, finding)
    return tuple(strongest[key] for key in shown.shared if key in strongest)
