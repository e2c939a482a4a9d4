"""UUIDv7 (RFC 9562): time first, so that keys of one day lie together."""

import secrets
import time
from uuid import UUID


def uuid7() -> str:
    """A fresh UUIDv7 in its usual spelling."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    return str(UUID(int=value))
