"""Whether a spool is what was written: what a start can afford to look at, and the whole of a large file bit by bit.

What stands in the single records is checked where they are read, by their checksums; here it is about the structure,
which decides whether they are found at all.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from agent.spool import database
from agent.spool.stored import SpoolError
from drivers.clock import monotonic_s, sleep_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


SMALL_BYTES = 64 * 1024 * 1024
"""A file up to that size is checked whole at every start."""
_NEWEST = 200
_SLICE = 4000
_REST = 3
"""How many times as long as it worked the check of a large file pauses, so that it takes a quarter of one core."""


def check_start(db: database.Connection) -> None:
    """Look at the small tables, the newest records and all of a small file. Raises ValueError or Error for damage."""
    if not re.fullmatch("[0-9a-f]{32}", database.notes(db).get("id", "")):
        raise ValueError("it does not say which spool it is")
    database.datings(db)
    _check_newest(db, database.seeds(db))
    size = db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
    if size <= SMALL_BYTES:
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise ValueError(found)
        _check_presence(db)


def check(path: Path, cancelled: Callable[[], bool]) -> str:
    """Walk through a large file beside its writer; gives what is wrong, or an empty text.

    Every slice is a read transaction of its own of a few milliseconds, so the log can be folded into the file in
    between. What it finds: pages that do not read, records out of order, unsent records that are not there.
    Raises SpoolError when the disk fails.
    """
    try:
        with database.reading(path), contextlib.closing(database.connected_to_read(path)) as db:
            following: int | None = 1
            while following is not None and not cancelled():
                begin_s = monotonic_s()
                following = _check_slice(db, following)
                sleep_s(_REST * (monotonic_s() - begin_s))
    except SpoolError as error:
        if not error.is_damaged:
            raise
        return str(error)
    return ""


def _check_newest(db: database.Connection, seeds: dict[int, int]) -> None:
    """Doubt the number of the newest record, for the next one follows it."""
    checked_from = int(database.meta(db, "checked_from") or 1)
    rows = db.execute(f"SELECT {database.record_columns(db)} FROM record ORDER BY seq DESC LIMIT ?", (_NEWEST,))  # noqa: S608  our own names
    previous = None
    for row in rows.fetchall():
        if previous is not None and row[0] >= previous:
            raise ValueError(f"record {row[0]} comes before record {previous}")
        if previous is None and not database.is_sound(row, seeds, checked_from):
            raise ValueError("the newest record does not pass its checksum")
        previous = row[0]


def _check_presence(db: database.Connection) -> None:
    """Every record that is not acknowledged must be there, for nothing else is ever deleted."""
    for first, last in database.acknowledged(db).gaps(1, database.newest(db)):
        count = db.execute("SELECT count(*) FROM record WHERE seq BETWEEN ? AND ?", (first, last)).fetchone()[0]
        if count != last - first + 1:
            raise ValueError(f"of records {first} to {last}, which are not acknowledged, {count} are there")


def _check_slice(db: database.Connection, first: int) -> int | None:
    """Check the next records; gives where to go on. Raises ValueError for damage."""
    db.execute("BEGIN")
    with contextlib.closing(
        db.execute("SELECT seq FROM record WHERE seq >= ? ORDER BY seq LIMIT ?", (first, _SLICE))
    ) as rows:
        seqs = [seq for (seq,) in rows]
    last = seqs[-1] if len(seqs) == _SLICE else database.newest(db)
    wanted = list(database.acknowledged(db).gaps(first, last))
    db.execute("COMMIT")
    if any(b <= a for a, b in zip([first - 1, *seqs], seqs, strict=False)):
        raise ValueError(f"records from {first} on are out of order")
    there = set(seqs)
    for begin, end in wanted:
        if missing := next((seq for seq in range(begin, end + 1) if seq not in there), None):
            raise ValueError(f"record {missing}, which is not acknowledged, is not there")
    return last + 1 if len(seqs) == _SLICE else None
