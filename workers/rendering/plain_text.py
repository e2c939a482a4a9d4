"""Text from telemetry made safe to show: it is data, and must not act on the reader's screen or page."""

import re
from datetime import datetime

from workflows.contracts.report import ReportRun

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def one_line(text: str, limit: int = 300) -> str:
    """`text` without control and direction characters, on one line, cut at `limit` characters."""
    clean = _CONTROL.sub(" ", text).strip()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def markdown(text: str, limit: int = 300) -> str:
    """`text` on one line, with everything that Markdown would act on escaped."""
    escaped = _MARKDOWN.sub(r"\\\1", one_line(text, limit))
    return escaped.replace("://", ":\\//").replace("www.", "www\\.")


def since_alert(at: datetime, alert_at: datetime) -> str:
    """A moment relative to the alert: seconds within ten minutes of it, else minutes."""
    seconds = round((at - alert_at).total_seconds())
    return f"{seconds:+d} s" if abs(seconds) < 600 else f"{round(seconds / 60):+d} min"


def percent(probability: float) -> str:
    """A probability as people read it."""
    return f"{probability:.0%}"


def queries_line(run: ReportRun) -> str:
    """How many queries were run in how many looks, and how many were not worth one."""
    line = f"{run.probes_answered} of {run.probes_planned} queries"
    if run.rounds > 1:
        line += f" in {run.rounds} looks"
    if run.probes_left_open:
        why = "not run" if run.stopped_by else "not worth running"
        line += f", {run.probes_left_open} more {why}"
    return line


def model_lines(run: ReportRun) -> list[str]:
    """A line for each language model that was asked, and why one had no say."""
    lines = []
    for item in run.models:
        build = f", {item.fingerprint}" if item.fingerprint else ""
        bad = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(item.problems.items()))
        lines.append(
            f"model {item.model} at {item.endpoint}{build}: {item.calls} {'call' if item.calls == 1 else 'calls'}, "
            f"{item.tokens:,} tokens, {item.seconds:.1f} s{f' ({bad})' if bad else ''}"
        )
    if run.model_problem:
        lines.append(f"the model had no say: {run.model_problem.replace('_', ' ')}")
    return lines


def source_lines(run: ReportRun) -> list[str]:
    """What the investigation cost each source, one line each."""
    return [
        f"{item.source}: {item.queries} {'query' if item.queries == 1 else 'queries'}, {megabytes(item.bytes_received)}"
        for item in run.sources
    ]


def megabytes(size: int) -> str:
    """Bytes as people read them; little is said in kilobytes."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
