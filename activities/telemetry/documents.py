"""Reading JSON documents of other people's APIs, in which anything may be missing or of another type."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

Document = Mapping[str, Any]
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def json_in(content: bytes) -> JsonValue:
    """A JSON document, half surrogates in its texts replaced: JSON can write them, and nothing can store them.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    document: JsonValue = json.loads(content)
    return _whole(document) if _ESCAPED_SURROGATE.search(content) else document


def _whole(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key.encode("utf-8", "replace").decode(): _whole(item) for key, item in value.items()}
    return value


def as_map(value: object) -> Document:
    """The value as an object; an empty one when it is none."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """The value as a list; an empty one when it is none."""
    return value if isinstance(value, list) else []


def moment(value: object) -> datetime | None:
    """An RFC 3339 moment, in UTC; None where the value is none, or names no time zone."""
    try:
        found = datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def clean(text: str) -> str:
    """The text as it can be stored: without half surrogates and control characters but tabs and line ends."""
    return _CONTROL.sub(" ", text.encode("utf-8", "replace").decode())


def rfc3339(moment: datetime) -> str:
    """A moment in UTC as APIs take it, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
