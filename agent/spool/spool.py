"""The spool: one SQLite file that holds records until they are delivered and past it.

One connection writes, on one thread; records wait for a commit at most `commit_interval`. After a disk error nothing
is retried: the process says so and ends, and a new one reads what is there. A file that is not what was written is
put aside, and a new one begun.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any, Self

from agent.spool import beside, database, mark, opening
from agent.spool.beside import condemn
from agent.spool.damaged import salvage
from agent.spool.database import reading, record_crc, storing, with_crc
from agent.spool.legacy import Legacy
from agent.spool.oldest import Oldest, oldest
from agent.spool.reader import Reader
from agent.spool.room import Room
from agent.spool.space import Space
from agent.spool.spool_lock import Lock, holder
from agent.spool.stored import DamagedRecord, Dating, Hour, Selection, SpoolError, Stored
from agent.storage import Filling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agent.record import Record
    from agent.spool.damaged.copies import Copies
    from agent.spool.damaged.salvage import Salvage

__all__ = [
    "DamagedRecord",
    "Dating",
    "Hour",
    "Reader",
    "Selection",
    "Spool",
    "SpoolError",
    "Stored",
    "condemn",
    "holder",
]

_FOR_EVER_MS = 1 << 62
_NO_NOTES: Mapping[str, str] = {}


class Spool:
    """The writing side: appends, acknowledgements and trimming, on the thread that opened it.

    Raises SpoolError from every method when the file cannot store.
    """

    newest: int
    """The highest seq that was ever given, 0 for none."""
    legacy: Legacy
    """What was taken over from damaged spools, and what is noted for a next one."""
    _held_from: int
    _kept_shapes: int
    _mark: mark.Mark

    def __init__(self, path: Path, lock: Lock | None = None) -> None:
        """Open or begin it. `lock`: one on this path that the caller holds, and goes on to hold."""
        self.path = path
        self.lock, self._borrows = lock or Lock(path), lock is not None
        try:
            self._db, self.set_aside, self.damage = opening.opened(path, self._load, room := Room(path))
            self.space = Space(path, self._db, room)
            self._keep_shapes()
            self._mark = mark.Mark(path, self.id)
            self._mark.put(self.newest, self.newest, self._settled)
        except (database.Error, OSError) as error:
            self._unlock()
            raise database.spool_error(path, "cannot be used", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def salvage(self) -> Salvage | None:
        """What is still to be copied from damaged files."""
        return self.legacy.salvage

    @property
    def copies(self) -> Copies:
        """Damaged files whose copies this spool holds."""
        return self.legacy.copies

    def commit(
        self,
        records: Sequence[Record],
        acknowledged: Sequence[tuple[int, int]] = (),
        *,
        held: bool = False,
        notes: Mapping[str, str] = _NO_NOTES,
        hours: Sequence[Hour] = (),
        drop: Sequence[tuple[int, int]] = (),
        damaged: Sequence[tuple[int, int]] = (),
    ) -> int:
        """Store records, acknowledgements and notes in one transaction; gives the newest seq.

        `held`: the clock is not trusted, so their time is not final. `hours`: which of the records are hour ledgers.
        `drop`, `damaged`: ranges to delete and settle, of which the records tell; see `drop_damaged`.
        """
        first, last = self.newest + 1, self.newest + len(records)
        gone = [*drop, *damaged, *self.untold_by([*drop, *damaged])]
        if records:
            self._mark.put(self.newest, last, self._settled)
        with storing(self._db, self.path):
            self._drop(drop)
            for first_damaged, last_damaged in damaged:
                self._drop_damaged(first_damaged, last_damaged)
            rows = [self._row(seq, record, held=held) for seq, record in enumerate(records, first)]
            self._db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", rows)
            for index, *span in hours:
                self._db.execute("INSERT INTO hour VALUES (?, ?, ?, ?, ?, ?)", with_crc(first + index, *span))
            self._acknowledge(acknowledged)
            own = self.legacy.notes(first, last, gone, drop, damaged, self.acknowledged)
            for key, value in {**notes, **own}.items():
                database.note(self._db, key, value)
            if held and rows and not self._held_from:
                database.note(self._db, "held_from", str(first))
        if held and rows and not self._held_from:
            self._held_from = first
        if len(self._shapes) > self._kept_shapes:
            self._keep_shapes()
        self.newest = last
        if records:
            self._mark.put(last, last, self._settled)
        self.legacy.stored(notes, self.acknowledged)
        return self.newest

    def untold_by(self, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Give what only undelivered records of these ranges tell was given up: who gives them up has to tell it."""
        return self.legacy.untold_by(ranges, self.acknowledged)

    def copies_among(
        self, ranges: Sequence[tuple[int, int]]
    ) -> tuple[list[tuple[str, int, int]], list[tuple[int, int]]]:
        """Give what only records of these ranges account for of earlier spools, and which records are damaged."""
        seeds = {0: self._base, **dict(self._shapes.values())}
        rows = [row for one in ranges for row in self._rows("SELECT * FROM record WHERE seq BETWEEN ? AND ?", *one)]
        sound = [row for row in rows if database.is_sound(row, seeds, self._checked_from)]
        damaged = {row[0] for row in rows} - {row[0] for row in sound}
        with reading(self.path):
            origins = {number: salvage.origin_of(text) for text, (number, _) in self._shapes.items()}
            names = [name for row in sound for name in salvage.first_names(row[4], origins.get(row[3]))]
        return names, [(seq, seq) for seq in sorted(damaged)]

    def held(self) -> tuple[int, int] | None:
        """Give the seqs whose time is not known yet; they are the newest ones without a break."""
        return (self._held_from, self.newest) if self._held_from else None

    def date(self, dating: Dating) -> None:
        """Settle the time of the held records for good; what is known of their neighbours too is noted once."""
        with storing(self._db, self.path):
            neighbour = next((d for d in database.datings(self._db) if d[1:] == (dating.first - 1, *dating[2:])), None)
            row = dating if neighbour is None else dating._replace(first=neighbour.first)
            self._db.execute("INSERT OR REPLACE INTO dating VALUES (?, ?, ?, ?, ?, ?, ?)", with_crc(*row.columns()))
            database.note(self._db, "held_from", "")
        self._held_from = 0

    def note(self, key: str, value: str) -> None:
        """Remember a word across restarts."""
        with storing(self._db, self.path):
            database.note(self._db, key, value)

    def noted(self, key: str) -> str:
        """Give what was noted, or an empty text."""
        with reading(self.path):
            return database.meta(self._db, key)

    def filling(self, size_bytes: int) -> Filling:
        """Say how full it is, given how large it may grow and what the disk has left."""
        stored = int(self._rows("SELECT coalesce(? - min(seq) + 1, 0) FROM record", self.newest)[0][0])
        unsent = self.acknowledged.missing(1, self.newest)
        return Filling(self.space.used_bytes(), self.space.limit_bytes(size_bytes), stored, unsent, self.newest)

    def trim_acknowledged(self, before_ms: int | None, most: int = 200) -> int:
        """Delete the oldest acknowledged records, those before a time or (None) any; gives how many."""
        limit_ms = _FOR_EVER_MS if before_ms is None else before_ms
        for first, last in self.acknowledged:
            if self._oldest_ms(first, last) < limit_ms:
                rows = self._rows(
                    "SELECT seq, at_ms FROM aged WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?", first, last, most
                )
                old = [seq for seq, _ in takewhile(lambda row: row[1] < limit_ms, rows)]
                self._delete(old[0], old[-1])
                return len(old)
        return 0

    def oldest_unsent(self, most: int = 200) -> Oldest | None:
        """Find what has to go next when nothing is left that was acknowledged."""
        with reading(self.path):
            return oldest(self._db, most)

    def drop_unsent(self, most: int = 200) -> tuple[int, int, int, int] | None:
        """Delete the oldest records, never acknowledged; gives first and last seq, and their times."""
        if (found := self.oldest_unsent(most)) is None:
            return None
        with storing(self._db, self.path):
            self._drop(found.ranges)
        return found.first, found.last, found.begin_ms, found.end_ms

    def drop_damaged(self, first: int, last: int) -> int:
        """Delete and settle records that no longer pass their checksum; gives how many there were.

        Numbers beyond the newest are not settled: such a number is itself what was damaged.
        """
        with storing(self._db, self.path):
            return self._drop_damaged(first, last)

    def count(self, first: int, last: int) -> int:
        """Count the records of a range."""
        return int(self._rows("SELECT count(*) FROM record WHERE seq BETWEEN ? AND ?", first, last)[0][0])

    def close(self) -> None:
        """Fold the write-ahead log into the file, unless somebody is reading it, and let others use it."""
        self.legacy.close()
        database.close(self._db)
        self._mark.close()
        self._unlock()

    def _unlock(self) -> None:
        if not self._borrows:
            self.lock.close()

    def _row(self, seq: int, record: Record, *, held: bool) -> tuple[int, int, int | None, int, bytes, int]:
        (at_ms, elapsed_ms), text, body = record
        shape, seed = self._shape(text) if text else (0, self._base)
        held_ms = elapsed_ms if held else None
        return seq, at_ms, held_ms, shape, body, record_crc(seed, seq, at_ms, held_ms, body)

    def _shape(self, text: str) -> tuple[int, int]:
        """Give the number of a shape and its checksum, storing it if it is new."""
        if text not in self._shapes:
            number = max((number for number, _ in self._shapes.values()), default=0) + 1
            self._shapes[text] = number, database.seed(text, self._base)
            self._db.execute("INSERT INTO shape VALUES (?, ?)", (number, text))
        return self._shapes[text]

    def _keep_shapes(self) -> None:
        beside.keep_shapes(self.path, {number: text for text, (number, _) in self._shapes.items()})
        self._kept_shapes = len(self._shapes)

    def _oldest_ms(self, first: int, last: int) -> int:
        """Give the time of the first record of a range."""
        rows = self._rows("SELECT at_ms FROM aged WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT 1", first, last)
        return int(rows[0][0]) if rows else _FOR_EVER_MS

    def _delete(self, first: int, last: int) -> None:
        with storing(self._db, self.path):
            self._drop([(first, last)])

    def _drop(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._acknowledge(ranges)
        for first, last in ranges:
            self._remove(first, last)

    def _drop_damaged(self, first: int, last: int) -> int:
        if first <= self.newest:
            self._acknowledge([(first, min(last, self.newest))])
        return self._remove(first, last)

    def _remove(self, first: int, last: int) -> int:
        self._db.execute("DELETE FROM hour WHERE seq BETWEEN ? AND ?", (first, last))
        return self._db.execute("DELETE FROM record WHERE seq BETWEEN ? AND ?", (first, last)).rowcount

    def _acknowledge(self, ranges: Sequence[tuple[int, int]]) -> None:
        for first, last in ranges:
            self.acknowledged.add(first, last)
        changed = {self.acknowledged.around(first) for first, _ in ranges}
        self._db.executemany("DELETE FROM acknowledged WHERE first BETWEEN ? AND ?", changed)
        rows = [with_crc(first, last) for first, last in changed]
        self._db.executemany("INSERT INTO acknowledged VALUES (?, ?, ?)", rows)

    @property
    def _settled(self) -> int:
        return self.legacy.settled(self.acknowledged)

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with reading(self.path):
            return self._db.execute(statement, values).fetchall()

    def _load(self, db: database.Connection) -> None:
        self.id = database.meta(db, "id")
        self.acknowledged = database.acknowledged(db)
        self.newest = database.newest(db)
        self._base = database.base(db)
        self._shapes = {text: (number, database.seed(text, self._base)) for number, text in database.shapes(db).items()}
        self._held_from = int(database.meta(db, "held_from") or 0)
        self._checked_from = int(database.meta(db, "checked_from") or 1)
        self.legacy = Legacy(self.path, db)
        beside.keep_id(self.path, self.id)
