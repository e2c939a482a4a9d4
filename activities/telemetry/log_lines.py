"""What one line of a log says, in whichever of the usual shapes it was written: JSON, logfmt, or plain text."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_SEVERITY = ("severity_text", "detected_level", "severity", "level", "loglevel", "log_level", "lvl", "levelname")
_MESSAGE = ("message", "msg", "body", "event", "log")
_TRACE, _SPAN = ("trace_id", "traceid", "traceId", "trace"), ("span_id", "spanid", "spanId")
_NESTED_LIMIT = 65_536
_LOGFMT = re.compile(r'(?P<key>[A-Za-z_][\w.]*)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>\S*))')
_LEVELS = {
    "fatal": "critical",
    "panic": "critical",
    "crit": "critical",
    "emerg": "critical",
    "alert": "critical",
    "err": "error",
    "warn": "warning",
    "notice": "info",
    "information": "info",
    "dbg": "debug",
    "i": "info",
    "w": "warning",
    "e": "error",
    "f": "critical",
    "d": "debug",
}
_PLAIN = re.compile(
    r"^\W*(?:\S+\s+){0,4}?\W?(TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL|PANIC)\b"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line's parts; empty where it does not say."""

    severity: str
    message: str
    trace_id: str
    span_id: str


def line_of(text: str, about: Mapping[str, str]) -> Line:
    """The parts of a line.

    Args:
        text: as the source has it.
        about: what the source says beside it: labels of its stream, structured metadata.
    """
    fields: Mapping[str, object] = {}
    stripped = text.lstrip()
    if stripped.startswith("{") and len(stripped) <= _NESTED_LIMIT:
        fields = _json(stripped)
    elif "=" in text and (" msg=" in f" {text}" or " message=" in f" {text}"):
        fields = {match["key"]: _unquoted(match) for match in _LOGFMT.finditer(text)}
    severity = _first(about, _SEVERITY) or _first(fields, _SEVERITY) or _in_text(text if not fields else "")
    return Line(
        severity=level(severity),
        message=_whole(_first(fields, _MESSAGE) or text),
        trace_id=_first(about, _TRACE) or _first(fields, _TRACE),
        span_id=_first(about, _SPAN) or _first(fields, _SPAN),
    )


def _whole(text: str) -> str:
    """Half characters, which JSON can write and nothing can store, are replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def level(text: str) -> str:
    """One spelling for a severity: critical, error, warning, info, debug, trace, or as it was written."""
    plain = text.strip().lower()
    return _LEVELS.get(plain, plain if plain != "unknown" else "")


def _json(text: str) -> Mapping[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _unquoted(match: "re.Match[str]") -> str:
    quoted = match["quoted"]
    return match["plain"] or "" if quoted is None else quoted.replace('\\"', '"').replace("\\n", "\n")


def _first(fields: Mapping[str, object], names: tuple[str, ...]) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return ""


def _in_text(text: str) -> str:
    match = _PLAIN.match(text[:200])
    return match[1] if match else ""
