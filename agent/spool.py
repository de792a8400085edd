"""The spool: one SQLite file that holds records until they are delivered and past it. The only owner of sqlite3.

One connection writes and checkpoints, on one thread; every reader has its own, read-only. WAL with
`synchronous=FULL`: what was committed survives a power cut (SQLite documentation, "PRAGMA synchronous"); records wait
for a commit at most `commit_interval`. After a disk error nothing is retried: the process says so and ends, and a new
one reads what is there.

    record        seq | at_ms | elapsed_ms (only while the clock was not trusted) | shape | body
    shape         what all records of an instrument have in common, so that it is written once
    dating        ranges of seqs measured under an untrusted clock, and what became known of their time
    acknowledged  ranges of seqs that need not be sent again
    aged          records with their time as far as it is known: a clock that stood at 1970 does not make them old
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agent.ranges import Ranges
from agent.record import joined
from agent.room import Room
from agent.spool_lock import Lock, holder
from agent.stored import Dating, SpoolError, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.record import Record

__all__ = ["Dating", "Reader", "Spool", "SpoolError", "Stored", "condemn", "holder"]

SCHEMA_VERSION = 1
_FOR_EVER_MS = 1 << 62
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading a record leads to whose bytes are not what was written."""
_CHECKPOINT_PAGES, _CHECKPOINT_PAGES_WHEN_SHORT = 500, 20
_TABLES = """
CREATE TABLE IF NOT EXISTS record(seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, elapsed_ms INTEGER,
                                  shape INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS shape(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS acknowledged(first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS dating(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, offset_ms INTEGER,
                                  unsure INTEGER NOT NULL, earliest_ms INTEGER, latest_ms INTEGER);
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS aged AS
    SELECT seq, coalesce((SELECT coalesce(record.elapsed_ms + offset_ms, max(at_ms, coalesce(earliest_ms, 0)))
                          FROM dating WHERE record.elapsed_ms IS NOT NULL AND seq BETWEEN first AND last), at_ms) at_ms
    FROM record;
"""


class Reader:
    """Reads a spool beside its writer; for one thread."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = _connect(f"{path.absolute().as_uri()}?mode=ro")
            self.id = _meta(self._db, "id")
        except sqlite3.Error as error:
            raise SpoolError(f"{path}: cannot be read: {error}", is_damaged=_is_damage(error)) from error
        self._path = path
        self._datings: list[Dating] = []
        self._shapes: dict[int, list[bytes]] = {}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def newest(self) -> int:
        """Give the highest seq ever stored, 0 for none."""
        with _reading(self._path):
            return _newest(self._db)

    def newest_at_ms(self) -> int | None:
        """Give the time of the newest record, or None if there is none or its time is held back."""
        newest = self.newest()
        found = self.records(newest, newest, 0)
        return found[0].at_ms if found else None

    def exists(self, first: int, last: int) -> bool:
        """Say whether any record of that range is still there."""
        with _reading(self._path):
            row = self._db.execute("SELECT 1 FROM record WHERE seq BETWEEN ? AND ? LIMIT 1", (first, last)).fetchone()
        return row is not None

    def acknowledged(self) -> Ranges:
        """Give the seqs that need not be sent again."""
        with _reading(self._path):
            return Ranges(self._db.execute("SELECT first, last FROM acknowledged ORDER BY first"))

    def records(self, first: int, last: int, max_bytes: int) -> list[Stored]:
        """Give records in order of seq, at least one if there is one, up to that many bytes of bodies.

        Ends before a record whose time is still held back.
        """
        with _reading(self._path):
            return self._records(first, last, max_bytes)

    def _records(self, first: int, last: int, max_bytes: int) -> list[Stored]:
        found: list[Stored] = []
        rows = self._db.execute(
            "SELECT seq, at_ms, elapsed_ms, shape, body FROM record WHERE seq BETWEEN ? AND ? ORDER BY seq",
            (first, last),
        )
        with contextlib.closing(rows):
            for seq, at_ms, elapsed_ms, shape, body in rows:
                whole = joined(self._shape(shape), body) if shape else body
                max_bytes -= len(whole) + (60 if elapsed_ms is None else 160)
                if found and max_bytes < 0:
                    break
                stored = (
                    Stored(seq, at_ms, None, whole)
                    if elapsed_ms is None
                    else self._dated(seq, at_ms, elapsed_ms, whole)
                )
                if stored is None:
                    break
                found.append(stored)
        return found

    def _shape(self, number: int) -> list[bytes]:
        if number not in self._shapes:
            self._shapes = _shapes(self._db)
        return self._shapes[number]

    def _dated(self, seq: int, at_ms: int, elapsed_ms: int, body: bytes) -> Stored | None:
        dating = next((d for d in self._datings if d.first <= seq <= d.last), None)
        if dating is None:
            self._datings = _datings(self._db)
            dating = next((d for d in self._datings if d.first <= seq <= d.last), None)
        if dating is None:
            return None
        if dating.offset_ms is not None:
            at_ms = elapsed_ms + dating.offset_ms
        return Stored(seq, at_ms, dating if dating.unsure else None, body)


class Spool:
    """The writing side: appends, acknowledgements and trimming, on the thread that opened it.

    Raises SpoolError from every method when the file cannot store.
    """

    _held_from: int

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self._lock = Lock(path)
        try:
            self._room = Room(path)
            self._db = self._opened()
        except (sqlite3.Error, OSError) as error:
            self._lock.close()
            raise SpoolError(f"{path}: cannot be used: {_why(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def commit(
        self, records: Sequence[Record], acknowledged: Sequence[tuple[int, int]] = (), *, held: bool = False
    ) -> int:
        """Store records and acknowledgements in one transaction; gives the newest seq.

        `held`: the clock is not trusted, so their time is not final.
        """
        first = self.newest + 1
        with self._transaction():
            rows = [
                (seq, moment.wall_ms, moment.elapsed_ms if held else None, self._shape(shape), body)
                for seq, (moment, shape, body) in enumerate(records, first)
            ]
            self._db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)
            self._acknowledge(acknowledged)
            if held and rows and not self._held_from:
                self._note("held_from", str(first))
        if held and rows and not self._held_from:
            self._held_from = first
        self.newest += len(rows)
        return self.newest

    def held(self) -> tuple[int, int] | None:
        """Give the seqs whose time is not known yet; they are the newest ones without a break."""
        return (self._held_from, self.newest) if self._held_from else None

    def date(self, dating: Dating) -> None:
        """Settle the time of the held records for good; what is known of their neighbours too is noted once."""
        with self._transaction():
            grown = self._db.execute(
                "UPDATE dating SET last = ?2 WHERE last = ?1 - 1 AND offset_ms IS ?3 AND unsure = ?4 "
                "AND earliest_ms IS ?5 AND latest_ms IS ?6",
                dating,
            )
            if not grown.rowcount:
                self._db.execute("INSERT INTO dating VALUES (?, ?, ?, ?, ?, ?)", dating)
            self._note("held_from", "")
        self._held_from = 0

    def note(self, key: str, value: str) -> None:
        """Remember a word across restarts."""
        with self._transaction():
            self._note(key, value)

    def noted(self, key: str) -> str:
        """Give what was noted, or an empty text."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else ""

    def used_bytes(self) -> int:
        """Give the size of the records; free pages and the write-ahead log (2 MB at most) are not counted."""
        return (self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")) * self._one("PRAGMA page_size")

    def is_short_of_room(self) -> bool:
        """Say whether the disk is nearly full, counting pages that can be used again as free."""
        reusable = self._one("PRAGMA freelist_count") * self._one("PRAGMA page_size")
        return self._room.free_bytes() + reusable < self._room.reserve_bytes()

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

    def drop_unsent(self, most: int = 200) -> tuple[int, int, int, int] | None:
        """Delete the oldest records, never acknowledged; gives first and last seq, and their times."""
        rows = self._rows("SELECT seq, at_ms FROM aged ORDER BY seq LIMIT ?", most)
        if not rows:
            return None
        (first, begin_ms), (last, end_ms) = rows[0], rows[-1]
        self._delete(first, last)
        return first, last, begin_ms, end_ms

    def close(self) -> None:
        """Fold the write-ahead log into the file, unless somebody is reading it, and let others use it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA busy_timeout=200")  # a copy in progress must not hold up the end
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self._lock.close()

    def _shape(self, text: str) -> int:
        """Give the number of a shape, storing it if it is new."""
        if not text:
            return 0
        if text not in self._shapes:
            self._shapes[text] = len(self._shapes) + 1
            self._db.execute("INSERT INTO shape VALUES (?, ?)", (self._shapes[text], text))
        return self._shapes[text]

    def _note(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _oldest_ms(self, first: int, last: int) -> int:
        """Give the time of the first record of a range."""
        rows = self._rows("SELECT at_ms FROM aged WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT 1", first, last)
        return int(rows[0][0]) if rows else _FOR_EVER_MS

    def _delete(self, first: int, last: int) -> None:
        with self._transaction():
            self._acknowledge([(first, last)])
            self._db.execute("DELETE FROM record WHERE seq BETWEEN ? AND ?", (first, last))

    def _acknowledge(self, ranges: Sequence[tuple[int, int]]) -> None:
        if ranges:
            for first, last in ranges:
                self.acknowledged.add(first, last)
            self._db.execute("DELETE FROM acknowledged")
            self._db.executemany("INSERT INTO acknowledged VALUES (?, ?)", self.acknowledged)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(f"{self.path}: cannot store: {_why(error)}", is_damaged=_is_damage(error)) from error

    def _one(self, statement: str) -> int:
        return int(self._rows(statement)[0][0])

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with _reading(self.path):
            return self._db.execute(statement, values).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if _condemned(self.path).exists():
            self._put_aside()
            _condemned(self.path).unlink()
        try:
            return self._prepared()
        except (sqlite3.DatabaseError, *_NONSENSE) as error:
            if not _is_damage(error):
                raise
            self._put_aside()
            return self._prepared()

    def _prepared(self) -> sqlite3.Connection:
        db = _connect(str(self.path))
        try:
            self._prepare(db)
            self._load(db)
        except BaseException:
            db.close()  # at once: closed later, it would delete the log of the file that takes this one's place
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        _check_version(db)
        short = self._room.is_short
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES_WHEN_SHORT if short else _CHECKPOINT_PAGES}")
        if short:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.executescript(_TABLES)
        db.execute("INSERT OR IGNORE INTO meta VALUES ('id', ?)", (uuid.uuid4().hex,))
        db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))

    def _load(self, db: sqlite3.Connection) -> None:
        self.id = _meta(db, "id")
        self.acknowledged = Ranges(db.execute("SELECT first, last FROM acknowledged ORDER BY first"))
        self.newest = _newest(db)
        self._shapes: dict[str, int] = {text: number for number, text in db.execute("SELECT id, text FROM shape")}
        self._held_from = int(_meta(db, "held_from") or 0)

    def _put_aside(self) -> None:
        """Keep a damaged file for salvage under another name and start afresh; the station must go on."""
        number = 1
        while (aside := Path(f"{self.path}.damaged-{number}")).exists():
            number += 1
        for end in ("", "-wal", "-shm"):
            if (beside := Path(f"{self.path}{end}")).exists():
                beside.rename(f"{aside}{end}")
        self.set_aside = aside


def condemn(path: Path) -> None:
    """Have a spool put aside when it is opened next: damage deep in a file shows only when it is read."""
    with contextlib.suppress(OSError):
        _condemned(path).touch()


def _condemned(path: Path) -> Path:
    return Path(f"{path}.condemned")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, *_NONSENSE) as error:
        raise SpoolError(f"{path}: cannot be read: {_why(error)}", is_damaged=_is_damage(error)) from error


def _is_damage(error: Exception) -> bool:
    """Tell a file that is wrong from a disk that fails; a record without its shape is wrong too."""
    return type(error) is sqlite3.DatabaseError or isinstance(error, (sqlite3.IntegrityError, *_NONSENSE))


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(
        name, uri=name.startswith("file:"), isolation_level=None, timeout=10, check_same_thread=False
    )


def _check_version(db: sqlite3.Connection) -> None:
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        version = int(_meta(db, "schema") or SCHEMA_VERSION)
        if version > SCHEMA_VERSION:
            raise sqlite3.OperationalError(
                f"was written by a newer stationd (schema {version}, known {SCHEMA_VERSION})"
            )


def _newest(db: sqlite3.Connection) -> int:
    """Give the highest seq ever stored, 0 for none; of trimmed records it is known by their acknowledgement."""
    row = db.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM record), 0), coalesce((SELECT max(last) FROM acknowledged), 0))"
    ).fetchone()
    return int(row[0])


def _meta(db: sqlite3.Connection, key: str) -> str:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else ""


def _shapes(db: sqlite3.Connection) -> dict[int, list[bytes]]:
    return {number: text.encode().split(b"\x1f") for number, text in db.execute("SELECT id, text FROM shape")}


def _datings(db: sqlite3.Connection) -> list[Dating]:
    rows = db.execute("SELECT first, last, offset_ms, unsure, earliest_ms, latest_ms FROM dating")
    return [Dating(first, last, offset, bool(unsure), low, high) for first, last, offset, unsure, low, high in rows]


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
