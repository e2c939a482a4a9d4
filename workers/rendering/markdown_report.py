"""The report as Markdown."""

from collections.abc import Iterator

from activities.reporting.verdict import kind_in_words
from workers.rendering.chart import sparkline
from workers.rendering.plain_text import markdown, model_lines, percent, queries_line, since_alert, source_lines
from workflows.contracts.finding import Finding
from workflows.contracts.report import RecalledPassage, Report, ReportedFact

FINDINGS_SHOWN = 12


def render_markdown(report: Report) -> str:
    """The whole report, sections without content left out."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    findings, run = report.findings, report.run
    yield f"# {markdown(findings.verdict.sentence)}"
    yield ""
    fired = f"{findings.alert_at:%Y-%m-%d %H:%M:%S %Z}, {findings.severity.value}"
    yield f"Alert: {markdown(findings.alert_title)} ({fired})"
    yield ""
    yield "## Suspects"
    yield ""
    by_key = {item.key: item for item in findings.findings}
    for hypothesis in findings.hypotheses[:5]:
        name = hypothesis.entity or "no root cause identified"
        kind = kind_in_words(hypothesis.fault_kind, hypothesis.fault_kind_probability)
        about = f", kind of fault {kind}" if hypothesis.entity else ""
        suspect = f"{hypothesis.rank}. **{markdown(name)}** {percent(hypothesis.probability)}{about}"
        yield f"{suspect}: {markdown(hypothesis.mechanism)}"
        for part in (*hypothesis.supporting[:4], *hypothesis.contradicting[:2]):
            yield f"   - {part.log_odds:+.2f} {markdown(part.reason)}"
    yield from _section("What to look at next", [markdown(item) for item in findings.next_steps])
    yield from _section("Causal chain", [markdown(item.sentence) for item in findings.causal_chain])
    yield from _section(
        "Timeline",
        [
            f"{item.at:%H:%M:%S} ({since_alert(item.at, findings.alert_at)}) {markdown(item.sentence)}"
            for item in findings.timeline
        ],
    )
    yield from _section("Affected", [markdown(item) for item in findings.blast_radius])
    yield from _section(
        "Owners",
        [f"{markdown(item.owner)}: {', '.join(markdown(entity) for entity in item.owns)}" for item in findings.owners],
    )
    yield from _section(
        "Evidence (verified by code)",
        [
            _evidence(by_key[claim.findings[0]], claim.text)
            for claim in findings.claims[:FINDINGS_SHOWN]
            if claim.findings and claim.findings[0] in by_key
        ],
    )
    yield from _section(
        "Ruled out", [f"{markdown(item.entity)}: {markdown(item.reason)}" for item in findings.ruled_out]
    )
    yield from _section(
        "No data",
        [
            f"{item.tool} of {markdown(item.entity or 'all')}, {item.count} times: {markdown(item.reason)}"
            for item in findings.data_gaps
        ],
    )
    yield from _section("Hints", [markdown(text) for text in findings.hints])
    yield from _section("What people know", [_fact(item) for item in findings.facts])
    yield from _section("Past incidents", [markdown(text) for text in findings.recalled])
    yield from _section("Written down about it", [_passage(item) for item in findings.passages])
    yield "## Run"
    yield ""
    yield f"- investigation `{run.investigation_id}`, findings `{report.findings_sha256[:16]}`"
    seconds = (run.finished_at - run.started_at).total_seconds()
    yield f"- {queries_line(run)}, {seconds:.1f} s"
    yield f"- {run.bytes_stored:,} bytes of evidence, {run.tokens} tokens, {run.retries} retries"
    yield from (f"- {markdown(line)}" for line in (*source_lines(run), *model_lines(run)))
    yield f"- engine {findings.engine_version}; {findings.claim_counts.rejected} claims rejected"


def _fact(item: ReportedFact) -> str:
    owner = f" ({markdown(item.owner)})" if item.owner else ""
    return f"**{markdown(item.subject)}**: {markdown(item.statement)}{owner}; {markdown(item.why)}"


def _passage(item: RecalledPassage) -> str:
    where = " > ".join(part for part in (item.title, item.heading) if part)
    return f"**{markdown(where)}** ({markdown(item.location)}; {markdown(item.why)}): {markdown(item.text)}"


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"## {title}"
        yield ""
        yield from (f"- {line}" for line in lines)
        yield ""


def _evidence(finding: Finding, text: str) -> str:
    chart = sparkline(finding.series)
    reference = f"`{finding.evidence[0].probe_key}`" if finding.evidence else ""
    return f"{markdown(text)} {chart} {reference}".rstrip()
