"""One spelling for one value: canonical JSON and its SHA-256.

Equal findings must have equal digests on every machine and with every number of threads, so floating-point
numbers are rounded to stated significant digits before they are written.
"""

import hashlib
import json
import math

from pydantic import BaseModel, JsonValue

from workflows.contracts.identifiers import Digest

SIGNIFICANT_DIGITS = 6
"""Digits kept of every floating-point number that is published or hashed."""


def rounded(value: float, digits: int = SIGNIFICANT_DIGITS) -> float:
    """`value` with `digits` significant digits; zero has one spelling."""
    if value == 0 or not math.isfinite(value):
        return 0.0 if value == 0 else value
    return float(f"{value:.{digits - 1}e}")


def _canonical(value: JsonValue) -> JsonValue:
    match value:
        case bool() | None | str() | int():
            return value
        case float():
            return rounded(value)
        case list():
            return [_canonical(item) for item in value]
        case dict():
            return {key: _canonical(item) for key, item in value.items()}


def canonical_json(value: BaseModel | JsonValue) -> bytes:
    """The one JSON spelling of `value`: sorted keys, no spaces, rounded numbers, UTF-8."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(
        _canonical(plain), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(content: bytes) -> Digest:
    """Lower-case hexadecimal SHA-256 of `content`."""
    return Digest(hashlib.sha256(content).hexdigest())
