"""What a spool takes up on its disk, and whether that is nearly full: pages that can be used again count as free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.spool import database
from agent.spool.damaged.salvage import AT_ONCE, AT_ONCE_WHEN_SHORT
from agent.spool.room import COPYING_BYTES, SMALL_BYTES, SPARE_BYTES, Room

if TYPE_CHECKING:
    from pathlib import Path


class Space:
    """Asked by the thread that writes. Every method raises SpoolError when the file cannot be read."""

    def __init__(self, path: Path, db: database.Connection, room: Room) -> None:
        self._path, self._db, self._room = path, db, room

    def used_bytes(self) -> int:
        """Give the size of the records; free pages and the write-ahead log (2 MB at most) are not counted."""
        return (self._number("page_count") - self._number("freelist_count")) * self._number("page_size")

    def limit_bytes(self, size_bytes: int) -> int:
        """Give up to where the spool can grow, given how large it may grow."""
        left = self._free_bytes() - self._room.reserve_bytes() + self._reusable_bytes() + self.packed_bytes()
        return max(0, min(size_bytes, self.used_bytes() + left))

    def is_short(self) -> bool:
        """Say whether the disk is nearly full."""
        return self._free_bytes() + self._reusable_bytes() < self._room.reserve_bytes()

    def copies_at_once(self, unsent: int, *, needs_index: bool) -> int:
        """Give how many salvaged records may be stored at once; 0 where others would soon have to go for them.

        `needs_index`: the damaged file has a log whose index is to be made beside it first.
        """
        if needs_index and not self._has(COPYING_BYTES):
            with database.reading(self._path):
                if not (self._room.give_up_ballast() or self._room.give_up_spare()):
                    return 0
        if not self.is_short():
            return AT_ONCE if self._has(SPARE_BYTES) else AT_ONCE_WHEN_SHORT
        has_place = self.used_bytes() <= SMALL_BYTES // 2 and unsent <= AT_ONCE_WHEN_SHORT
        return AT_ONCE_WHEN_SHORT if has_place else 0

    def keep_reserve(self) -> None:
        """Keep room that can be given up at a start, if there is enough again."""
        with database.reading(self._path):
            if not self.is_short():
                self._room.restore()

    def packed_bytes(self) -> int:
        """Give the size of the messages that were made ahead, which count as long as nothing else has to go."""
        return self._room.packed_bytes()

    def give_up_packed(self) -> bool:
        """Give up the messages that were made ahead; says whether there were any."""
        with database.reading(self._path):
            return self._room.give_up_packed()

    def give_up_ballast(self) -> bool:
        """Give up room that is kept for a start with a large log; says whether there was any."""
        with database.reading(self._path):
            return self._room.give_up_ballast()

    def _has(self, size_bytes: int) -> bool:
        return self._free_bytes() >= size_bytes

    def _free_bytes(self) -> int:
        with database.reading(self._path):
            return self._room.free_bytes()

    def _reusable_bytes(self) -> int:
        return self._number("freelist_count") * self._number("page_size")

    def _number(self, pragma: str) -> int:
        with database.reading(self._path):
            return int(self._db.execute(f"PRAGMA {pragma}").fetchone()[0])
