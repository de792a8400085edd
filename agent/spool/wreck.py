"""A damaged spool file, read as far as it reads. Nothing here raises for what it finds in the file."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent.record import SEPARATOR, Record, joined
from agent.spool import database, mark
from agent.spool.given_up import NOTE as GIVEN_UP
from agent.spool.given_up import GivenUp
from agent.spool.ranges import Ranges
from agent.spool.room import size_of
from agent.spool.stored import Dating
from agent.times import iso
from drivers.clock import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAMAGE = (database.Error, OSError, OverflowError, MemoryError, RecursionError, *database.NONSENSE)
_SMALLEST_RECORD_BYTES = 16
_LOOK_BACK = 200
_TABLES, _COLUMNS = ("record", "shape", "acknowledged", "dating", "meta"), 5
_NOT_CHECKED = 1 << 62
WAS = '"was":{'
_ID = re.compile(rb"[0-9a-f]{32}")
Row = tuple[Any, ...]
T = TypeVar("T")


class Wreck:
    """What is known of a damaged file, and its records.

    `id` and `newest` are None where they do not read. `newest` is the highest seq that was given, as far as that is
    beyond doubt; `knows_end` says that nothing can have been given behind it.
    """

    def __init__(self, path: Path) -> None:
        self._db = _opened(path)
        names = [name for (name,) in self._read("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")]
        self._names = _named(names)
        columns = list(self._read(f'PRAGMA table_info("{self._names["record"]}")'))
        self._has_crc = len(columns) > _COLUMNS
        self._checked_from = self._number("checked_from")
        noted_id = self.noted("id")
        self._shapes = self._candidates()
        self._datings = [Dating(*row) for row in self._small("dating", 6)]
        marked = mark.read(path)
        if marked and marked.spool != (noted_id or marked.spool):
            marked = None
        self.id: str | None = noted_id or (marked.spool if marked else _id_beside(path))
        whole = self._try(_all_acknowledged, None)
        rows = whole or self._small("acknowledged", 2)
        self._acknowledged = Ranges((first, last) for first, last in rows if 0 < first <= last < 1 << 53)
        if marked and marked.settled and whole is None:
            self._acknowledged.add(1, marked.settled)
        oldest, newest = self._end("ASC"), self._end("DESC")
        ends = [seq for seq in (newest, *(last for _, last in self._acknowledged)) if seq]
        self._told_until = marked.settled if marked else None
        self.knows_end = marked is not None and marked.is_last and marked.given >= max(ends, default=0)
        self.newest: int | None = max([*ends, *([marked.given] if marked else [])], default=None)
        self._first = 1 if marked or whole is not None else oldest or 1  # what it settled is known by one or the other
        room = (size_of(path) + size_of(Path(f"{path}-wal"))) // _SMALLEST_RECORD_BYTES
        last_acknowledged = max((last for _, last in self._acknowledged), default=0)
        end = self.newest if marked else newest
        self._last = min(end or 1 << 53, max(self._first, last_acknowledged) + room) if columns else 0

    def close(self) -> None:
        """Close the file."""
        if self._db:
            self._db.close()

    def noted(self, key: str) -> str:
        """Give what was noted, or an empty text."""
        return self._try(lambda db: database.meta(db, key), "")

    def given_up(self, lost: Ranges) -> Ranges | None:
        """Give what was given up and told of by records that may be lost; None if that is not known.

        Where the note of it does not read it is all that is settled behind what the mark calls settled.
        """
        noted = self._try(lambda db: GivenUp(database.notes(db)[GIVEN_UP]), None)
        if noted:
            return noted.told_by(lost)
        return None if self._told_until is None else Ranges(self._acknowledged.within(self._told_until + 1, 1 << 62))

    def is_settled(self, first: int, last: int) -> bool:
        """Say whether nothing of a range needs to be sent again."""
        return not self._acknowledged.gap(first, last)

    def wanted(self, seq: int, most: int) -> tuple[int, int] | None:
        """Give the next stretch, of so many seqs at most, that is not known to be acknowledged; None at the end."""
        gap = self._acknowledged.gap(max(seq, self._first), self._last)
        return (gap[0], min(gap[1], gap[0] + most - 1)) if gap else None

    def unread(self, seq: int) -> Iterator[tuple[int, int]]:
        """Give the stretches from a seq to the newest that are not known to be acknowledged."""
        while gap := self._acknowledged.gap(max(seq, self._first), self.newest or 0):
            yield gap
            seq = gap[1] + 1

    def records(self, first: int, last: int, stride: int) -> dict[int, Row]:
        """Give the sound records of a range by their seqs, in order.

        Read in one go as far as that goes, the rest one by one; where long nothing did read, only every `stride`-th,
        and all if one of them does.
        """
        found: dict[int, Row] = {}
        self._collect(found, "BETWEEN ? AND ? ORDER BY seq", first, last)
        missing = [seq for seq in range(first, last + 1) if seq not in found]
        before = len(found)
        for seq in missing[::stride]:
            self._collect(found, "= ?", seq)
        if stride > 1 and len(found) > before:
            for seq in missing:
                self._collect(found, "= ?", seq)
        return {seq: found[seq] for seq in sorted(found) if first <= seq <= last}

    def record(self, row: Row, latest_ms: int | None) -> Record:
        """Give a record for the new spool, with where it was. Raises one of DAMAGE if it makes no sense.

        `latest_ms`: the last time before it that is beyond doubt, the bound of a record whose time was held back.
        """
        seq, at_ms, elapsed_ms, number, body, _ = row
        text = self._text(row)
        _check_json(joined(text.encode().split(b"\x1f"), body) if number else body)
        at_ms, between = self._dated(seq, at_ms, elapsed_ms, latest_ms)
        iso(at_ms)
        if text.startswith(WAS):  # it was salvaged before and keeps its first name
            return Record(Moment(at_ms, 0), text, body)
        head = [
            f'"was":{{"spool":{json.dumps(self.id)},"seq":',
            *(['},"clock":"unsure","between":', ","] if between else ["},"]),
        ]
        values = [str(seq).encode(), *([between.encode()] if between else []), body]
        return Record(Moment(at_ms, 0), SEPARATOR.join(head) + text, b"\x1f".join(values))

    def is_copy(self, row: Row) -> bool:
        """Say whether a record was itself salvaged from an earlier spool, whose name it keeps."""
        return self._text(row).startswith(WAS)

    def sure_ms(self, row: Row) -> int | None:
        """Give the time of a record if it is beyond doubt."""
        at_ms, between = self._dated(row[0], row[1], row[2], None)
        return None if between else at_ms

    def _dated(self, seq: int, at_ms: int, elapsed_ms: int | None, latest_ms: int | None) -> tuple[int, str]:
        """Give the time of a record and, if it is in doubt, its bounds as JSON."""
        if elapsed_ms is None:
            return at_ms, ""
        dating = next((d for d in self._datings if d.first <= seq <= d.last), None)
        if dating is None:
            return at_ms, _bounds(latest_ms, None)
        if dating.offset_ms is not None:
            at_ms = elapsed_ms + dating.offset_ms
        return at_ms, _bounds(dating.earliest_ms, dating.latest_ms) if dating.unsure else ""

    def _text(self, row: Row) -> str:
        """Give the text of the shape of a record: the copy of it that fits its checksum."""
        texts = self._shapes.get(row[3], []) if row[3] else [""]
        return next(text for text in texts if self._fits(row, text))

    def _is_sound(self, row: Row) -> bool:
        try:
            return any(self._fits(row, text) for text in (self._shapes.get(row[3], []) if row[3] else [""]))
        except DAMAGE:
            return False

    def _fits(self, row: Row, text: str) -> bool:
        seeds = {row[3]: database.seed(text)}
        return isinstance(row[4], bytes) and database.is_sound(row, seeds, self._checked_from)

    def _collect(self, found: dict[int, Row], condition: str, *values: int) -> None:
        previous = None
        for row in self._rows(f"WHERE seq {condition}", *values):
            if previous is not None and row[0] <= previous:
                return
            previous = row[0]
            if self._is_sound(row):
                found[row[0]] = row

    def _end(self, order: str) -> int | None:
        """Give the lowest or highest seq that is beyond doubt."""
        rows = self._rows(f"ORDER BY seq {order} LIMIT {_LOOK_BACK}")
        return next((row[0] for row in rows if self._is_sound(row)), None)

    def _rows(self, condition: str, *values: int) -> Iterator[Row]:
        """Give records as far as they read; the names of their columns may be damaged, not their order."""
        columns = "seq, own, at_ms, elapsed_ms, shape, body" + ", crc" * self._has_crc
        table = f'SELECT rowid, * FROM "{self._names["record"]}"'  # noqa: S608  no input from outside
        for row in self._read(f"WITH sound({columns}) AS ({table}) SELECT * FROM sound {condition}", *values):  # noqa: S608  no input from outside
            yield row[0], *row[2:], *([] if self._has_crc else [None])

    def _candidates(self) -> dict[int, list[str]]:
        """Give the texts of the shapes; each stands in the table and in its index."""
        found: dict[int, list[str]] = {}
        table = self._names["shape"]
        for order in ("NOT INDEXED", "ORDER BY 3"):
            rows = self._read(f'SELECT rowid, * FROM "{table}" {order}')  # noqa: S608  no input from outside
            for number, _, text in (row[:3] for row in rows if len(row) > 2):
                if isinstance(text, str) and text not in found.setdefault(number, []):
                    found[number].append(text)
        return found

    def _small(self, table: str, width: int) -> Iterator[Row]:
        """Give the rows of a small table that are whole."""
        for row in self._read(f'SELECT * FROM "{self._names[table]}"'):  # noqa: S608  no input from outside
            values = row[:width]
            is_plain = all(value is None or isinstance(value, int) for value in values) and None not in values[:2]
            if is_plain and (not self._has_crc or database.with_crc(*values) == row):
                yield values

    def _number(self, key: str) -> int:
        text = self.noted(key)
        return int(text) if text.isdigit() else _NOT_CHECKED

    def _read(self, sql: str, *values: int) -> Iterator[Row]:
        """Give rows as far as they read."""
        with contextlib.suppress(*DAMAGE):
            if self._db:
                with contextlib.closing(self._db.execute(sql, values)) as rows:
                    yield from rows

    def _try(self, ask: Callable[[database.Connection], T], otherwise: T) -> T:
        try:
            return ask(self._db) if self._db else otherwise
        except DAMAGE:
            return otherwise


def _named(names: list[str]) -> dict[str, str]:
    """Give the tables by their right names: one whose name was damaged is known by its place."""
    misnamed = {right: name for right, name in zip(_TABLES, names, strict=False) if name not in _TABLES}
    return {right: right if right in names else misnamed.get(right, right) for right in _TABLES}


def _all_acknowledged(db: database.Connection) -> Ranges | None:
    return database.acknowledged(db)


def _opened(path: Path) -> database.Connection | None:
    """Open the file with the log beside it, or, if that does not go, without it."""
    for options in ((), ("immutable=1",)):
        with contextlib.suppress(*DAMAGE):
            db = database.connected_to_read(path, *options)
            db.text_factory = lambda text: text.decode("utf-8", "replace")
            with contextlib.suppress(*DAMAGE):
                db.execute("PRAGMA writable_schema=ON")  # else a file that lost its end would not read at all
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return db
            db.close()
    return None


def _id_beside(path: Path) -> str | None:
    """Give the id that stands beside the file, for one whose tables do not read any more."""
    try:
        found = Path(f"{path}.id").read_bytes()
    except OSError:
        return None
    return found.decode() if _ID.fullmatch(found) else None


def _check_json(body: bytes) -> None:
    """Raise ValueError for a body that is no JSON; one of the older layout has no checksum to tell."""
    json.loads(b"{" + body + b"}")


def _bounds(earliest_ms: int | None, latest_ms: int | None) -> str:
    return f"[{_time(earliest_ms)},{_time(latest_ms)}]"


def _time(wall_ms: int | None) -> str:
    return "null" if wall_ms is None else f'"{iso(wall_ms)}"'
