"""The two lanes over one spool: what to send next, what is on its way, what is settled. No network, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agent.spool.ranges import Ranges
from agent.spool.stored import DamagedRecord, SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.spool.packed import Message, Packed
    from agent.spool.spool import Reader, Stored

LIVE_RESERVE = 4
"""Places in the in-flight window that the backlog leaves to live messages."""

_UNBOUNDED = 1 << 62


class Parcel(NamedTuple):
    """Records taken for one message, covering a range of seqs. `request` is who asked for them, if anybody did.

    `packed` is the message that was made of them before; then they are not read.
    """

    lane: str
    first: int
    last: int
    records: list[Stored]
    request: Any = None
    packed: Message | None = None

    @property
    def values(self) -> int:
        """Count the values in it."""
        return self.packed.values if self.packed else sum(one.values for one in self.records)

    @property
    def size(self) -> int:
        """Count the records."""
        return self.last - self.first + 1 if self.packed else len(self.records)


class Lanes:
    """Live records first, then the backlog from its oldest end; for one session at a time.

    `settle(first, last)` is told of every range that need not be sent again, `damaged(first, last)` of records that
    are not what was once written.
    """

    def __init__(
        self,
        reader: Reader,
        settle: Callable[[int, int], None],
        damaged: Callable[[int, int], None],
        packed: Packed | None = None,
    ) -> None:
        self.settled = reader.acknowledged()
        self.newest = reader.newest()
        self.set_aside = Ranges()
        self.awaiting = Ranges()
        self._covered = self.settled.copy()
        self._reader, self._settle, self._damaged, self._packed = reader, settle, damaged, packed
        self._halves: list[tuple[int, int]] = []
        self.message_bytes = 0
        self._live_next = 1

    @property
    def backlog(self) -> int:
        """Count the records that are not acknowledged."""
        return self.settled.missing(1, self.newest)

    def oldest_unsent_ms(self) -> int | None:
        """Give the time of the oldest record that is not acknowledged."""
        gap = self.settled.gap(1, self.newest)
        found = self._read(*gap, 0) if gap else []
        return found[0].at_ms if found else None

    def begin_session(self, message_bytes: int) -> None:
        """Call everything live that comes from now on; what was on its way is unsent again."""
        self.message_bytes = message_bytes
        self._live_next = self.newest + 1
        self._halves.clear()
        self._covered = self.settled.copy()
        for first, last in (*self.set_aside, *self.awaiting):
            self._covered.add(first, last)

    def live(self) -> Parcel | None:
        """Take the next live records."""
        if self._live_next > self.newest:
            return None
        records = self._read(self._live_next, self.newest, self.message_bytes)
        if not records:
            return None
        parcel = Parcel("data", self._live_next, records[-1].seq, records)
        self._live_next = parcel.last + 1
        self._covered.add(parcel.first, parcel.last)
        return parcel

    def pass_by_live(self) -> None:
        """Leave what is live to the backlog, since the broker will not have it as such."""
        self._live_next = self.newest + 1

    def backfill(self, message_bytes: int = _UNBOUNDED, packed_bytes: int = 0) -> Parcel | None:
        """Take the next records of the backlog, or of a message that was refused as a whole.

        A message that was packed ahead is taken instead, if it is no larger than `packed_bytes`.
        """
        while gap := self._next_gap():
            if message := self._packed_message(gap, packed_bytes):
                self._covered.add(message.first, message.last)
                return Parcel("backfill", message.first, message.last, [], packed=message)
            gap = self._before_packed(gap)
            records = self._read(*gap, message_bytes)
            if records:
                self._gone(gap[0], records[0].seq - 1)
                self._covered.add(gap[0], records[-1].seq)
                self._cut_half(records[-1].seq)
                return Parcel("backfill", records[0].seq, records[-1].seq, records)
            if not self._covered.gap(*gap):
                continue  # it was damaged
            if self._reader.exists(*gap):
                return None  # its time is still held back
            self._gone(*gap)
        return None

    def read(self, parcel: Parcel) -> bytes | None:
        """Give the message that was packed ahead; without it its records are sent in another."""
        message = self._packed.read(parcel.packed) if self._packed and parcel.packed else None
        if message is None:
            self._unpack(parcel)
        return message

    def acknowledged(self, parcel: Parcel) -> None:
        """Note that it is delivered."""
        if parcel.request is None or parcel.last - parcel.first + 1 == len(parcel.records):
            self.deliver(parcel.first, parcel.last)
            return
        for one in parcel.records:
            self.deliver(one.seq, one.seq)

    def deliver(self, first: int, last: int) -> None:
        """Note that whatever exists of a range is delivered."""
        last = min(last, self.newest)
        for gap in list(self.settled.gaps(first, last)):
            self.awaiting.remove(*gap)
            self.set_aside.remove(*gap)
            self.settled.add(*gap)
            self._covered.add(*gap)
            self._settle(*gap)
            if self._packed:
                self._packed.forget(*gap)

    def await_receipt(self, parcel: Parcel) -> None:
        """Note that the broker has it; the platform's receipt is still to come."""
        for gap in list(self.settled.gaps(parcel.first, parcel.last)) if parcel.request is None else ():
            self.awaiting.add(*gap)

    def unsent(self, first: int, last: int) -> None:
        """Have a range sent again, as far as it is not delivered."""
        for gap in list(self.settled.gaps(first, last)):
            self.awaiting.remove(*gap)
            self._covered.remove(*gap)

    def split(self, parcel: Parcel) -> bool:
        """Have the halves of a refused message sent by themselves; a single record is set aside. Says which it was."""
        if parcel.packed:
            self._unpack(parcel)  # and what is to blame is found in messages made of records
            return True
        if len(parcel.records) > 1:
            middle = parcel.records[len(parcel.records) // 2].seq
            self._halves += [(parcel.first, middle - 1), (middle, parcel.last)]
            self.unsent(parcel.first, parcel.last)
            return True
        self.set_aside.add(parcel.first, parcel.last)
        return False

    def try_again(self) -> None:
        """Have everything sent again that was set aside."""
        for first, last in list(self.set_aside):
            self.set_aside.remove(first, last)
            self._covered.remove(first, last)

    def _unpack(self, parcel: Parcel) -> None:
        if self._packed and parcel.packed:
            self._packed.forget(parcel.first, parcel.last)
        self.unsent(parcel.first, parcel.last)

    def _next_gap(self) -> tuple[int, int] | None:
        """Give the next stretch to send: a half of a refused message, or the oldest of the backlog."""
        while self._halves:
            if gap := self._covered.gap(*self._halves[0]):
                return gap
            self._halves.pop(0)
        return self._covered.gap(1, self._live_next - 1)

    def _packed_message(self, gap: tuple[int, int], most_bytes: int) -> Message | None:
        """Give the message packed ahead that a stretch begins with, if its records are still what they were."""
        message = self._packed.beginning_at(gap[0]) if self._packed else None
        if not (self._packed and message) or message.last > gap[1] or message.size > most_bytes:
            return None
        span = message.first, message.last
        if self._reader.deleted().gap(*span) == span:
            return message
        self._packed.forget(*span)
        return None

    def _before_packed(self, gap: tuple[int, int]) -> tuple[int, int]:
        """Give a stretch up to where the next message begins that was packed ahead."""
        following = self._packed.behind(gap[0]) if self._packed else None
        return (gap[0], min(gap[1], following - 1)) if following else gap

    def _cut_half(self, last: int) -> None:
        """Keep what a message left of the half it was taken from."""
        if self._halves and self._halves[0][0] <= last:
            self._halves[0] = (last + 1, max(last, self._halves[0][1]))

    def _read(self, first: int, last: int, max_bytes: int) -> list[Stored]:
        """Read records; those that are damaged are reported and left out."""
        while True:
            try:
                records = self._reader.records(first, last, max_bytes)
            except DamagedRecord as error:
                self._damaged(error.first, error.last)
                self.settled.add(error.first, error.last)
                self._covered.add(error.first, error.last)
                if error.first > first:
                    last = error.first - 1
                elif error.last < last:
                    first = error.last + 1
                else:
                    return []
            else:
                self._check_absent(first, records)
                return records

    def _check_absent(self, first: int, records: list[Stored]) -> None:
        """Have an account of every seq that is not among records from `first` on."""
        if records and records[-1].seq - first + 1 != len(records):
            self._check_deleted(first, records[-1].seq, records)

    def _check_deleted(self, first: int, last: int, records: Sequence[Stored] = ()) -> None:
        """Raise SpoolError for seqs that are neither records nor deleted: what is deleted is settled with it."""
        accounted = self._reader.acknowledged()
        for one in records:
            accounted.add(one.seq, one.seq)
        if lost := accounted.gap(first, last):
            raise SpoolError(
                f"records {lost[0]} to {lost[1]}, which are not acknowledged, are not there", is_damaged=True
            )

    def _gone(self, first: int, last: int) -> None:
        """Settle seqs whose records were trimmed."""
        for gap in list(self.settled.gaps(first, last)):
            self._check_deleted(*gap)
            self.settled.add(*gap)
            self._settle(*gap)
        if first <= last:
            self._covered.add(first, last)
