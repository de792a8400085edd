"""Rows as they lie in the pages of a database file, for one whose tree does not lead to them any more.

Source: SQLite documentation, "Database File Format", 1.6 "B-tree Pages" (kinds of pages, cells, how much of a payload
is in the cell), 1.7 "Cell Payload Overflow Pages" and 2.1 "Record Format" (varints, serial types).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE_HEAD_BYTES = 100
TABLE_LEAF, INDEX_LEAF, INDEX_INNER = 0x0D, 0x0A, 0x02
_LEAF_HEAD_BYTES, _INNER_HEAD_BYTES, _CHILD_BYTES = 8, 12, 4
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)
_FIRST_BLOB, _ZERO, _ONE = 12, 8, 9
_LONGEST_BYTES = 1024 * 1024
"""Longer than any record; a length that was damaged must not have the whole file read."""
Value = int | bytes | str | None


def kind(page: bytes, head: int) -> int:
    """Give what kind of page it is whose head is at `head`; 0 for one that is cut short."""
    return page[head] if len(page) > head + _INNER_HEAD_BYTES else 0


def cells(page: bytes, head: int) -> list[int]:
    """Give where the rows of a page begin, in their order."""
    begin = head + (_INNER_HEAD_BYTES if page[head] == INDEX_INNER else _LEAF_HEAD_BYTES)
    count = int.from_bytes(page[head + 3 : head + 5], "big")
    end = min(begin + 2 * count, begin + (len(page) - begin) // 2 * 2)
    places = struct.unpack(f">{(end - begin) // 2}H", page[begin:end])
    return [place for place in places if place >= end]


def rowid(page: bytes, place: int) -> int:
    """Give the number of the row in a cell of a leaf. Raises IndexError for one that runs over the end."""
    return _varint(page, _varint(page, place)[1])[0]


def row(page: bytes, place: int, page_bytes: int, follow: Callable[[int], bytes]) -> tuple[int, list[Value]]:
    """Give a row of a table with its number; `follow` gives another page.

    Raises IndexError or ValueError for what is none.
    """
    size, at = _varint(page, place)
    number, at = _varint(page, at)
    return number, list(_values(_payload(page, at, size, page_bytes, page_bytes - 35, follow)))


def entry(page: bytes, head: int, place: int, page_bytes: int, follow: Callable[[int], bytes]) -> list[Value]:
    """Give the values of an index in a cell, the number of the row last. Raises as `row` does."""
    size, at = _varint(page, place + (_CHILD_BYTES if page[head] == INDEX_INNER else 0))
    return list(_values(_payload(page, at, size, page_bytes, (page_bytes - 12) * 64 // 255 - 23, follow)))


def _payload(page: bytes, at: int, size: int, usable: int, most: int, follow: Callable[[int], bytes]) -> bytes:
    """Give what a cell holds, of which `most` bytes can stand in it; the rest is in a chain of other pages."""
    if size <= most:
        return _taken(page, at, size)
    if size > _LONGEST_BYTES:
        raise ValueError(size)
    least = (usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (usable - 4)
    local = local if local <= most else least
    parts, left = [_taken(page, at, local)], size - local
    following = int.from_bytes(_taken(page, at + local, 4), "big")
    passed: set[int] = set()
    while left > 0:
        over = b"" if following in passed else follow(following)
        passed.add(following)
        part = over[4 : 4 + left]
        if not part:
            raise ValueError(following)
        parts.append(part)
        left -= len(part)
        following = int.from_bytes(over[:4], "big")
    return b"".join(parts)


def _values(payload: bytes) -> Iterator[Value]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    for kind in kinds:
        size = 0
        if 0 <= kind < len(_INTEGER_BYTES):
            size = _INTEGER_BYTES[kind]
            yield int.from_bytes(_taken(payload, at, size), "big", signed=True) if size else None
        elif kind in (_ZERO, _ONE):
            yield kind - _ZERO
        elif kind >= _FIRST_BLOB:
            size = (kind - _FIRST_BLOB) // 2
            found = _taken(payload, at, size)
            yield found.decode() if kind % 2 else found
        else:
            raise ValueError(kind)  # no table of ours has real numbers
        at += size


def _taken(data: bytes, at: int, size: int) -> bytes:
    if size < 0 or at + size > len(data):
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
