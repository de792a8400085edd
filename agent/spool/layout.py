"""The tables of a spool: made in a new file, brought to the present layout in an older one, refused in any other.

record        seq | at_ms | elapsed_ms (only while the clock was not trusted) | shape | body | crc
shape         what all records of an instrument have in common, so that it is written once
dating        ranges of seqs measured under an untrusted clock, and what became known of their time
acknowledged  ranges of seqs that need not be sent again
hour          the span and the seqs of each hour ledger: the time index of the spool
meta          words that are remembered across restarts
aged          records with their time as far as it is known: a clock that stood at 1970 does not make them old
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from agent.spool.database import BASE, Newer, base_of, connect, newest, note, with_crc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from agent.spool.database import Connection

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


def opened(path: Path, notes: Callable[[], Mapping[str, str]], *, is_short: bool) -> Connection:
    """Open a file for writing; make or upgrade it, with notes, if it is not in the newest layout.

    `is_short`: the disk is nearly full, so the log is kept small. Raises Error or one of NONSENSE.
    """
    db = connect(str(path))
    try:
        version = _version(db)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA secure_delete=OFF")  # Debian has it on: pages that become free are written too
        db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES_WHEN_SHORT if is_short else _CHECKPOINT_PAGES}")
        if version < SCHEMA_VERSION:
            _lay_out(db, version, notes())
        db.execute(_AGED)  # not in the file, where a changed letter would end every start
    except BaseException:
        db.close()  # at once: closed later, it would delete the log of the file that takes this one's place
        raise
    return db


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
        raise Newer(f"was written by a newer stationd (schema {version}, known {SCHEMA_VERSION})")
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
    with contextlib.closing(connect(":memory:")) as db:
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
        note(db, "id", spool_id := uuid4().hex)
        note(db, BASE, str(base_of(spool_id)))
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
