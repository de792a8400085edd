"""The database file under a spool: how it is opened, laid out, upgraded and checked. The only owner of sqlite3.

One connection writes and checkpoints, on one thread; every reader has its own, read-only. WAL with
`synchronous=FULL`: what was committed survives a power cut (SQLite documentation, "PRAGMA synchronous").

    record        seq | at_ms | elapsed_ms (only while the clock was not trusted) | shape | body | crc
    shape         what all records of an instrument have in common, so that it is written once
    dating        ranges of seqs measured under an untrusted clock, and what became known of their time
    acknowledged  ranges of seqs that need not be sent again
    hour          the span and the seqs of each hour ledger: the time index of the spool
    meta          words that are remembered across restarts
    aged          records with their time as far as it is known: a clock that stood at 1970 does not make them old

Every row carries a checksum of its own: a card that flips a bit must not change what is sent. That of a record covers
the text of its shape too.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zlib import crc32

from agent.log_end import is_cut
from agent.ranges import Ranges
from agent.stored import Dating, SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

Connection = sqlite3.Connection
Error = sqlite3.Error
NONSENSE = (ValueError, KeyError, TypeError, AttributeError, struct.error)
"""What reading a row leads to whose bytes are not what was written."""

SCHEMA_VERSION = 2
_CHECKPOINT_PAGES, _CHECKPOINT_PAGES_WHEN_SHORT = 500, 20
_TABLES = """
CREATE TABLE record(seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, elapsed_ms INTEGER,
                    shape INTEGER NOT NULL, body BLOB NOT NULL, crc INTEGER);
CREATE TABLE shape(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE acknowledged(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, crc INTEGER);
CREATE TABLE dating(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, offset_ms INTEGER,
                    unsure INTEGER NOT NULL, earliest_ms INTEGER, latest_ms INTEGER, crc INTEGER);
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER) WITHOUT ROWID;
"""
_HOUR = """
CREATE TABLE hour(seq INTEGER PRIMARY KEY, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
                  first INTEGER, last INTEGER, crc INTEGER);
"""
_AGED = """
CREATE TEMP VIEW aged AS
    SELECT seq, coalesce((SELECT coalesce(record.elapsed_ms + offset_ms, max(at_ms, coalesce(earliest_ms, 0)))
                          FROM dating WHERE record.elapsed_ms IS NOT NULL AND seq BETWEEN first AND last), at_ms) at_ms
    FROM record
"""
_LONGEST_BYTES = 16 * 1024 * 1024
"""A length that was damaged must not make SQLite ask for a gigabyte."""
_NOT_HELD = -(1 << 63)
_READABLE = (b"\1\1", b"\2\2")
"""Format versions that this SQLite reads and writes (SQLite documentation, "Database File Format")."""
_pack = struct.Struct("<qqq").pack


def record_crc(seed: int, seq: int, at_ms: int, elapsed_ms: int | None, body: bytes) -> int:
    """Give the checksum of a record; `seed` is that of the text of its shape, 0 without one."""
    return crc32(body, crc32(_pack(seq, at_ms, _NOT_HELD if elapsed_ms is None else elapsed_ms), seed))


def seed(shape: str) -> int:
    """Give the checksum that a record of that shape starts from."""
    return crc32(shape.encode())


def is_sound(row: tuple[Any, ...], seeds: Mapping[int, int], checked_from: int) -> bool:
    """Say whether a record is what was stored: one before `checked_from` has no checksum and passes.

    `seeds` are the checksums of the shapes by their numbers.
    """
    seq, at_ms, elapsed_ms, shape, body, crc = row
    if crc is None:
        return bool(seq < checked_from)
    try:
        return bool(crc == record_crc(seeds[shape] if shape else 0, seq, at_ms, elapsed_ms, body))
    except NONSENSE:
        return False


def with_crc(*values: Any) -> tuple[Any, ...]:
    """Give a row of one of the small tables with its checksum."""
    return *values, crc32(repr(values).encode())


def connected_to_read(path: Path, *options: str) -> Connection:
    """Open a file that another connection may be writing."""
    db = _connect("&".join([f"{path.absolute().as_uri()}?mode=ro", *options]))
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_BYTES)
    return db


def opened(path: Path, notes: Callable[[], Mapping[str, str]], *, is_short: bool) -> Connection:
    """Open a file for writing; make or upgrade it, with notes, if it is not in the newest layout.

    `is_short`: the disk is nearly full, so the log is kept small. Raises Error or one of NONSENSE.
    """
    db = _connect(str(path))
    try:
        version = _version(db)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES_WHEN_SHORT if is_short else _CHECKPOINT_PAGES}")
        if version < SCHEMA_VERSION:
            _lay_out(db, version, notes())
        db.execute(_AGED)  # not in the file, where a changed letter would end every start
    except BaseException:
        db.close()  # at once: closed later, it would delete the log of the file that takes this one's place
        raise
    return db


def has_cut_log(db: Connection, path: Path) -> bool:
    """Say whether commits stand in the log of an open file behind the place up to which it reads.

    How far that is only a checkpoint tells: to read `-shm` would let go of the locks that this process has on it
    (POSIX; SQLite documentation, "How To Corrupt An SQLite Database File", 2.2).
    """
    _, whole_frames, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return is_cut(path, max(0, whole_frames), int(db.execute("PRAGMA page_size").fetchone()[0]))


def fold(db: Connection) -> None:
    """Fold the write-ahead log into the file and give its room back."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def close(db: Connection) -> None:
    """Fold the write-ahead log into the file, unless somebody is reading it, and close."""
    with contextlib.suppress(sqlite3.Error):
        db.execute("PRAGMA busy_timeout=200")  # a copy in progress must not hold up the end
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


@contextlib.contextmanager
def storing(db: Connection, path: Path) -> Iterator[None]:
    """Make one transaction of what is done meanwhile. Raises SpoolError; then nothing more may be stored."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise SpoolError(f"{path}: cannot store: {why(error)}", is_damaged=is_damage(error)) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn every error of reading into SpoolError."""
    try:
        yield
    except (sqlite3.Error, *NONSENSE) as error:
        raise SpoolError(f"{path}: cannot be read: {why(error)}", is_damaged=is_damage(error)) from error


def is_damage(error: BaseException) -> bool:
    """Tell a file that is wrong from a disk that fails; a record without its shape is wrong too."""
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith("Could not decode")
    return type(error) is sqlite3.DatabaseError or isinstance(
        error, (sqlite3.IntegrityError, sqlite3.DataError, *NONSENSE)
    )


def has_wrong_header(path: Path) -> bool:
    """Say whether the head of a file keeps SQLite from using it, which then names other reasons than damage."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return False
    is_right = head[:16] == b"SQLite format 3\0" and head[18:20] in _READABLE
    return bool(head) and not (is_right and head[44:48] <= b"\0\0\0\4" and head[56:60] <= b"\0\0\0\1")


def why(error: BaseException) -> str:
    """Put an error into words."""
    return getattr(error, "strerror", None) or str(error)


def newest(db: Connection) -> int:
    """Give the highest seq ever stored, 0 for none; of trimmed records it is known by their acknowledgement."""
    row = db.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM record), 0), coalesce((SELECT max(last) FROM acknowledged), 0))"
    ).fetchone()
    return int(row[0])


def meta(db: Connection, key: str) -> str:
    """Give what was noted, or an empty text."""
    rows = list(_checked(db.execute("SELECT * FROM meta WHERE key = ?", (key,))))
    return str(rows[0][1]) if rows else ""


def notes(db: Connection) -> dict[str, str]:
    """Give all that was noted. Raises ValueError if a row fails its checksum: one whose key changed is not found."""
    return {str(key): str(value) for key, value in _checked(db.execute("SELECT * FROM meta"))}


def note(db: Connection, key: str, value: str) -> None:
    """Note a word."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", with_crc(key, value))


def acknowledged(db: Connection) -> Ranges:
    """Give the seqs that need not be sent again."""
    return Ranges((first, last) for first, last in _checked(db.execute("SELECT * FROM acknowledged ORDER BY first")))


def datings(db: Connection) -> list[Dating]:
    """Give what became known of the time of records."""
    rows = _checked(db.execute("SELECT * FROM dating ORDER BY first"))
    return [Dating(first, last, offset, bool(unsure), low, high) for first, last, offset, unsure, low, high in rows]


def shapes(db: Connection) -> dict[int, str]:
    """Give the shapes by their numbers."""
    return dict(db.execute("SELECT id, text FROM shape NOT INDEXED"))


def record_columns(db: Connection) -> str:
    """Give the columns of a record as they are selected; a file of the older layout has no checksums."""
    has_crc = any(row[1] == "crc" for row in db.execute("PRAGMA table_info(record)"))
    return "seq, at_ms, elapsed_ms, shape, body, " + ("crc" if has_crc else "NULL")


def _checked(rows: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    """Give rows of a small table without their checksums. Raises ValueError for a row that fails it."""
    has_crc = rows.description[-1][0] == "crc"
    for row in rows:
        if has_crc and with_crc(*row[:-1]) != row:
            raise ValueError("a row fails its checksum")
        yield row[:-1] if has_crc else row


def _connect(name: str) -> Connection:
    return sqlite3.connect(
        name, uri=name.startswith("file:"), isolation_level=None, timeout=10, check_same_thread=False
    )


def _version(db: Connection) -> int:
    """Give the layout of a file, 0 for an empty one. Raises ValueError for one that is none of ours."""
    found = _layout(db)
    if not found:
        return 0
    if "meta" in found and found["meta"][0][0] != "key":
        raise ValueError("it is not laid out as a spool")
    row = db.execute("SELECT * FROM meta WHERE key = 'schema'").fetchone() if "meta" in found else None
    version = int(row[1]) if row else 1
    if row and len(row) > 2 and row[2] is not None and with_crc(*row[:2]) != row:
        raise ValueError("a row fails its checksum")
    if version > SCHEMA_VERSION:
        raise sqlite3.OperationalError(f"was written by a newer stationd (schema {version}, known {SCHEMA_VERSION})")
    if found != _known_layout(version):
        raise ValueError("it is not laid out as a spool")
    return version


def _layout(db: Connection) -> dict[str, list[Any]]:
    """Give the columns of every table."""
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: db.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (name,)).fetchall()
        for name in names
    }


def _known_layout(version: int) -> dict[str, list[Any]]:
    with contextlib.closing(_connect(":memory:")) as db:
        db.executescript(_TABLES + _HOUR)
        layout = _layout(db)
    if version >= 2:
        return layout
    return {
        name: [column for column in columns if column[0] != "crc"] for name, columns in layout.items() if name != "hour"
    }


def _lay_out(db: Connection, version: int, notes: Mapping[str, str]) -> None:
    """Make the tables, or bring those of version 1 to this one; in one transaction, so a crash leaves no half."""
    db.execute("BEGIN IMMEDIATE")
    if version:
        _add_checksums(db)
    else:
        _run(db, _TABLES)
        note(db, "id", uuid4().hex)
    _run(db, _HOUR)
    note(db, "checked_from", str(newest(db) + 1))
    for key, value in {**notes, "schema": str(SCHEMA_VERSION)}.items():
        note(db, key, value)
    db.execute("COMMIT")


def _add_checksums(db: Connection) -> None:
    """Give the rows of the small tables their checksums; records of the older layout stay unchecked."""
    for table in ("record", "acknowledged", "dating", "meta"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER")
    for table, key in (("acknowledged", "first"), ("dating", "first"), ("meta", "key")):
        rows: Iterable[Any] = db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  our own names
        for row in rows:
            db.execute(f"UPDATE {table} SET crc = ? WHERE {key} = ?", (with_crc(*row[:-1])[-1], row[0]))  # noqa: S608


def _run(db: Connection, statements: str) -> None:
    """Run several statements within the transaction; `executescript` would end it first."""
    for statement in statements.split(";"):
        db.execute(statement)
