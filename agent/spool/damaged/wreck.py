"""A damaged spool file, read as far as it reads. Nothing here raises for what it finds in the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from agent.record import SEPARATOR, Record, joined
from agent.spool import beside, database, mark
from agent.spool.damaged.given_up import NOTE as GIVEN_UP
from agent.spool.damaged.given_up import GivenUp
from agent.spool.damaged.pages import Pages
from agent.spool.damaged.tables import DAMAGE, Row, Tables
from agent.spool.ranges import Ranges
from agent.spool.room import size_of
from agent.spool.stored import Dating
from agent.times import iso
from drivers.clock import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SMALLEST_RECORD_BYTES = 16
_LOOK_BACK = 200
_NOT_CHECKED = 1 << 62
WAS = '"was":{'
_ID = re.compile(rb"[0-9a-f]{32}")


class Wreck:
    """What is known of a damaged file, and its records.

    `id` and `newest` are None where they do not read. `newest` is the highest seq that was given, as far as that is
    beyond doubt; `knows_end` says that nothing can have been given behind it. `lacks`: the tables do not give all that
    must have been there, and the pages were not looked through yet. `lacks_log`: what is noted may be old.
    """

    def __init__(self, path: Path) -> None:
        self._tables, self._pages = Tables(path), Pages(path)
        checked_from = self.noted("checked_from")
        self._checked_from = int(checked_from) if checked_from.isdigit() else _NOT_CHECKED
        noted_id, noted_base = self.noted("id"), self.noted(database.BASE)
        beside_id = _id_beside(path)
        if noted_base and beside_id and noted_base == str(database.base_of(beside_id)):
            noted_id = beside_id  # a note may be wrong where the table of notes lost its checksums
        self._shapes = self._tables.shapes()
        self._add_shapes(beside.shapes(path))
        self._datings = [Dating(*row) for row in self._tables.small("dating", 6)]
        self._mark = mark.read(path)
        if self._mark and self._mark.spool != (noted_id or self._mark.spool):
            self._mark = None
        self.id: str | None = noted_id or (self._mark.spool if self._mark else beside_id)
        bases = {0, *(database.base_of(one) for one in (self.id, beside_id) if one)}
        self._bases = bases | ({int(noted_base)} if noted_base.isdigit() else set())
        self._told_until = self._mark.settled if self._mark else None
        self._whole = self._tables.acknowledged()
        rows = self._whole or self._tables.small("acknowledged", 2)
        self._acknowledged = Ranges((first, last) for first, last in rows if 0 < first <= last < 1 << 53)
        if self._mark and self._mark.settled and self._whole is None:
            self._acknowledged.add(1, self._mark.settled)
        self._room = (size_of(path) + size_of(Path(f"{path}-wal"))) // _SMALLEST_RECORD_BYTES
        self._bound(self._end("ASC"), self._end("DESC"))
        self.lacks_log = self._tables.lacks_log
        has_all = self._tables.has_records and self._tables.has_datings() and self._whole is not None
        self.lacks = not (has_all and self._mark)

    def _bound(self, oldest: int | None, newest: int | None) -> None:
        """Settle from where to where records are looked for, and whether more can have been."""
        marked = self._mark
        ends = [seq for seq in (newest, *(last for _, last in self._acknowledged)) if seq]
        self.knows_end = marked is not None and marked.is_last and marked.given >= max(ends, default=0)
        self.newest: int | None = max([*ends, *([marked.given] if marked else [])], default=None)
        # what it settled is known by the mark or by its table
        self._first = 1 if marked or self._whole is not None else oldest or 1
        last_acknowledged = max((last for _, last in self._acknowledged), default=0)
        end = self.newest if marked else newest
        self._last = (
            min(end or 1 << 53, max(self._first, last_acknowledged) + self._room)
            if newest or self._tables.has_records
            else 0
        )

    def look_closer(self, until_s: float) -> None:
        """Look through the pages themselves until a time; where that is done, nothing is lacking any more."""
        if not self._pages.look(until_s):
            return
        self.lacks = False
        self.id = self.id or self._pages.notes.get("id")
        noted_base = self._pages.notes.get(database.BASE, "")
        self._bases |= {int(noted_base)} if noted_base.isdigit() else set()
        self._add_shapes(self._pages.shapes)
        self._datings += [Dating(*row) for row in self._pages.datings if Dating(*row) not in self._datings]
        for first, last in self._pages.acknowledged if self._whole is None else ():
            if 0 < first <= last < 1 << 53:
                self._acknowledged.add(first, last)
        self._bound(self._end("ASC"), self._end("DESC"))

    def close(self) -> None:
        """Close the file."""
        self._tables.close()

    def noted(self, key: str) -> str:
        """Give what was noted, or an empty text."""
        return self._tables.noted(key)

    def given_up(self, lost: Ranges) -> Ranges | None:
        """Give what was given up and told of by records that may be lost; None if that is not known.

        Where the note of it does not read, or may be older than the log would have it, it is all that is settled behind
        what the mark calls settled.
        """
        noted = self._tables.ask(lambda db: GivenUp(database.notes(db)[GIVEN_UP]), None)
        if noted and not self.lacks_log:
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

        Read in one go as far as that goes, the rest from the pages, or one by one; where long nothing did read, only
        every `stride`-th, and all if one of them does. If then something `lacks`, ask again after a closer look.
        """
        found: dict[int, Row] = {}
        self._collect(found, "BETWEEN ? AND ? ORDER BY seq", first, last)
        if len(found) <= last - first:
            self.lacks = not self._pages.is_done
            found |= {row[0]: row for row in self._pages.rows(first, last) if self._is_sound(row)}
        missing = [seq for seq in range(first, last + 1) if seq not in found and not self.lacks]
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
        return isinstance(row[4], bytes) and any(
            database.is_sound(row, {row[3]: database.seed(text, base)}, self._checked_from) for base in self._bases
        )

    def _add_shapes(self, shapes: Mapping[int, Sequence[str]]) -> None:
        for number, texts in shapes.items():
            known = self._shapes.setdefault(number, [])
            known += [text for text in texts if text not in known]

    def _collect(self, found: dict[int, Row], condition: str, *values: int) -> None:
        previous = None
        for row in self._tables.records(f"WHERE seq {condition}", *values):
            if previous is not None and row[0] <= previous:
                return
            previous = row[0]
            if self._is_sound(row):
                found[row[0]] = row

    def _end(self, order: str) -> int | None:
        """Give the lowest or highest seq that is beyond doubt."""
        is_newest = order == "DESC"
        of_table = self._tables.records(f"ORDER BY seq {order} LIMIT {_LOOK_BACK}")
        of_pages = self._pages.outermost(is_newest=is_newest)
        ends = [next((row[0] for row in rows if self._is_sound(row)), None) for rows in (of_table, of_pages)]
        return (max if is_newest else min)((seq for seq in ends if seq), default=None)


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
