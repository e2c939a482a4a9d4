"""The report and its progress in a terminal: one screen, the verdict last; everything on request."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from activities.reporting.verdict import kind_in_words
from workers.rendering.chart import sparkline
from workers.rendering.plain_text import model_lines, one_line, percent, queries_line, since_alert, source_lines
from workflows.contracts.finding import Finding
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.report import ObservationSummary, Owner, Report, ReportFindings, Verdict

WIDTH, LINES = 80, 25
"""A screen: what the short form fits on."""

PROOFS_SHOWN, STEPS_SHOWN, SUSPECTS_SHOWN, AFFECTED_SHOWN, CHAIN_SHOWN = 3, 3, 3, 4, 3
LEAST_PROBABLE = 0.05
"""Suspects below are left to `--full`."""

CHART_WIDTH = 16
_STYLES = {
    ObservationStatus.OK: "green",
    ObservationStatus.EMPTY: "dim",
    ObservationStatus.NOT_RECORDED: "dim",
    ObservationStatus.TRUNCATED: "yellow",
}


def print_report(console: Console, report: Report, *, full: bool = False) -> None:
    """The report; without `full` at most one screen, and always with the verdict as the last thing."""
    if full:
        for title, lines in _sections(report.findings).items():
            if lines:
                console.print(Text(title, style="bold"))
                console.print(Padding(Group(*lines), (0, 0, 1, 2)))
        console.print(_cost(report))
    else:
        for line in _screen(report):
            line.truncate(min(WIDTH, console.width), overflow="ellipsis")
            console.print(line, no_wrap=True)
    console.print(_verdict(report.findings.verdict))


def probe_line(item: ObservationSummary) -> Text:
    """One query and what became of it."""
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
        body.append(Text("Partial: some queries have no data.", style="yellow"))
    return Panel(Group(*body), title="Verdict", border_style=style, title_align="left")


def _screen(report: Report) -> Iterator[Text]:
    """At most `LINES` lines less what the verdict takes."""
    findings, verdict = report.findings, report.findings.verdict
    yield _heading("Suspects")
    for item in _suspects(findings)[:SUSPECTS_SHOWN]:
        yield _suspect(item)
    proofs = _proofs(findings)
    if proofs:
        yield _heading("Why")
    for finding in proofs[:PROOFS_SHOWN]:
        yield from _proof(finding)
    if verdict.change_id is not None:
        yield _labelled("Change", _change(findings))
    if findings.blast_radius:
        shown = ", ".join(one_line(item, 40) for item in findings.blast_radius[:AFFECTED_SHOWN])
        more = len(findings.blast_radius) - AFFECTED_SHOWN
        yield _labelled("Affected", f"{shown}{f' and {more} more' if more > 0 else ''}")
    if findings.owners:
        yield _labelled("Owners", ", ".join(_owner(item) for item in findings.owners[:AFFECTED_SHOWN]))
    for number, step in enumerate(findings.next_steps[:STEPS_SHOWN]):
        yield _labelled("Next" if number == 0 else "", step)
    gaps = sum(item.count for item in findings.data_gaps if item.status is not ObservationStatus.NOT_RECORDED)
    if gaps:
        yield _labelled("No data", f"{gaps} of {report.run.probes_planned} queries")
    yield Text(f"inquest show --full {report.run.investigation_id}", style="dim")


def _heading(title: str) -> Text:
    return Text(title, style="bold")


def _labelled(label: str, text: str) -> Text:
    return Text.assemble((f"{label:<9}", "bold"), one_line(text))


def _suspects(findings: ReportFindings) -> list[Hypothesis]:
    return [item for item in findings.hypotheses if item.probability >= LEAST_PROBABLE]


def _suspect(item: Hypothesis) -> Text:
    bar = "█" * round(item.probability * 10)
    name = one_line(item.entity or "no root cause identified", 40)
    kind = f"kind {kind_in_words(item.fault_kind, item.fault_kind_probability)}" if item.entity else ""
    return Text.assemble(f"  {percent(item.probability):>4} {bar:<10} ", (f"{name:<34}", "bold"), f" {kind}")


def _proofs(findings: ReportFindings) -> list[Finding]:
    """Findings that speak for the first suspect, in the order of their claims, which is that of their weight."""
    by_key = {item.key: item for item in findings.findings}
    supporting = {part.finding_key for item in findings.hypotheses[:1] for part in item.supporting}
    ordered = [key for claim in findings.claims for key in claim.findings]
    return [by_key[key] for key in ordered if key in supporting and key in by_key]


def _proof(finding: Finding) -> Iterator[Text]:
    chart = sparkline(finding.series, CHART_WIDTH)
    room = WIDTH - 4 - (len(chart) + 1 if chart else 0)
    yield Text.assemble(("  ✓ ", "green"), one_line(finding.summary, room).ljust(room), " ", (chart, "blue"))


def _change(findings: ReportFindings) -> str:
    change = findings.verdict.change_id
    found = next((item for item in findings.findings if item.family == "change" and item.signal == change), None)
    return found.summary if found is not None else str(change)


def _sections(findings: ReportFindings) -> dict[str, list[RenderableType]]:
    by_key = {item.key: item for item in findings.findings}
    evidence: list[RenderableType] = []
    for claim in [item for item in findings.claims if item.findings]:
        finding = by_key.get(claim.findings[0])
        chart = sparkline(finding.series) if finding else ""
        evidence.append(Text.assemble(("✓ ", "green"), one_line(claim.text, 200), "  ", (chart, "blue")))
    omitted = [Text(f"and {findings.findings_omitted} weaker ones")] if findings.findings_omitted else []
    return {
        "Suspects": [line for item in findings.hypotheses for line in _with_contributions(item)],
        "Causal chain": [Text(one_line(item.sentence)) for item in findings.causal_chain],
        "Timeline": [*_timeline(findings)],
        "Affected": [Text(", ".join(one_line(item, 60) for item in findings.blast_radius))]
        if findings.blast_radius
        else [],
        "Owners": [Text(f"{one_line(item.owner, 60)}: {_owned(item)}") for item in findings.owners],
        "Evidence, each evaluated again by code": [*evidence, *omitted],
        "Ruled out": [Text(f"{one_line(item.entity, 60)}: {one_line(item.reason)}") for item in findings.ruled_out],
        "No data": [
            Text(f"{item.tool} ({item.count}): {one_line(item.reason)}", style="yellow") for item in findings.data_gaps
        ],
        "Hints": [Text(one_line(item)) for item in findings.hints],
        "What people know": [
            Text(f"{one_line(item.subject, 60)}: {one_line(item.statement, 200)}; {one_line(item.why)}")
            for item in findings.facts
        ],
        "Past incidents": [Text(one_line(item)) for item in findings.recalled],
        "Written down about it": [*_passages(findings)],
        "What to look at next": [Text(one_line(item)) for item in findings.next_steps],
    }


def _owner(item: Owner) -> str:
    return f"{one_line(item.owner, 40)} ({one_line(item.owns[0], 40)})" if item.owns else one_line(item.owner, 40)


def _owned(item: Owner) -> str:
    return ", ".join(one_line(entity, 60) for entity in item.owns)


def _passages(findings: ReportFindings) -> Iterator[Text]:
    for item in findings.passages:
        where = " > ".join(part for part in (item.title, item.heading) if part)
        yield Text.assemble((one_line(where, 120), "bold"), f"  {one_line(item.why, 120)}")
        yield Text(f"  {one_line(item.text, 300)}")
        yield Text(f"  {one_line(item.location, 200)}", style="dim")


def _with_contributions(item: Hypothesis) -> Iterator[Text]:
    yield _suspect(item)
    if item.probability >= LEAST_PROBABLE:
        for part in (*item.supporting, *item.contradicting):
            yield Text(f"       {part.log_odds:+8.2f}  {one_line(part.reason, 120)}", style="dim")


def _timeline(findings: ReportFindings) -> Iterator[Text]:
    for item in findings.timeline:
        when = f"{item.at:%H:%M:%S} ({since_alert(item.at, findings.alert_at)}) "
        yield Text.assemble((when, "dim"), one_line(item.sentence))
    if findings.timeline_omitted:
        yield Text(f"and {findings.timeline_omitted} more findings", style="dim")


def _cost(report: Report) -> Text:
    run = report.run
    seconds = (run.finished_at - run.started_at).total_seconds()
    sources = "".join(f"{one_line(line)} · " for line in (*source_lines(run), *model_lines(run)))
    return Text(
        f"{queries_line(run)}, {seconds:.1f} s, "
        f"{run.bytes_stored:,} bytes of evidence, {run.tokens} tokens, {run.retries} retries · "
        f"{sources}investigation {run.investigation_id} · "
        f"findings {report.findings_sha256[:16]}",
        style="dim",
    )
