"""Spans in OTLP's JSON form (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding)."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from activities.telemetry.documents import Document, as_list, as_map
from activities.telemetry.trace_search import Span, Trace

KINDS = {"1": "internal", "2": "server", "3": "client", "4": "producer", "5": "consumer"}
_HEX = re.compile(r"(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32})")
_NANOS_IN_MICRO = 1_000


def spans_in(document: Document) -> Iterator[tuple[str, Span]]:
    """(trace id, span) of everything in one `ExportTraceServiceRequest` or `TracesData`.

    Tempo wraps it into `trace`, calls `resourceSpans` `batches`, and writes ids in base64; all of it is read.
    """
    document = as_map(document.get("trace")) or document
    for batch in map(as_map, as_list(document.get("resourceSpans") or document.get("batches"))):
        resource = attributes_in(as_map(batch.get("resource")).get("attributes"))
        for scope in map(as_map, as_list(batch.get("scopeSpans") or batch.get("instrumentationLibrarySpans"))):
            for item in map(as_map, as_list(scope.get("spans"))):
                span = _span(item, resource)
                if span is not None:
                    yield id_in(item.get("traceId")), span


def by_trace(spans: Iterator[tuple[str, Span]]) -> list[Trace]:
    """Spans as traces, in the order in which they come first."""
    found: dict[str, list[Span]] = {}
    for trace_id, span in spans:
        found.setdefault(trace_id, []).append(span)
    return [Trace(trace_id=name, spans=items) for name, items in found.items()]


def _span(item: Document, resource: Mapping[str, str]) -> Span | None:
    begins, ends = nanos_in(item.get("startTimeUnixNano")), nanos_in(item.get("endTimeUnixNano"))
    service = resource.get("service.name", "")
    if begins is None or ends is None or not service:
        return None
    kind = str(item.get("kind") or "")
    status = str(as_map(item.get("status")).get("code") or "")
    return Span(
        span_id=id_in(item.get("spanId")),
        parent_id=id_in(item.get("parentSpanId")),
        name=str(item.get("name") or ""),
        start_us=begins // _NANOS_IN_MICRO,
        duration_us=max(0, ends - begins) // _NANOS_IN_MICRO,
        service=service,
        resource=resource,
        attributes={
            **attributes_in(item.get("attributes")),
            "span.kind": KINDS.get(kind, kind.removeprefix("SPAN_KIND_").lower()),
        },
        failed=status in ("2", "STATUS_CODE_ERROR"),
    )


def attributes_in(value: object) -> dict[str, str]:
    """Attributes as texts; lists and nested ones are left out."""
    found = {}
    for item in map(as_map, as_list(value)):
        for kind, content in as_map(item.get("value")).items():
            if kind == "boolValue":
                found[str(item.get("key"))] = str(content).lower()
            elif kind in ("stringValue", "intValue", "doubleValue"):
                found[str(item.get("key"))] = str(content)
    return found


def nanos_in(value: object) -> int | None:
    """Nanoseconds, which JSON holds as a number or as a text."""
    try:
        return int(value) if isinstance(value, int | str) else None
    except ValueError:
        return None


def id_in(value: object) -> str:
    """An id in hexadecimal digits, whether it was written so or in base64."""
    text = str(value or "")
    if not text or _HEX.fullmatch(text):
        return text.lower()
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        return text
