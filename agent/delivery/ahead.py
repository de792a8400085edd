"""Packs the backlog ahead: while there is no session the processor has time, and a drain then only reads and sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.delivery.message import COMPRESSES_TO, Encoder, alike_together, compressed
from agent.spool.stored import DamagedRecord
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from agent.delivery.lanes import Lanes
    from agent.settings import BrokerSettings
    from agent.spool.packed import Packed
    from agent.spool.reader import Reader
    from agent.spool.stored import Stored

RESTS = 3
"""So many times as long as a message took it waits until the next: a quarter of one core, and live records first."""
PAUSE_S = 5.0


class Ahead:
    """Makes messages of whole size, oldest first, out of what is not delivered and not packed yet.

    For the thread that sends, between sessions. `limit_bytes`: how large spool and messages may be together; 0 for no
    messages. A short outage is not worth it, since each value is written to the card once more. Records whose time was
    held back are left out: what is sent of them depends on more than what their checksum covers.
    """

    def __init__(
        self, reader: Reader, packed: Packed, lanes: Lanes, encoder: Encoder, broker: BrokerSettings, limit_bytes: int
    ) -> None:
        self._reader, self._packed, self._lanes, self._encoder = reader, packed, lanes, encoder
        self._message_bytes, self._limit_bytes = broker.message_bytes, limit_bytes
        self._bytes = broker.message_bytes * COMPRESSES_TO
        self._after_s = broker.pack_after_s
        self.begin()

    def begin(self) -> None:
        """Learn that a session that worked has ended."""
        self._place, self._is_refused = 1, False
        self._again_s = monotonic_s() + self._after_s

    def turn(self) -> float:
        """Pack a message if it is time to and there is one; gives how long to wait until the next turn."""
        begin_s = monotonic_s()
        if begin_s >= self._again_s:
            may_pack = self._limit_bytes > 0 and not self._is_refused and self._packed.has_room(self._limit_bytes)
            is_made = may_pack and self._pack()
            self._again_s = monotonic_s() + (RESTS * (monotonic_s() - begin_s) if is_made else PAUSE_S)
        return max(0.0, self._again_s - monotonic_s())

    def _pack(self) -> bool:
        """Make the next message; says whether there may be another."""
        if (span := self._next_span()) is None:
            return False
        try:
            records = _without_hole(self._reader.records(*span, self._bytes))
        except DamagedRecord as error:  # will be told when it is to be sent
            self._place = error.last + 1
            return True
        if not records and not self._reader.exists(*span):
            self._place = span[1] + 1
            return True
        if not records or records[-1].seq == self._lanes.newest:  # held back, or it may become a whole one
            return False
        self._place = records[-1].seq + 1
        if sum(one.sent_bytes for one in records) >= self._bytes // 2:
            self._put(records)
        return True

    def _put(self, records: list[Stored]) -> None:
        """Make a message and keep it. Where the disk does not take it nothing more is packed in this outage."""
        first, last = records[0].seq, records[-1].seq
        last_crc = self._reader.checksum(last)
        if last_crc is None or self._reader.was_held(first, last):
            return
        payload = compressed(self._encoder.message(alike_together(records)))
        if len(payload) <= self._message_bytes:
            values = sum(one.values for one in records)
            self._is_refused = not self._packed.put(first, last, values, last_crc, payload)

    def _next_span(self) -> tuple[int, int] | None:
        """Give the next stretch that is neither delivered nor packed."""
        while gap := self._lanes.settled.gap(self._place, self._lanes.newest):
            if not (message := self._packed.around(gap[0])):
                following = self._packed.behind(gap[0])
                return gap[0], min(gap[1], following - 1) if following else gap[1]
            self._place = message.last + 1
        return None


def _without_hole(records: list[Stored]) -> list[Stored]:
    """Give the first of them, as far as their numbers follow one another."""
    if not records or records[-1].seq - records[0].seq + 1 == len(records):
        return records
    return [one for number, one in enumerate(records, records[0].seq) if one.seq == number]
