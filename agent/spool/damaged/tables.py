"""The tables of a damaged spool file as far as SQLite reads them. Nothing here raises for what it finds in the file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent.spool import database
from agent.spool.log_end import has_lost_head
from agent.spool.room import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.spool.ranges import Ranges

DAMAGE = (database.Error, OSError, OverflowError, MemoryError, RecursionError, *database.NONSENSE)
_TABLES, _COLUMNS = ("record", "shape", "acknowledged", "dating", "meta"), 5
Row = tuple[Any, ...]
T = TypeVar("T")


class Tables:
    """`has_records`: the table of records is known; `has_crc`: its rows have checksums, as all but the oldest have.

    `lacks_log`: there is a log, but nothing of it is read, so what is noted may be older than what was sent.
    """

    def __init__(self, path: Path) -> None:
        self._db, is_alone = _opened(path)
        self.lacks_log = has_lost_head(path) or (is_alone and size_of(Path(f"{path}-wal")) > 0)
        names = [name for (name,) in self._read("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")]
        self._names = _named(names)
        columns = list(self._read(f'PRAGMA table_info("{self._names["record"]}")'))
        self.has_records, self.has_crc = bool(columns), len(columns) > _COLUMNS

    def close(self) -> None:
        """Close the file."""
        if self._db:
            self._db.close()

    def noted(self, key: str) -> str:
        """Give what was noted, or an empty text."""
        return self.ask(lambda db: database.meta(db, key), "")

    def ask(self, ask: Callable[[database.Connection], T], otherwise: T) -> T:
        """Give the answer of a function, or something else where that does not read."""
        try:
            return ask(self._db) if self._db else otherwise
        except DAMAGE:
            return otherwise

    def acknowledged(self) -> Ranges | None:
        """Give the seqs that need not be sent again, if all of them read."""
        return self.ask(_acknowledged, None)

    def has_datings(self) -> bool:
        """Say whether all reads of what became known of the time of records."""
        return self.ask(lambda db: database.datings(db) is not None, otherwise=False)

    def records(self, condition: str, *values: int) -> Iterator[Row]:
        """Give records as far as they read; the names of their columns may be damaged, not their order."""
        columns = "seq, own, at_ms, elapsed_ms, shape, body" + ", crc" * self.has_crc
        table = f'SELECT rowid, * FROM "{self._names["record"]}"'  # noqa: S608  no input from outside
        for row in self._read(f"WITH sound({columns}) AS ({table}) SELECT * FROM sound {condition}", *values):  # noqa: S608  no input from outside
            yield row[0], *row[2:], *([] if self.has_crc else [None])

    def shapes(self) -> dict[int, list[str]]:
        """Give the texts of the shapes; each stands in the table and in its index."""
        found: dict[int, list[str]] = {}
        table = self._names["shape"]
        for order in ("NOT INDEXED", "ORDER BY 3"):
            rows = self._read(f'SELECT rowid, * FROM "{table}" {order}')  # noqa: S608  no input from outside
            for number, _, text in (row[:3] for row in rows if len(row) > 2):
                if isinstance(text, str) and text not in found.setdefault(number, []):
                    found[number].append(text)
        return found

    def small(self, table: str, width: int) -> Iterator[Row]:
        """Give the rows of a small table that are whole."""
        for row in self._read(f'SELECT * FROM "{self._names[table]}"'):  # noqa: S608  no input from outside
            values = row[:width]
            is_plain = all(value is None or isinstance(value, int) for value in values) and None not in values[:2]
            if is_plain and (not self.has_crc or database.with_crc(*values) == row):
                yield values

    def _read(self, sql: str, *values: int) -> Iterator[Row]:
        """Give rows as far as they read."""
        with contextlib.suppress(*DAMAGE):
            if self._db:
                with contextlib.closing(self._db.execute(sql, values)) as rows:
                    yield from rows


def _named(names: list[str]) -> dict[str, str]:
    """Give the tables by their right names: one whose name was damaged is known by its place."""
    misnamed = {right: name for right, name in zip(_TABLES, names, strict=False) if name not in _TABLES}
    return {right: right if right in names else misnamed.get(right, right) for right in _TABLES}


def _acknowledged(db: database.Connection) -> Ranges | None:
    return database.acknowledged(db)


def _opened(path: Path) -> tuple[database.Connection | None, bool]:
    """Open the file with the log beside it, or, if that does not go, without it; says if it is so."""
    for is_alone in (False, True):
        with contextlib.suppress(*DAMAGE):
            db = database.connected_to_read(path, *(["immutable=1"] if is_alone else []))
            db.text_factory = lambda text: text.decode("utf-8", "replace")
            with contextlib.suppress(*DAMAGE):
                db.execute("PRAGMA writable_schema=ON")  # else a file that lost its end would not read at all
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return db, is_alone
            db.close()
    return None, True
