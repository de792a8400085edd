"""What goes first when room is short and everything that was delivered is gone: the oldest records, but no ledgers.

Ledgers say what was measured and what was given up; they go only when nothing else is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.spool.ranges import Ranges

if TYPE_CHECKING:
    from agent.spool.database import Connection

_IS_LEDGER = """(shape = 0 AND substr(CAST(body AS TEXT), 1, 15) = '"kind":"ledger"')"""


class Oldest(NamedTuple):
    """Records to be given up: the ranges of their seqs, how many they are, and the times of the first and the last."""

    ranges: list[tuple[int, int]]
    records: int
    begin_ms: int
    end_ms: int

    @property
    def first(self) -> int:
        """Give the lowest seq."""
        return self.ranges[0][0]

    @property
    def last(self) -> int:
        """Give the highest seq."""
        return self.ranges[-1][1]


def oldest(db: Connection, most: int) -> Oldest | None:
    """Find the oldest records that are no ledgers, or the oldest ledgers; None if the spool is empty."""
    return _oldest(db, f"NOT {_IS_LEDGER}", most) or _oldest(db, _IS_LEDGER, most)


def _oldest(db: Connection, which: str, most: int) -> Oldest | None:
    chosen = f"SELECT seq FROM record WHERE {which} ORDER BY seq LIMIT ?"  # noqa: S608  our own words
    aged = f"SELECT seq, at_ms FROM aged WHERE seq IN ({chosen}) ORDER BY seq"  # noqa: S608  our own words
    rows = db.execute(aged, (most,)).fetchall()
    if not rows:
        return None
    (first, begin_ms), (last, end_ms) = rows[0], rows[-1]
    ranges = Ranges([(first, last)])
    others = f"SELECT seq FROM record WHERE seq BETWEEN ? AND ? AND NOT ({which})"  # noqa: S608  our own words
    for (seq,) in db.execute(others, (first, last)):
        ranges.remove(seq, seq)
    return Oldest(list(ranges), len(rows), begin_ms, end_ms)
