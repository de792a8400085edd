"""What a spool notes for the one that may have to take its place, and what it took over from those before it.

Three notes, each stored in the transaction that makes it true: what was given up unsent, which damaged files were
copied into this spool, and what is left to copy of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.spool import database
from agent.spool.damaged import copies, given_up, salvage
from agent.spool.damaged.copies import Copies
from agent.spool.damaged.given_up import GivenUp
from agent.spool.ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agent.spool.damaged.salvage import Salvage

    Spans = Sequence[tuple[int, int]]


class Legacy:
    """The notes of one spool. Raises one of `database.NONSENSE` for notes that are none."""

    salvage: Salvage | None
    """What is still to be copied from damaged files; the commit that stores its last batch makes it None."""

    def __init__(self, path: Path, db: database.Connection) -> None:
        self._path = path
        self._given_up = GivenUp(database.meta(db, given_up.NOTE))
        self.copies = Copies(path, database.meta(db, copies.NOTE))
        self.copies.delivered(database.acknowledged(db))
        self.salvage = salvage.begun(path, database.meta(db, salvage.SALVAGE), self.copies)

    def untold_by(self, ranges: Spans, acknowledged: Ranges) -> list[tuple[int, int]]:
        """Give what only undelivered records of these ranges tell was given up: who gives them up has to tell it."""
        untold = Ranges(gap for one in ranges for gap in acknowledged.gaps(*one))
        return list(self._given_up.told_by(untold))

    def settled(self, acknowledged: Ranges) -> int:
        """Give up to where nothing need be sent again, nor told."""
        first, last = next(iter(acknowledged), (0, 0))
        return self._given_up.told_until(last, acknowledged) if first == 1 else 0

    def notes(
        self, first: int, last: int, gone: Spans, drop: Spans, damaged: Spans, acknowledged: Ranges
    ) -> dict[str, str]:
        """Give the notes of a commit whose records, from `first` to `last`, tell that ranges are gone.

        A damaged copy is no loss while the file that it is of is there.
        """
        notes = {}
        if gone:
            self._given_up.add(first, last, gone, acknowledged)
            notes[given_up.NOTE] = self._given_up.text()
        if drop and self.copies.told_by(drop, last):
            notes[copies.NOTE] = self.copies.text()
        if damaged:
            again = self.copies.take_again(damaged)
            taken = self.salvage or salvage.Salvage(self._path, "[]")
            if taken.take_again(again, damaged):
                self.salvage = taken
                notes |= {copies.NOTE: self.copies.text(), salvage.SALVAGE: taken.todo()}
        if self.salvage and self.salvage.finished:
            self.copies.add(self.salvage.finished, last)
            notes[copies.NOTE] = self.copies.text()
        return notes

    def stored(self, notes: Mapping[str, str], acknowledged: Ranges) -> None:
        """Go on now that a commit with these notes is stored: after a batch of salvage, or its last."""
        if self.salvage and salvage.SALVAGE in notes:
            self.salvage.finished.clear()
            if not notes[salvage.SALVAGE]:
                self.close()
        self.copies.delivered(acknowledged)

    def close(self) -> None:
        """Close the damaged file that is being copied."""
        if self.salvage:
            self.salvage.close()
        self.salvage = None
