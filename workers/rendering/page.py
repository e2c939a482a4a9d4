"""The report as one self-contained HTML page: no script, no external address."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from activities.reporting.verdict import kind_in_words
from workers.rendering.chart import svg
from workers.rendering.plain_text import model_lines, one_line, percent, queries_line, since_alert, source_lines
from workflows.contracts.report import Report


def render_page(report: Report) -> str:
    """The whole report. Everything from telemetry is escaped by the template engine."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["one_line"] = one_line
    environment.filters["percent"] = percent
    environment.globals["chart"] = lambda item: Markup(svg(item.series, item.unit))  # noqa: S704 - numbers only
    environment.globals["kind"] = kind_in_words
    environment.globals["since_alert"] = lambda at: since_alert(at, report.findings.alert_at)
    template = environment.from_string(files(__package__).joinpath("report.html.jinja").read_text())
    return template.render(
        report=report,
        findings=report.findings,
        run=report.run,
        queries=queries_line(report.run),
        sources=[one_line(line) for line in (*source_lines(report.run), *model_lines(report.run))],
        by_key={item.key: item for item in report.findings.findings},
    )
