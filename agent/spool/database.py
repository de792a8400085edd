"""The database file under a spool: how it is opened, read, written and checked. The only owner of sqlite3.

One connection writes and checkpoints, on one thread; every reader has its own, read-only. WAL with
`synchronous=FULL`: what was committed survives a power cut (SQLite documentation, "PRAGMA synchronous").

Every row carries a checksum of its own: a card that flips a bit must not change what is sent. That of a record covers
the text of its shape too.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import struct
from typing import TYPE_CHECKING, Any
from zlib import crc32

from agent.spool.log_end import is_cut
from agent.spool.ranges import Ranges
from agent.spool.stored import Dating, SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Connection = sqlite3.Connection
Error = sqlite3.Error
Newer = sqlite3.OperationalError
"""Raised for a file that a newer stationd wrote: it is no damage, and no error of SQLite's own."""
NONSENSE = (ValueError, KeyError, TypeError, AttributeError, struct.error)
"""What reading a row leads to whose bytes are not what was written."""

_LONGEST_BYTES = 16 * 1024 * 1024
"""A length that was damaged must not make SQLite ask for a gigabyte."""
BASE = "seed"
"""The note of what checksums of records start from."""
_ROOM = "room "
"""Begins the keys of notes that are there only to make the file larger, for a moment."""
_NOT_HELD = -(1 << 63)
_READABLE = (b"\1\1", b"\2\2")
"""Format versions that this SQLite reads and writes (SQLite documentation, "Database File Format")."""
_OF_THE_DISK = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
}
"""What SQLite says of a disk, or of another program that holds the file; not what it says of our statements."""
_pack = struct.Struct("<qqq").pack


def record_crc(seed: int, seq: int, at_ms: int, elapsed_ms: int | None, body: bytes) -> int:
    """Give the checksum of a record; `seed` is what those of its shape start from."""
    return crc32(body, crc32(_pack(seq, at_ms, _NOT_HELD if elapsed_ms is None else elapsed_ms), seed))


def seed(shape: str, base: int) -> int:
    """Give the checksum that a record of that shape starts from; `base` is that of its spool."""
    return crc32(shape.encode(), base)


def base_of(spool_id: str) -> int:
    """Give what the checksums of a spool start from, so that no record of another one passes for one of its own."""
    return crc32(spool_id.encode())


def base(db: Connection) -> int:
    """Give it for an open file; those from before have none. Raises ValueError if any note is not what was noted.

    Taken for none by mistake it would make all records look damaged.
    """
    return int(notes(db).get(BASE, "0"))


def seeds(db: Connection) -> dict[int, int]:
    """Give what the checksums of records start from, by the numbers of their shapes; 0 is for those without."""
    start = base(db)
    return {0: start, **{number: seed(text, start) for number, text in shapes(db).items()}}


def is_sound(row: tuple[Any, ...], seeds: Mapping[int, int], checked_from: int) -> bool:
    """Say whether a record is what was stored: one before `checked_from` has no checksum and passes.

    `seeds` are what the checksums start from, by the numbers of the shapes.
    """
    seq, at_ms, elapsed_ms, shape, body, crc = row
    if crc is None:
        return bool(seq < checked_from)
    try:
        return bool(crc == record_crc(seeds[shape], seq, at_ms, elapsed_ms, body))
    except NONSENSE:
        return False


def with_crc(*values: Any) -> tuple[Any, ...]:
    """Give a row of one of the small tables with its checksum."""
    return *values, crc32(repr(values).encode())


def connected_to_read(path: Path, *options: str) -> Connection:
    """Open a file that another connection may be writing."""
    db = connect("&".join([f"{path.absolute().as_uri()}?mode=ro", *options]))
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_BYTES)
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


def grow(db: Connection, step: int, size_bytes: int) -> None:
    """Have a file take so much more room; what fills it is free pages once `take_back` was called."""
    note(db, f"{_ROOM}{step}", "." * size_bytes)


def take_back(db: Connection) -> None:
    """Delete what `grow` stored, also for a process that was killed."""
    db.execute("DELETE FROM meta WHERE key BETWEEN ? AND ?", (_ROOM, f"{_ROOM}~"))


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
        raise spool_error(path, "cannot store", error) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn every error of reading into SpoolError."""
    try:
        yield
    except (sqlite3.Error, OSError, *NONSENSE) as error:
        raise spool_error(path, "cannot be read", error) from error


def spool_error(path: Path, what: str, error: BaseException) -> SpoolError:
    """Put an error into the words of a spool, and say what kind it is."""
    is_disk = isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK
    text = f"{path}: {what}: {why(error)}"
    return SpoolError(text, is_damaged=is_damage(error), is_disk=is_disk, is_full=is_full(error))


def is_damage(error: BaseException) -> bool:
    """Tell a file that is wrong from a disk that fails; a record without its shape is wrong too."""
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith("Could not decode")
    return type(error) is sqlite3.DatabaseError or isinstance(
        error, (sqlite3.IntegrityError, sqlite3.DataError, *NONSENSE)
    )


def is_full(error: BaseException) -> bool:
    """Say whether room may be what was missing; the index of the log needs some too."""
    code = getattr(error, "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE) or getattr(error, "errno", None) == errno.ENOSPC


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
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return "no room on the disk for the index of its log"  # SQLite says "disk I/O error"
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
    """Give the shapes by their numbers. Raises Error where one differs from its second copy, in the index.

    No record of it would pass its checksum, and all of them would be taken for damaged.
    """
    rows = db.execute(
        "SELECT id, text FROM shape NOT INDEXED UNION ALL "  # one statement: a new one may be stored meanwhile
        "SELECT id, text FROM shape INDEXED BY sqlite_autoindex_shape_1"
    ).fetchall()
    if len(rows) != 2 * len(set(rows)):
        raise sqlite3.DatabaseError("the shapes of records differ from their index")
    return dict(rows)


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


def connect(name: str) -> Connection:
    """Open a file, or a name that SQLite knows."""
    return sqlite3.connect(
        name, uri=name.startswith("file:"), isolation_level=None, timeout=10, check_same_thread=False
    )
