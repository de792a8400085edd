"""The pages of a damaged spool file and its log, looked through one by one for rows that its tables do not give.

One page that is lost may be what leads to hundreds of others, or to all. Each row carries a checksum of its own, so
what is found is what was written, wherever it lies; a row is never changed, so an older copy of a page is as good. Of
the log only what was committed is taken: the number of a row that was not was given again.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.spool import btree, database
from agent.spool.log_end import FRAME_BYTES, committed
from agent.spool.room import size_of
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Iterator

_USUAL_BYTES = 4096
_CHUNK_PAGES = 64
_LOOK_BACK = 64
_MOST_TORN = 1000
_NO_ROW = (IndexError, ValueError)
Row = tuple[Any, ...]


class Pages:
    """What was found so far; nothing is before the first `look`. Nothing here raises for what it finds."""

    def __init__(self, path: Path) -> None:
        self._path, self._log_path = path, Path(f"{path}-wal")
        self._size = _page_bytes(path)
        self._frames: dict[int, int] = {}
        self._first, self._last, self._place = array("q"), array("q"), array("q")
        self._torn: list[int] = []
        self._work = self._looked()
        self.is_done = False
        self.shapes: dict[int, list[str]] = {}
        """Texts by the numbers of shapes; which is right, the checksum of a record tells."""
        self.acknowledged: set[tuple[int, int]] = set()
        self.datings: set[tuple[Any, ...]] = set()

    def look(self, until_s: float) -> bool:
        """Go on until a time; says whether all was looked through."""
        while not self.is_done and monotonic_s() < until_s:
            self.is_done = next(self._work, None) is None
        return self.is_done

    def rows(self, first: int, last: int) -> Iterator[Row]:
        """Give what look like records of a range, as (seq, at_ms, elapsed_ms, shape, body, crc), in no order.

        Nothing before all was looked through.
        """
        if not self.is_done:
            return
        end = bisect_right(self._first, last)
        near = [n for n in range(max(0, end - _LOOK_BACK), end) if self._last[n] >= first]
        for place in [*(self._place[n] for n in near), *self._torn]:
            page, head = self._at(place)
            for at in btree.cells(page, head) if btree.is_leaf(page, head) else ():
                with contextlib.suppress(*_NO_ROW):
                    if first <= btree.rowid(page, at) <= last:
                        number, values = btree.row(page, at, self._followed)
                        if _is_record(values):
                            yield number, *values[1:]

    def outermost(self, *, is_newest: bool) -> Iterator[Row]:
        """Give what look like records, those with the highest numbers first, or the lowest."""
        ends = self._last if is_newest else self._first
        for n in sorted(range(len(ends)), key=ends.__getitem__, reverse=is_newest)[:_LOOK_BACK]:
            yield from sorted(self.rows(self._first[n], self._last[n]), key=lambda row: row[0], reverse=is_newest)

    def _looked(self) -> Iterator[bool]:
        with contextlib.suppress(OSError):
            for number, at in committed(self._log_path, self._size):
                self._frames[number] = at
                yield True
        chunk_bytes = _CHUNK_PAGES * self._size
        for at in range(0, size_of(self._path), chunk_bytes):
            chunk = _read(self._path, at, chunk_bytes)
            for begin in range(0, chunk_bytes, self._size):  # one by one where the disk does not give all
                page = chunk[begin : begin + self._size] or _read(self._path, at + begin, self._size)
                number = (at + begin) // self._size + 1
                self._look_at(page, number, number)
            yield True
        for number, frame in self._frames.items():
            self._look_at(self._at(-frame)[0], number, -frame)
            yield True
        order = sorted(range(len(self._first)), key=self._first.__getitem__)
        for name in ("_first", "_last", "_place"):
            found = getattr(self, name)
            setattr(self, name, array("q", (found[n] for n in order)))

    def _look_at(self, page: bytes, number: int, place: int) -> None:
        head = btree.FILE_HEAD_BYTES if number == 1 else 0
        if not btree.is_leaf(page, head):
            return
        if any(_is_record(values) for _, values in self._rows_of(page, head)):
            self._remember(page, head, place)
            return
        for row in self._rows_of(page, head):
            self._keep(*row)

    def _remember(self, page: bytes, head: int, place: int) -> None:
        """Note which records a page has; where their numbers do not rise it is torn, and may have any."""
        try:
            numbers = [btree.rowid(page, at) for at in btree.cells(page, head)]
        except IndexError:
            numbers = []
        if numbers and numbers == sorted(set(numbers)):
            self._first.append(numbers[0])
            self._last.append(numbers[-1])
            self._place.append(place)
        elif len(self._torn) < _MOST_TORN:
            self._torn.append(place)

    def _keep(self, number: int, values: list[Any]) -> None:
        """Keep the row of a small table, if it is one."""
        plain = (number, *values[1:-1])
        match values:
            case [None, str(text)]:
                if text not in self.shapes.setdefault(number, []):
                    self.shapes[number].append(text)
            case [None, int(), int()] if database.with_crc(*plain) == (number, *values[1:]):
                self.acknowledged.add((number, values[1]))
            case [None, int(), _, int(), _, _, int()] if database.with_crc(*plain) == (number, *values[1:]):
                self.datings.add(plain)

    def _rows_of(self, page: bytes, head: int) -> Iterator[tuple[int, list[Any]]]:
        for at in btree.cells(page, head):
            with contextlib.suppress(*_NO_ROW):
                yield btree.row(page, at, self._followed)

    def _followed(self, number: int) -> bytes:
        if number == 0:
            raise ValueError(number)  # the end, where more should come
        return self._at(-self._frames[number] if number in self._frames else number)[0]

    def _at(self, place: int) -> tuple[bytes, int]:
        """Give a page of the file, or (negative) a frame of the log, and where its head is."""
        is_first = place == 1 or place == -self._frames.get(1, 0)
        head = btree.FILE_HEAD_BYTES if is_first else 0
        if place > 0:
            return _read(self._path, (place - 1) * self._size, self._size), head
        return _read(self._log_path, FRAME_BYTES - place, self._size), head


def _read(path: Path, at: int, size: int) -> bytes:
    """Give a part of a file, less at its end, nothing where the disk does not give it."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(at)
            return file.read(size)
    except OSError:
        return b""


def _is_record(values: list[Any]) -> bool:
    match values:
        case [None, int(), None | int(), int(), bytes(), int()]:
            return True
    return False


def _page_bytes(path: Path) -> int:
    """Give the size of a page as the head of a file says, or what it usually is."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        found = int.from_bytes(file.read(18)[16:], "big")
        if 512 <= found <= 32768 and not found & (found - 1):
            return found
    return _USUAL_BYTES
