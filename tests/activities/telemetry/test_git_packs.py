"""Packs from a repository that nobody should trust: measured before they are unpacked, and never a surprise."""

import hashlib
import random
import zlib

import pytest

from activities.telemetry.exceptions import QueryError
from activities.telemetry.git.pack import LARGEST_OBJECT, require_bounded
from workflows.contracts.observation import ObservationStatus

BLOB, REF_DELTA = 3, 7


def number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def entry(kind: int, content: bytes, *, declared: int | None = None, head: bytes = b"") -> bytes:
    size = len(content) if declared is None else declared
    first, rest = kind << 4 | size & 15, size >> 4
    begin = bytes([first | 0x80]) + number(rest) if rest else bytes([first])
    return begin + head + zlib.compress(content)


def pack(*entries: bytes, count: int | None = None) -> bytes:
    body = b"PACK" + (2).to_bytes(4, "big") + (len(entries) if count is None else count).to_bytes(4, "big")
    body += b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def judged(content: bytes) -> ObservationStatus | None:
    try:
        require_bounded(memoryview(content))
    except QueryError as error:
        return error.status
    return None


def test_usual_packs_pass() -> None:
    delta = number(5) + number(2_000) + b"\x90\x05"
    assert judged(pack(entry(BLOB, b"hello"), entry(BLOB, b"x" * 300_000))) is None
    assert judged(pack(entry(BLOB, b"hello"), entry(REF_DELTA, delta, head=b"\x00" * 20))) is None


@pytest.mark.parametrize(
    ("what", "content", "status"),
    [
        ("a large object", pack(entry(BLOB, b"\x00" * (LARGEST_OBJECT + 1))), ObservationStatus.TRUNCATED),
        ("many objects", pack(*[entry(BLOB, b"\x00" * LARGEST_OBJECT)] * 9), ObservationStatus.TRUNCATED),
        (
            "a delta that grows",
            pack(entry(REF_DELTA, number(5) + number(10**12), head=b"\x00" * 20)),
            ObservationStatus.TRUNCATED,
        ),
        ("a number of objects", pack(count=10**9), ObservationStatus.TRUNCATED),
        ("a lie about the size", pack(entry(BLOB, b"\x00" * 10_000_000, declared=10)), ObservationStatus.ERROR),
        ("an end in between", pack(entry(BLOB, b"hello"))[:-25], ObservationStatus.ERROR),
        ("no pack", b"<html>login</html>", ObservationStatus.ERROR),
        ("nothing", b"", ObservationStatus.ERROR),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bomb_is_not_unpacked(what: str, content: bytes, status: ObservationStatus) -> None:
    assert judged(content) is status, what


def test_whatever_is_damaged_ends_in_a_status() -> None:
    rng = random.Random(7)
    good = pack(*[entry(BLOB, rng.randbytes(200)) for _ in range(20)])
    for _ in range(300):
        content = bytearray(good)
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        assert judged(bytes(content)) in (None, ObservationStatus.ERROR, ObservationStatus.TRUNCATED)
