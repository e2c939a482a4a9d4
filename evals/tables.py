"""Scores and comparisons for a terminal."""

from collections.abc import Iterator

from rich.text import Text

from evals.baselines import ALERTED
from evals.comparison import Comparison
from evals.deliberation import ChooserScore
from evals.memory_effect import MemoryScore
from evals.metamorphic import TransformationScore
from evals.no_fault import NoFaultScore
from evals.results import Abstention, EvaluationFile, GroupScores, Interval, RankScores
from evals.retrieval import RetrievalScore

ALERT_TELLS_FROM = 0.9
"""AC@1 of the alerted entity from which a suite says nothing about localisation."""


def score_lines(results: EvaluationFile) -> Iterator[Text]:
    """Ours and the baselines', by system."""
    for group in results.scores.systems if results.scores else ():
        yield Text(f"{group.group}: {group.cases} cases", "bold")
        for method, scores in _methods(group):
            figures = (scores.ac1, scores.ac3, scores.ac5, scores.avg5, scores.mrr)
            names = ("AC@1", "AC@3", "AC@5", "Avg@5", "MRR")
            cells = "  ".join(f"{name} {_shown(item)}" for name, item in zip(names, figures, strict=True))
            yield Text(f"  {method:<19} {cells}")
        yield from _verdicts(group.abstention)
        if group.kind_accuracy is not None:
            yield Text(f"  kind right: {_shown(group.kind_accuracy)}")
        if group.changes is not None:
            yield Text(f"  change right: {group.changes.right} of {group.changes.n}")
        if group.calibration is not None:
            yield Text(f"  calibration: Brier {group.calibration.brier:.3f}, ECE {group.calibration.ece:.3f}")
        if group.kind_calibration is not None:
            kinds = group.kind_calibration
            yield Text(f"  calibration of kinds: Brier {kinds.brier:.3f}, ECE {kinds.ece:.3f} over {kinds.n}")
        yield from _warnings(group)
        if group.failed or group.unscorable:
            yield Text(f"  {group.failed} without a report, {group.unscorable} without a usable truth", "yellow")


def retrieval_line(row: RetrievalScore) -> Text:
    """One ranking of passages."""
    figures = (("nDCG@10", row.ndcg), ("recall@5", row.recall), ("MRR", row.mrr))
    return Text(f"  {row.ranking:<26} " + "  ".join(f"{name} {_shown(item)}" for name, item in figures))


def memory_line(row: MemoryScore) -> Text:
    """What one memory does to one system's cases."""
    repeated = f"  where the fault recurs {_shown(row.repeated)}" if row.repeated is not None else ""
    return Text(f"{row.system}, memory {row.memory:<20} AC@1 {_shown(row.all_cases)}{repeated}")


def chooser_line(row: ChooserScore) -> Text:
    """What one chooser makes of one system's cases."""
    change = f"change {_shown(row.change)}  " if row.change is not None else ""
    return Text(
        f"{row.system}, {row.chooser:<20} AC@1 {_shown(row.first)}  entity and kind {_shown(row.kind)}  {change}"
        f"asked {row.asked:.0%}  tokens {row.tokens:,.0f}"
    )


def transformation_line(row: TransformationScore) -> Text:
    """What one transformation does to one system's cases."""
    return Text(
        f"{row.system}, {row.transformation:<24} "
        f"AC@1 {_shown(row.plain)} as recorded, {_shown(row.transformed)} told otherwise"
    )


def no_fault_line(row: NoFaultScore) -> Text:
    """How often one system's ordinary periods accuse somebody."""
    return Text(f"{row.system}, no fault: accused {_shown(row.accused)}  named at all {_shown(row.suspected)}")


def _verdicts(abstained: Abstention) -> Iterator[Text]:
    if abstained.incidents:
        yield Text(
            f"  verdicts: {abstained.right_verdicts} right, {abstained.wrong_verdicts} wrong, "
            f"{abstained.missed} without a root cause, of {abstained.incidents}"
        )
    if abstained.healthy:
        yield Text(f"  healthy: {abstained.false_alarms} of {abstained.healthy} named a root cause")
    if abstained.unnamed:
        missed = f"{abstained.unnamed_missed} without a root cause"
        yield Text(f"  incidents of which nobody says where: {abstained.unnamed}, {missed}")


def _warnings(group: GroupScores) -> Iterator[Text]:
    if alert_tells(group):
        yield Text(
            "  the alert names the root cause: these cases measure kind, change and abstention, not localisation",
            "yellow",
        )
    if group.verdict_against_ranking:
        yield Text(f"  verdict against ranking: {', '.join(group.verdict_against_ranking)}", "red bold")


def alert_tells(group: GroupScores) -> bool:
    """Whether naming the alerted entity is nearly always right, so that localisation is not measured."""
    alerted = group.baselines.get(ALERTED)
    return alerted is not None and alerted.ac1.value >= ALERT_TELLS_FROM


def comparison_lines(comparison: Comparison) -> Iterator[Text]:
    """Differences by system, then the cases that changed."""
    for group in comparison.groups:
        style = "red bold" if group.regressed else ""
        yield Text(
            f"{group.group}: AC@1 {group.before:.3f} -> {group.after:.3f}, difference {group.difference.value:+.3f} "
            f"[{group.difference.low:+.3f}, {group.difference.high:+.3f}] over {group.difference.n} cases, "
            f"{group.lost} lost, {group.won} won, McNemar p {group.p_value:.3f}",
            style,
        )
    for case in comparison.cases:
        yield Text(f"{case.system} {case.case}: {case.sentence}", "yellow" if case.worse else "green")
        for line in case.moved:
            yield Text(f"    {line}", "dim")
    for name in comparison.missing:
        yield Text(f"{name}: only in one of the two", "yellow")


def _methods(group: GroupScores) -> Iterator[tuple[str, RankScores]]:
    if group.entity is not None:
        yield "inquest", group.entity
    if group.entity_and_kind is not None:
        yield "inquest, and kind", group.entity_and_kind
    yield from group.baselines.items()


def _shown(item: Interval) -> str:
    return f"{item.value:.3f} [{item.low:.2f}-{item.high:.2f}]"
