"""The report and its progress in a terminal."""

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from workers.rendering.chart import sparkline
from workers.rendering.plain_text import one_line, percent
from workflows.contracts.finding import Finding
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.report import ObservationSummary, Report, ReportFindings, Verdict

EVIDENCE_SHOWN = 8
TIMELINE_SHOWN = 14
_STYLES = {
    ObservationStatus.OK: "green",
    ObservationStatus.EMPTY: "dim",
    ObservationStatus.NOT_RECORDED: "dim",
    ObservationStatus.TRUNCATED: "yellow",
}


def print_report(console: Console, report: Report) -> None:
    """The whole report, most important first."""
    findings = report.findings
    console.print(_verdict(findings.verdict))
    console.print(_hypotheses(findings))
    for title, lines in _sections(findings).items():
        if lines:
            console.print(Text(title, style="bold"))
            console.print(Padding(Group(*lines), (0, 0, 1, 2)))
    console.print(_cost(report))


def probe_line(item: ObservationSummary) -> Text:
    """One probe and what became of it."""
    status = item.status or ObservationStatus.UNKNOWN
    line = Text("  ")
    line.append(f"{status.value:<13}", style=_STYLES.get(status, "red"))
    line.append(f"{item.tool:<9}")
    line.append(one_line(item.entity or "", 60).ljust(32))
    line.append(f"{item.row_count:>7} rows", style="dim")
    if item.detail and status is not ObservationStatus.NOT_RECORDED:
        line.append(f"  {one_line(item.detail, 120)}", style="yellow")
    return line


def finding_line(finding: Finding) -> Text:
    """One finding as it comes."""
    return Text.assemble(
        ("  found        ", "cyan"), (f"{finding.family.value:<9}", ""), one_line(finding.summary, 160)
    )


def _verdict(verdict: Verdict) -> Panel:
    style = "red" if verdict.entity else "yellow"
    body: list[RenderableType] = [Text(one_line(verdict.sentence, 400), style="bold")]
    if verdict.partial:
        body.append(Text("Partial: not everything could be looked at.", style="yellow"))
    return Panel(Group(*body), title="Verdict", border_style=style, title_align="left")


def _hypotheses(findings: ReportFindings) -> Table:
    table = Table(title="Hypotheses", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name in ("#", "entity", "fault", "probability", "why"):
        table.add_column(name, overflow="fold")
    for item in findings.hypotheses[:5]:
        bar = "█" * round(item.probability * 10)
        table.add_row(
            Text(str(item.rank)),
            Text(one_line(item.entity or "none of these", 60), style="bold" if item.rank == 1 else ""),
            Text(item.fault_kind.value),
            Text(f"{percent(item.probability):>4} {bar}"),
            Text(_why(item.supporting[0].reason if item.supporting else item.mechanism)),
        )
    return table


def _why(text: str) -> str:
    return one_line(text, 110)


def _sections(findings: ReportFindings) -> dict[str, list[RenderableType]]:
    by_key = {item.key: item for item in findings.findings}
    evidence: list[RenderableType] = []
    for claim in [item for item in findings.claims if item.findings][:EVIDENCE_SHOWN]:
        finding = by_key.get(claim.findings[0])
        chart = sparkline(finding.series) if finding else ""
        evidence.append(Text.assemble(("✓ ", "green"), one_line(claim.text, 200), "  ", (chart, "blue")))
    return {
        "Causal chain": [Text(one_line(item.sentence)) for item in findings.causal_chain],
        "Timeline": [
            Text.assemble((f"{item.at:%H:%M:%S} ", "dim"), one_line(item.sentence))
            for item in findings.timeline[:TIMELINE_SHOWN]
        ],
        "Blast radius": [Text(", ".join(one_line(item, 60) for item in findings.blast_radius))]
        if findings.blast_radius
        else [],
        "Evidence, each evaluated again by code": evidence,
        "Ruled out": [Text(f"{one_line(item.entity, 60)}: {one_line(item.reason)}") for item in findings.ruled_out],
        "Could not be looked at": [
            Text(f"{item.tool} ({item.count}): {one_line(item.reason)}", style="yellow") for item in findings.data_gaps
        ],
        "Hints": [Text(one_line(item)) for item in findings.hints],
        "Past incidents": [Text(one_line(item)) for item in findings.recalled],
    }


def _cost(report: Report) -> Text:
    run = report.run
    seconds = (run.finished_at - run.started_at).total_seconds()
    return Text(
        f"{run.probes_answered} of {run.probes_planned} questions, {seconds:.1f} s, "
        f"{run.bytes_stored:,} bytes of evidence, {run.tokens} tokens, {run.retries} retries · "
        f"investigation {run.investigation_id} · "
        f"findings {report.findings_sha256[:16]}",
        style="dim",
    )
