"""Reports for people: hostile text stays text, charts stay finite."""

import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evals.offline import diagnose, evidence_of
from tests.conftest import RECORDINGS
from workers.rendering.chart import sparkline, svg
from workers.rendering.listing import span_of
from workers.rendering.markdown_report import render_markdown
from workers.rendering.page import render_page
from workers.rendering.plain_text import markdown, one_line
from workers.rendering.terminal import LINES, WIDTH, print_report
from workflows.contracts.identifiers import Digest, IncidentId, InvestigationId, Tenant
from workflows.contracts.report import Report, ReportRun

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), FINITE), max_size=80))
def test_charts_are_finite(points: list[tuple[float, float]]) -> None:
    drawing = svg(points)
    assert "nan" not in drawing
    assert "inf" not in drawing
    assert len(sparkline(points)) <= 40


@given(st.text(max_size=600))
def test_one_line_is_one_line_without_control_characters(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 300
    assert not any(char in line for char in "\n\r\x1b\x00\u202e\u2028\u061c\ufeff")


def test_markdown_does_nothing() -> None:
    text = markdown("[x](http://evil) <b> `c` **d** www.evil.example | # ~~e~~ ![i](http://evil)")
    assert re.search(r"(?<!\\)[\[\]<`*!|#~]", text) is None, "everything active is escaped"
    assert "://" not in text
    assert "www.e" not in text


def report_of(folder: Path) -> Report:
    """A recording's report, made without servers."""
    evidence, planned = evidence_of(folder)
    body = diagnose(evidence, probes_planned=planned)
    run = ReportRun(
        tenant=Tenant("default"),
        investigation_id=InvestigationId("01a20ea6-c9a2-7061-ac55-526e41b93a43"),
        incident_id=IncidentId("01a20ea6-c9a2-7061-ac55-526e41b93a42"),
        workflow_id="inv-1",
        started_at=evidence.as_of,
        finished_at=evidence.as_of,
        probes_planned=planned,
    )
    return Report(findings=body, findings_sha256=Digest("0" * 64), run=run)


@pytest.mark.parametrize("folder", sorted((RECORDINGS / "bundles").iterdir())[::4], ids=lambda folder: folder.name)
def test_the_short_report_is_one_screen_with_the_verdict_last(folder: Path) -> None:
    report, screen = report_of(folder), io.StringIO()
    print_report(Console(file=screen, width=WIDTH), report)
    lines = screen.getvalue().rstrip("\n").splitlines()
    assert len(lines) <= LINES
    assert max(len(line) for line in lines) <= WIDTH
    assert "Verdict" in next(line for line in reversed(lines) if line.startswith("╭"))
    assert lines[-1].startswith("╰")
    for drawn in (render_page(report), render_markdown(report)):
        assert "none of these" not in drawn
        assert (report.findings.verdict.entity or "No root cause identified") in drawn


def test_spans_of_time() -> None:
    assert span_of("12h") == timedelta(hours=12)
    with pytest.raises(typer.BadParameter, match="30m, 12h or 7d"):
        span_of("yesterday")
