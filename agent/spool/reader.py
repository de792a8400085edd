"""Reads a spool beside its writer: records in order of seq, by time and instrument, and what there is."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from agent.record import joined
from agent.spool import database
from agent.spool.database import reading
from agent.spool.ranges import Ranges
from agent.spool.shape import Shape, shaped
from agent.spool.stored import DamagedRecord, Dating, Selection, Stored
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

FRESH_S = 0.05
_NEVER_MS = 1 << 62
Row = tuple[int, int, int | None, int, bytes, int | None]


class Reader:
    """Reads a spool beside its writer; for one thread.

    Every method raises SpoolError, and DamagedRecord where a record does not pass its checksum.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = database.connected_to_read(path)
            self.id = database.meta(self._db, "id")
            self._columns = database.record_columns(self._db)
            self._checked_from = int(database.meta(self._db, "checked_from") or _NEVER_MS)
            self._base = database.base(self._db)
        except (database.Error, *database.NONSENSE) as error:
            raise database.spool_error(path, "cannot be read", error) from error
        self._path = path
        self._datings: list[Dating] = []
        self._shapes: dict[int, Shape] = {}
        self._deleted, self._deleted_s = Ranges(), -FRESH_S

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def newest(self) -> int:
        """Give the highest seq ever stored, 0 for none."""
        with reading(self._path):
            return database.newest(self._db)

    def newest_at_ms(self) -> int | None:
        """Give the time of the newest record, or None if there is none or its time is held back or in doubt."""
        newest = self.newest()
        found = self.records(newest, newest, 0)
        return found[0].at_ms if found and found[0].doubt is None else None

    def exists(self, first: int, last: int) -> bool:
        """Say whether any record of that range is still there."""
        with reading(self._path):
            row = self._db.execute("SELECT 1 FROM record WHERE seq BETWEEN ? AND ? LIMIT 1", (first, last)).fetchone()
        return row is not None

    def acknowledged(self) -> Ranges:
        """Give the seqs that need not be sent again."""
        with reading(self._path):
            return database.acknowledged(self._db)

    def noted(self, key: str) -> str:
        """Give what was noted, or an empty text."""
        with reading(self._path):
            return database.meta(self._db, key)

    def present(self, first: int, last: int) -> Ranges:
        """Give the seqs that are stored."""
        found = Ranges()
        with reading(self._path):
            self._present(first, last, found)
        return found

    def spans(self, from_ms: int, to_ms: int) -> Ranges:
        """Give the seqs that may have been measured from that time to before the other.

        Those of the hours that overlap, those that no hour covers, and all since the newest hour began.
        """
        with reading(self._path):
            oldest = self._db.execute("SELECT min(seq) FROM record").fetchone()[0]
            rows = self._db.execute("SELECT * FROM hour WHERE first IS NOT NULL ORDER BY seq").fetchall()
            newest = database.newest(self._db)
        hours = [row[1:5] for row in rows if database.with_crc(*row[:-1]) == row]  # a damaged one covers nothing
        covered = Ranges((first, last) for _, _, first, last in hours)
        asked = [(first, last) for begin, end, first, last in hours if begin < to_ms and end > from_ms]
        found = Ranges([*asked, *covered.gaps(1, newest), *((first, newest) for *_, first, _ in hours[-1:])])
        return Ranges(found.within(oldest or newest + 1, newest))

    def records(self, first: int, last: int, max_bytes: int) -> list[Stored]:
        """Give records in order of seq, at least one if there is one, up to that many bytes of bodies.

        Ends before a record whose time is still held back, and before a damaged one.
        """
        found: list[Stored] = []
        with reading(self._path), contextlib.closing(self._rows(first, last)) as rows:
            for row in rows:
                if not self._is_sound(row):
                    if found:
                        break
                    raise self._damaged(row[0], rows)
                stored = self._stored(row)
                if stored is None:
                    break
                max_bytes -= stored.sent_bytes
                if found and max_bytes < 0:
                    break
                found.append(stored)
        return found

    def checksum(self, seq: int) -> int | None:
        """Give the checksum of a record; None if there is none, or no record."""
        with reading(self._path):
            row = self._db.execute("SELECT crc FROM record WHERE seq = ?", (seq,)).fetchone()
        return row[0] if row else None

    def was_held(self, first: int, last: int) -> bool:
        """Say whether a range has records that were measured before the clock was trusted."""
        sql = "SELECT 1 FROM record WHERE seq BETWEEN ? AND ? AND elapsed_ms IS NOT NULL LIMIT 1"
        with reading(self._path):
            return self._db.execute(sql, (first, last)).fetchone() is not None

    def deleted(self) -> Ranges:
        """Give the seqs, as of FRESH_S ago, whose records may be deleted: those that need not be sent."""
        if monotonic_s() - self._deleted_s > FRESH_S:
            self._deleted, self._deleted_s = self.acknowledged(), monotonic_s()
        return self._deleted

    def selected(
        self, first: int, last: int, selection: Selection, max_bytes: int, most: int = 20_000
    ) -> tuple[list[Stored], int]:
        """Give the records of a range that were asked for, and where to go on (`last` + 1 at the end).

        Stops after that many bytes of bodies or rows looked at, and before a record that is held back or damaged.
        """
        found: list[Stored] = []
        with reading(self._path), contextlib.closing(self._candidates(first, last, selection, most)) as rows:
            for looked_at, row in enumerate(rows):
                if looked_at == most or (found and max_bytes < 0):
                    return found, row[0]
                if not self._is_sound(row):
                    if found:
                        return found, row[0]
                    raise self._damaged(row[0], rows)
                stored = self._stored(row)
                if stored is None:
                    return found, row[0]
                if self._matches(row, stored.at_ms, selection):
                    found.append(stored)
                    max_bytes -= stored.sent_bytes
        return found, last + 1

    def count(self, first: int, last: int, selection: Selection, most: int = 20_000) -> tuple[int, int]:
        """Count the records of a range that were asked for, and say where to go on (`last` + 1 at the end)."""
        count = 0
        with reading(self._path), contextlib.closing(self._candidates(first, last, selection, most)) as rows:
            for looked_at, row in enumerate(rows):
                time = self._time(row[0], row[1], row[2])
                if looked_at == most or time is None:
                    return count, row[0]
                count += self._matches(row, time[0], selection)
        return count, last + 1

    def by_instrument(self, first: int, last: int, from_ms: int, to_ms: int) -> dict[str, int]:
        """Count records of a range and a time by instrument; other kinds under "", ledgers left out."""
        found: dict[str, int] = {}
        with reading(self._path):
            rows = self._db.execute(
                "SELECT shape, count(*) FROM record WHERE seq BETWEEN ? AND ? AND coalesce((SELECT record.elapsed_ms +"
                " offset_ms FROM dating WHERE record.elapsed_ms IS NOT NULL AND seq BETWEEN first AND last), at_ms) "
                "BETWEEN ? AND ? "
                """AND NOT (shape = 0 AND substr(CAST(body AS TEXT), 1, 15) = '"kind":"ledger"') GROUP BY shape""",
                (first, last, from_ms, to_ms - 1),
            ).fetchall()
            for number, count in rows:
                name = self._shape(number).instrument or ""
                found[name] = found.get(name, 0) + count
        return found

    def _rows(self, first: int, last: int) -> Generator[Row, None, None]:
        """Give rows in order. Raises ValueError where the file has lost that order."""
        previous = first - 1
        rows = self._db.execute(
            f"SELECT {self._columns} FROM record WHERE seq BETWEEN ? AND ? ORDER BY seq",  # noqa: S608  our own names
            (first, last),
        )
        with contextlib.closing(rows):
            for row in rows:
                if row[0] <= previous:
                    raise ValueError(f"record {row[0]} follows record {previous}")
                previous = row[0]
                yield row

    def _candidates(self, first: int, last: int, selection: Selection, most: int) -> Generator[Row, None, None]:
        """Give the rows to look at: all of the range, or those of the hour ledgers of the time."""
        if not selection.only_hours:
            yield from self._rows(first, last)
            return
        begin_ms, end_ms = _bounds(selection)
        rows = self._db.execute(
            "SELECT seq FROM hour WHERE seq BETWEEN ? AND ? AND from_ms < ? AND to_ms > ? ORDER BY seq LIMIT ?",
            (first, last, end_ms, begin_ms, most + 1),
        ).fetchall()
        for (seq,) in rows:
            yield from self._rows(seq, seq)

    def _is_sound(self, row: Row) -> bool:
        """Say whether a row is what was stored; records of the older layout have no checksum."""
        seq, at_ms, elapsed_ms, shape, body, crc = row
        if crc is None:
            return seq < self._checked_from or "crc" not in self._columns
        try:
            return crc == database.record_crc(self._shape(shape).seed, seq, at_ms, elapsed_ms, body)
        except database.NONSENSE:
            return False

    def _damaged(self, first: int, rows: Iterator[Row]) -> DamagedRecord:
        """Give the error for a damaged record and those right behind it that are damaged too."""
        last = first
        for row in rows:
            if row[0] != last + 1 or self._is_sound(row):
                break
            last = row[0]
        return DamagedRecord(first, last)

    def _stored(self, row: Row) -> Stored | None:
        """Give a record as it is sent, or None while its time is held back."""
        seq, at_ms, elapsed_ms, number, body, _ = row
        shape = self._shape(number)
        whole = joined(shape.parts, body) if number else body
        if elapsed_ms is None:
            return Stored(seq, at_ms, None, whole, shape.values)
        time = self._time(seq, at_ms, elapsed_ms)
        return Stored(seq, *time, whole, shape.values) if time else None

    def _time(self, seq: int, at_ms: int, elapsed_ms: int | None) -> tuple[int, Dating | None] | None:
        """Give the time of a record and the doubt about it, or None while it is held back."""
        if elapsed_ms is None:
            return at_ms, None
        dating = next((d for d in self._datings if d.first <= seq <= d.last), None)
        if dating is None:
            self._datings = database.datings(self._db)
            dating = next((d for d in self._datings if d.first <= seq <= d.last), None)
        if dating is None:
            return None
        if dating.offset_ms is not None:
            at_ms = elapsed_ms + dating.offset_ms
        return at_ms, dating if dating.unsure else None

    def _matches(self, row: Row, at_ms: int, selection: Selection) -> bool:
        begin_ms, end_ms = _bounds(selection)
        if not selection.only_hours and not begin_ms <= at_ms < end_ms:
            return False
        return selection.instruments is None or self._instrument(row) in selection.instruments

    def _instrument(self, row: Row) -> str | None:
        shape = self._shape(row[3])
        if shape.instrument is not None:
            return shape.instrument
        whole = joined(shape.parts, row[4]) if row[3] else row[4]
        found = json.loads(b"{" + whole + b"}").get("instrument")
        return found if isinstance(found, str) else None

    def _shape(self, number: int) -> Shape:
        if number not in self._shapes:
            texts = database.shapes(self._db)
            found = {key: shaped(text, self._base) for key, text in texts.items()}
            self._shapes = {0: Shape([], self._base, 1, None), **found}
        return self._shapes[number]

    def _present(self, first: int, last: int, found: Ranges) -> None:
        """Look where the file has a whole stretch, halving those with holes. Raises ValueError for a damaged tree."""
        row = self._db.execute(
            "SELECT min(seq), max(seq), count(*) FROM record WHERE seq BETWEEN ? AND ?", (first, last)
        ).fetchone()
        lowest, highest, count = row
        if not count:
            return
        if not (first <= lowest <= highest <= last and count <= highest - lowest + 1):
            raise ValueError(f"records {first} to {last} are out of order")
        if count == highest - lowest + 1:
            found.add(lowest, highest)
            return
        middle = (lowest + highest) // 2
        self._present(lowest, middle, found)
        self._present(middle + 1, highest, found)


def _bounds(selection: Selection) -> tuple[int, int]:
    begin_ms = -_NEVER_MS if selection.from_ms is None else selection.from_ms
    return begin_ms, _NEVER_MS if selection.to_ms is None else selection.to_ms
