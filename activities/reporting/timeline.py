"""What happened in which order: each fact once, the root cause, its change and the alerts always among them."""

from activities.analysis.parameters import DEFAULT, LIMITS
from activities.reporting.conclusion import Conclusion
from workflows.contracts.finding import Finding, FindingFamily
from workflows.contracts.report import TimelineEntry


def timeline(conclusion: Conclusion) -> tuple[tuple[TimelineEntry, ...], int]:
    """The entries by time, and how many findings with a time were left out."""
    since = conclusion.context.alert_at - DEFAULT.timeline_lookback
    dated = [item for item in conclusion.findings if item.onset is not None and item.onset >= since]
    always = _always(conclusion, dated)
    worth = [item for item in dated if item in conclusion.strong and item.family is not FindingFamily.CHANGE]
    chosen: dict[str, Finding] = {}
    for item in (*always, *worth):
        if len(chosen) < LIMITS.timeline_entries:
            chosen.setdefault(item.summary, item)
    entries = [
        TimelineEntry(at=item.onset, entity=item.entity, sentence=item.summary, findings=(item.key,))
        for item in chosen.values()
        if item.onset is not None
    ]
    entries += [
        TimelineEntry(at=alert.starts_at, entity=alert.entity, sentence=f"alert: {alert.title}")
        for alert in conclusion.context.alerts
    ]
    left_out = {item.summary for item in worth} - chosen.keys()
    return tuple(sorted(entries, key=lambda entry: (entry.at, entry.sentence))), len(left_out)


def _always(conclusion: Conclusion, dated: list[Finding]) -> list[Finding]:
    """The change that is suspected, and the suspect's weightiest proof with a time."""
    change = conclusion.verdict.change_id
    changes = [item for item in dated if item.family is FindingFamily.CHANGE and item.signal == change]
    proofs = [item for item in conclusion.proofs() if item in dated and item.family is not FindingFamily.CHANGE]
    return changes[:1] + proofs[:1]
