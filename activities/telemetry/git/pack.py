"""How large a pack would be unpacked, found out before it is: a few hundred kilobytes can stand for gigabytes."""

import zlib

from activities.telemetry.exceptions import QueryError
from workflows.contracts.observation import ObservationStatus

MOST_OBJECTS = 500_000
LARGEST_OBJECT = 64 * 1024 * 1024
LARGEST_PACK = 512 * 1024 * 1024
"""Bytes, unpacked."""

HEADER = 12
_OFS_DELTA, _REF_DELTA = 6, 7
_CHUNK = 262_144
_LONGEST_NUMBER = 10


def require_bounded(pack: memoryview) -> None:
    """Look at every entry of a pack, as https://git-scm.com/docs/pack-format describes it, holding none of them.

    Raises:
        QueryError: it holds more than may be unpacked, or is no pack.
    """
    if bytes(pack[:4]) != b"PACK" or len(pack) < HEADER:
        raise _damaged()
    count, at, total = int.from_bytes(pack[8:12], "big"), HEADER, 0
    if count > MOST_OBJECTS:
        raise _too_much(f"{count:,} objects")
    for _ in range(count):
        kind, size, at = _entry(pack, at)
        if kind == _OFS_DELTA:
            _, at = _number(pack, at)
        elif kind == _REF_DELTA:
            at += 20
        head, at = _inflated(pack, at, size)
        if kind in (_OFS_DELTA, _REF_DELTA):
            size = _target_size(head)
        total += size
        if size > LARGEST_OBJECT or total > LARGEST_PACK:
            raise _too_much(f"{total / 1e6:,.0f} MB")


def _entry(pack: memoryview, at: int) -> tuple[int, int, int]:
    """(type, declared size, where its data begins) of the entry at a place."""
    byte = _byte(pack, at)
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        at += 1
        byte = _byte(pack, at)
        size |= (byte & 0x7F) << shift
        shift += 7
        if shift > 60:
            raise _damaged()
    if size > LARGEST_OBJECT:
        raise _too_much(f"an object of {size / 1e6:,.0f} MB")
    return kind, size, at + 1


def _number(pack: memoryview, at: int) -> tuple[int, int]:
    """Skip a number of variable length; returns its last seven bits and what follows."""
    for place in range(at, at + _LONGEST_NUMBER):
        byte = _byte(pack, place)
        if not byte & 0x80:
            return byte, place + 1
    raise _damaged()


def _inflated(pack: memoryview, at: int, size: int) -> tuple[bytes, int]:
    """(the first bytes of an entry's data, where the next entry begins)."""
    unpacker, produced, head = zlib.decompressobj(), 0, b""
    try:
        while not unpacker.eof:
            chunk = pack[at : at + _CHUNK]
            if not len(chunk):
                raise _damaged()
            out = unpacker.decompress(chunk, max(1, size + 1 - produced))
            produced += len(out)
            if len(head) < 2 * _LONGEST_NUMBER:
                head += out[: 2 * _LONGEST_NUMBER]
            if produced > size:
                raise _damaged()
            at += len(chunk) - len(unpacker.unconsumed_tail) - len(unpacker.unused_data)
    except zlib.error as error:
        raise _damaged() from error
    return head, at


def _target_size(delta: bytes) -> int:
    """How large the object is that a delta makes."""
    at, size = 0, 0
    for number in range(2):
        size, shift = 0, 0
        while True:
            if at >= len(delta) or shift > 60:
                raise _damaged()
            byte = delta[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                break
        if number == 1 and size > LARGEST_OBJECT:
            raise _too_much(f"an object of {size / 1e6:,.0f} MB")
    return size


def _byte(pack: memoryview, at: int) -> int:
    if at >= len(pack):
        raise _damaged()
    return pack[at]


def _damaged() -> QueryError:
    return QueryError(ObservationStatus.ERROR, "the repository's answer cannot be used: it is no whole pack")


def _too_much(what: str) -> QueryError:
    return QueryError(
        ObservationStatus.TRUNCATED, f"the repository's answer would unpack to {what}: it is not unpacked"
    )
