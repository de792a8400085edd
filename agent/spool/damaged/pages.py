"""The pages of a damaged spool file and its log, looked through one by one for rows that its tables do not give.

One page that is lost may be what leads to hundreds of others, or to all. A record carries a checksum and is never
changed, so one that passes is what was written, also on an older copy of a page. Of the log only what was committed is
taken: the number of a record that was not was given again. What was acknowledged is believed only where it belongs, on
the one page that is never free: from a block of another file that came back it would hide records.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_right
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.spool import database
from agent.spool.damaged import btree
from agent.spool.log_end import FRAME_BYTES, committed
from agent.spool.room import size_of
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.spool.damaged.tables import Row

_USUAL_BYTES = 4096
_CHUNK_PAGES = 64
_GAP = 16
"""Numbers of a page that are further apart are held as two runs, so that a query finds few that do not matter."""
_MOST_ENDS = 50
_ACKNOWLEDGED_PAGE, _ACKNOWLEDGED_WIDTH, _NOTES_PAGE = 5, 3, 7
"""Of the tables of these names, in a file that was made by this layout; as long as they have but one."""
_NO_ROW = (IndexError, ValueError)


class Pages:
    """What was found; nothing is before all was looked through. Nothing here raises for what it finds."""

    def __init__(self, path: Path) -> None:
        self._path, self._log_path = path, Path(f"{path}-wal")
        self._size = _page_bytes(path)
        self._frames: dict[int, int] = {}
        self._first, self._last, self._place = array("q"), array("q"), array("q")
        self._reach = array("q")
        self._work = self._looked()
        self.is_done = False
        self.shapes: dict[int, list[str]] = {}
        """Texts by the numbers of shapes; which is right, the checksum of a record tells."""
        self.datings: set[tuple[Any, ...]] = set()
        self.acknowledged: set[tuple[int, int]] = set()
        self.notes: dict[str, str] = {}
        """Which spool it is, and what its checksums start from."""

    def look(self, until_s: float) -> bool:
        """Go on until a time; says whether all was looked through."""
        while not self.is_done and monotonic_s() < until_s:
            self.is_done = next(self._work, None) is None
        return self.is_done

    def rows(self, first: int, last: int) -> Iterator[Row]:
        """Give what look like records of a range, as (seq, at_ms, elapsed_ms, shape, body, crc), in no order."""
        n = bisect_right(self._first, last) - 1 if self.is_done else -1
        places = set()
        while n >= 0 and self._reach[n] >= first:
            if self._last[n] >= first:
                places.add(self._place[n])
            n -= 1
        for place in places:
            yield from self._rows_at(place, first, last)

    def outermost(self, *, is_newest: bool) -> Iterator[Row]:
        """Give what look like records, those with the highest numbers first, or with the lowest; not all of them."""
        if not self.is_done:
            return
        ends = self._last if is_newest else self._first
        for n in sorted(range(len(ends)), key=ends.__getitem__, reverse=is_newest)[:_MOST_ENDS]:
            found = self._rows_at(self._place[n], self._first[n], self._last[n])
            yield from sorted(found, key=lambda row: row[0], reverse=is_newest)

    def _looked(self) -> Iterator[bool]:
        """Look through all of it, with a pause after each piece."""
        with contextlib.suppress(OSError):
            for number, at in committed(self._log_path, self._size):
                if number:
                    self._frames[number] = at
                yield True
        chunk_bytes = _CHUNK_PAGES * self._size
        for at in range(0, size_of(self._path), chunk_bytes):
            chunk = _read(self._path, at, chunk_bytes)
            for begin in range(0, chunk_bytes, self._size):
                page = chunk[begin : begin + self._size]
                if not chunk:  # one by one where the disk does not give all
                    page = _read(self._path, at + begin, self._size)
                    yield True
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
        self._reach = array("q", accumulate(self._last, max))

    def _look_at(self, page: bytes, number: int, place: int) -> None:
        head = btree.FILE_HEAD_BYTES if number == 1 else 0
        kind = btree.kind(page, head)
        if kind in (btree.INDEX_LEAF, btree.INDEX_INNER):
            for at in btree.cells(page, head):
                with contextlib.suppress(*_NO_ROW):
                    values = btree.entry(page, head, at, self._size, self._followed)
                    self._keep_entry(values)
                    if number == _NOTES_PAGE:
                        self._keep_note(values)
        if kind != btree.TABLE_LEAF:
            return
        if any(_is_record(values) for _, values in self._rows_of(page, head)):
            self._remember(page, head, place)
            return
        for rowid, values in self._rows_of(page, head):
            self._keep(rowid, values)
            if number == _ACKNOWLEDGED_PAGE and len(values) == _ACKNOWLEDGED_WIDTH:
                self._keep_acknowledged(rowid, values)

    def _remember(self, page: bytes, head: int, place: int) -> None:
        """Note which records a page has, by runs. Where it may be torn, only those that look like some."""
        try:
            numbers = [btree.rowid(page, at) for at in btree.cells(page, head)]
        except IndexError:
            numbers = []
        if not numbers or not all(0 < b - a <= _GAP for a, b in pairwise(numbers)):
            numbers = sorted({number for number, values in self._rows_of(page, head) if _is_record(values)})
        before = None
        for number in numbers:
            if before is None or number - before > _GAP:
                self._first.append(number)
                self._last.append(number)
                self._place.append(place)
            self._last[-1] = before = number

    def _keep(self, number: int, values: list[Any]) -> None:
        """Keep the row of a small table, if it is one."""
        match values:
            case [None, str(text)]:
                self._keep_entry([text, number])
            case [None, int(), _, int(), _, _, int()]:
                plain = (number, *values[1:-1])
                if database.with_crc(*plain) == (number, *values[1:]):
                    self.datings.add(plain)

    def _keep_acknowledged(self, first: int, values: list[Any]) -> None:
        if isinstance(values[1], int) and database.with_crc(first, values[1])[-1] == values[2]:
            self.acknowledged.add((first, values[1]))

    def _keep_entry(self, values: list[Any]) -> None:
        """Keep a shape, which stands in its table and in an index."""
        match values:
            case [str(text), int(number)] if text not in self.shapes.get(number, ()):
                self.shapes.setdefault(number, []).append(text)

    def _keep_note(self, values: list[Any]) -> None:
        """Keep a note that never changes."""
        match values:
            case [("id" | database.BASE) as key, str(value), int()] if list(database.with_crc(key, value)) == values:
                self.notes[key] = value

    def _rows_at(self, place: int, first: int, last: int) -> Iterator[Row]:
        page, head = self._at(place)
        for at in btree.cells(page, head) if btree.kind(page, head) == btree.TABLE_LEAF else ():
            with contextlib.suppress(*_NO_ROW):
                if first <= btree.rowid(page, at) <= last:
                    number, values = btree.row(page, at, self._size, self._followed)
                    if _is_record(values):
                        yield number, *values[1:]

    def _rows_of(self, page: bytes, head: int) -> Iterator[tuple[int, list[Any]]]:
        for at in btree.cells(page, head):
            with contextlib.suppress(*_NO_ROW):
                yield btree.row(page, at, self._size, self._followed)

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
