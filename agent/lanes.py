"""The two lanes over one spool: what to send next, what is on its way, what is settled. No network, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.spool import Reader, Stored

LIVE_RESERVE = 4
"""Places in the in-flight window that the backlog leaves to live messages."""


class Parcel(NamedTuple):
    """Records taken for one message, covering a range of seqs."""

    is_live: bool
    first: int
    last: int
    records: list[Stored]


class Lanes:
    """Live records first, then the backlog from its oldest end; for one session at a time.

    `settle(first, last)` is told of every range that need not be sent again.
    """

    def __init__(self, reader: Reader, settle: Callable[[int, int], None]) -> None:
        self.settled = reader.acknowledged()
        self.newest = reader.newest()
        self.refused = Ranges()
        self._reader, self._settle = reader, settle
        self._message_bytes = 0
        self._live_from = self._live_next = self._backlog_next = 1

    @property
    def backlog(self) -> int:
        """Count the records that are not acknowledged."""
        return self.settled.missing(1, self.newest)

    def oldest_unsent_ms(self) -> int | None:
        """Give the time of the oldest record that is not acknowledged."""
        gap = self.settled.gap(1, self.newest)
        found = self._reader.records(*gap, 0) if gap else []
        return found[0].at_ms if found else None

    def begin_session(self, message_bytes: int) -> None:
        """Call everything live that comes from now on; what was on its way is unsent again."""
        self._message_bytes = message_bytes
        self._live_from = self._live_next = self.newest + 1
        self._backlog_next = 1
        self.refused = Ranges()

    def live(self) -> Parcel | None:
        """Take the next live records."""
        if self._live_next > self.newest:
            return None
        records = self._reader.records(self._live_next, self.newest, self._message_bytes)
        if not records:
            return None
        parcel = Parcel(True, self._live_next, records[-1].seq, records)
        self._live_next = parcel.last + 1
        return parcel

    def backfill(self) -> Parcel | None:
        """Take the next records of the backlog."""
        while gap := self.settled.gap(self._backlog_next, self._live_from - 1):
            records = self._reader.records(*gap, self._message_bytes)
            if records:
                self._gone(gap[0], records[0].seq - 1)
                self._backlog_next = records[-1].seq + 1
                return Parcel(False, records[0].seq, records[-1].seq, records)
            if self._reader.exists(*gap):
                return None  # its time is still held back
            self._gone(*gap)
        return None

    def acknowledged(self, parcel: Parcel) -> None:
        """Note that the broker has it."""
        self.settled.add(parcel.first, parcel.last)
        self._settle(parcel.first, parcel.last)

    def was_refused(self, parcel: Parcel) -> None:
        """Note that the broker will not have it; the next session tries again."""
        self.refused.add(parcel.first, parcel.last)

    def _gone(self, first: int, last: int) -> None:
        """Settle seqs whose records were trimmed."""
        if first <= last:
            self.settled.add(first, last)
            self._settle(first, last)
