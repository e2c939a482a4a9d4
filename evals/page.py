"""An evaluation as one self-contained HTML page: no script, no external address."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from sqlalchemy.exc import DataError

from evals.results import Calibration, CaseResult, EvaluationFile
from evals.scoring import names_root, names_root_cause, ranks, roots_of
from evals.tables import alert_tells
from workers.installation import Installation
from workers.rendering.chart import svg
from workers.rendering.plain_text import one_line, percent
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import InvestigationId
from workflows.contracts.report import Report

SIZE = 220


def render_evaluation(results: EvaluationFile, installation: Installation) -> str:
    """The whole evaluation; reports that are in this installation's ledger are unfolded below their cases."""
    reports = {item.investigation_id: _report(installation, item) for item in results.cases}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["one_line"] = one_line
    environment.filters["percent"] = percent
    environment.globals["chart"] = lambda item: Markup(svg(item.series, item.unit))  # noqa: S704 - numbers only
    environment.filters["reliability"] = lambda found: Markup(reliability(found))  # noqa: S704 - numbers only
    environment.globals["root_rank"] = root_rank
    environment.globals["alert_tells"] = alert_tells
    environment.globals["confusion"] = lambda group: confusion([item for item in results.cases if item.system == group])
    template = environment.from_string(files(__package__).joinpath("evaluation.html.jinja").read_text())
    return template.render(results=results, reports=reports, order=_order(results.cases))


def root_rank(case: CaseResult) -> float | None:
    """The rank of the best placed root; None where there is none to be found."""
    if case.truth is None or case.truth_problem is not None or case.truth.entity is None:
        return None
    return min(ranks(case.ranking, roots_of(case.truth), names_root))


@dataclass(frozen=True)
class Confusion:
    """How often which kind of fault was said of which."""

    said: tuple[str, ...]
    rows: dict[str, Counter[str]]
    """By the true kind."""


def confusion(cases: Sequence[CaseResult]) -> Confusion:
    """Of the first hypotheses that name a true root of a stated kind."""
    rows: dict[str, Counter[str]] = {}
    for case in cases:
        stated = case.truth is not None and case.truth.fault_kind is not FaultKind.UNKNOWN
        if stated and case.truth is not None and root_rank(case) == 1:
            rows.setdefault(case.truth.fault_kind.value, Counter())[case.ranking[0].fault_kind.value] += 1
    said = sorted({kind for counts in rows.values() for kind in counts})
    return Confusion(said=tuple(said), rows=dict(sorted(rows.items())))


def reliability(found: Calibration) -> str:
    """Stated probability against the share that was right, one disc a bin, its area the number of cases."""
    most = max(item.n for item in found.bins)
    discs = "".join(
        f'<circle cx="{item.mean_probability * SIZE:.1f}" cy="{(1 - item.share_right) * SIZE:.1f}" '
        f'r="{3 + 9 * (item.n / most) ** 0.5:.1f}"><title>{item.n} cases: said {item.mean_probability:.2f}, '
        f"right {item.share_right:.2f}</title></circle>"
        f'<text x="{item.mean_probability * SIZE:.1f}" y="{(1 - item.share_right) * SIZE - 14:.1f}" '
        f'text-anchor="middle">{item.n}</text>'
        for item in found.bins
    )
    points = " ".join(f"{item.mean_probability * SIZE:.1f},{(1 - item.share_right) * SIZE:.1f}" for item in found.bins)
    return (
        f'<svg class="reliability" viewBox="-14 -14 {SIZE + 28} {SIZE + 28}" width="{SIZE + 28}" height="{SIZE + 28}" '
        f'role="img" aria-label="reliability"><rect width="{SIZE}" height="{SIZE}"/>'
        f'<line x1="0" y1="{SIZE}" x2="{SIZE}" y2="0"/><polyline points="{points}"/>{discs}</svg>'
    )


def _order(cases: Sequence[CaseResult]) -> list[CaseResult]:
    """What went wrong first, whatever the system."""
    return sorted(cases, key=lambda item: (-_wrongness(item), item.system, item.case, item.repeat))


def _wrongness(case: CaseResult) -> float:
    """The rank of the root; first what came to no report, or named a root cause where nothing was wrong."""
    healthy = case.truth is not None and case.truth.entity is None and not case.truth.unnamed
    if case.failed is not None or (healthy and names_root_cause(case)):
        return float("inf")
    return root_rank(case) or 0.0


def _report(installation: Installation, case: CaseResult) -> Report | None:
    if not case.investigation_id:
        return None
    try:
        return installation.ledger(InvestigationId(case.investigation_id)).report()
    except DataError:
        return None  # the file names an investigation in a way of its own
