"""Rows as they lie in the pages of a database file, for one whose tree does not lead to them any more.

Source: SQLite documentation, "Database File Format", 1.6 "B-tree Pages" (leaves of table trees, cells, overflow),
1.7 "Cell Payload Overflow Pages" and 2.1 "Record Format" (varints, serial types).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE_HEAD_BYTES = 100
_TABLE_LEAF, _LEAF_HEAD_BYTES = 0x0D, 8
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)
_FIRST_BLOB, _REAL, _ZERO, _ONE = 12, 7, 8, 9
_LONGEST_BYTES = 16 * 1024 * 1024
Value = int | bytes | str | None


def is_leaf(page: bytes, head: int) -> bool:
    """Say whether a page, whose head is at `head`, is the leaf of a table."""
    return len(page) > head + _LEAF_HEAD_BYTES and page[head] == _TABLE_LEAF


def cells(page: bytes, head: int) -> list[int]:
    """Give where in a leaf its rows begin, in the order of their numbers."""
    count = int.from_bytes(page[head + 3 : head + 5], "big")
    end = min(head + _LEAF_HEAD_BYTES + 2 * count, len(page) & ~1)
    places = struct.unpack(f">{(end - head - _LEAF_HEAD_BYTES) // 2}H", page[head + _LEAF_HEAD_BYTES : end])
    return [place for place in places if place >= end]


def rowid(page: bytes, place: int) -> int:
    """Give the number of the row in a cell. Raises IndexError for one that runs over the end."""
    return _varint(page, _varint(page, place)[1])[0]


def row(page: bytes, place: int, follow: Callable[[int], bytes]) -> tuple[int, list[Value]]:
    """Give a row with its number; `follow` gives another page. Raises IndexError or ValueError for what is none."""
    size, at = _varint(page, place)
    number, at = _varint(page, at)
    if size > _LONGEST_BYTES:
        raise ValueError(size)
    return number, list(_values(_payload(page, at, size, follow)))


def _payload(page: bytes, at: int, size: int, follow: Callable[[int], bytes]) -> bytes:
    usable = len(page)
    if size <= usable - 35:
        return _taken(page, at, size)
    least = (usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (usable - 4)
    local = local if local <= usable - 35 else least
    parts, left = [_taken(page, at, local)], size - local
    following = int.from_bytes(_taken(page, at + local, 4), "big")
    while left > 0:
        over = follow(following)
        part = over[4 : 4 + left]
        if not part:
            raise ValueError(following)
        parts.append(part)
        left -= len(part)
        following = int.from_bytes(over[:4], "big")
    return b"".join(parts)


def _values(payload: bytes) -> Iterator[Value]:
    end, at = _varint(payload, 0)
    types = []
    while at < end:
        kind, at = _varint(payload, at)
        types.append(kind)
    for kind in types:
        if kind < len(_INTEGER_BYTES):
            size = _INTEGER_BYTES[kind]
            yield int.from_bytes(_taken(payload, at, size), "big", signed=True) if size else None
        elif kind in (_ZERO, _ONE):
            size = 0
            yield kind - _ZERO
        elif kind >= _FIRST_BLOB:
            size = (kind - _FIRST_BLOB) // 2
            found = _taken(payload, at, size)
            yield found.decode() if kind % 2 else found
        else:
            raise ValueError(kind)  # no table of ours has real numbers
        at += size


def _taken(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise IndexError(at)
    return data[at : at + size]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Give a number of one to nine bytes, and where it ends."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return value, place + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9
