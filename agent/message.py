"""Messages: stored records joined into one MQTT publication. Bytes are joined, never encoded again."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from agent.times import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.spool import Stored


class Encoder:
    """Writes messages of one station and one spool (DESIGN: MQTT contract v1)."""

    def __init__(self, station: str, spool: str) -> None:
        self._head = f'{{"v":1,"station":"{station}","spool":"{spool}","records":['.encode()

    def message(self, records: Sequence[Stored]) -> bytes:
        """Join records into a message."""
        return self._head + b",".join(map(self.record, records)) + b"]}"

    @staticmethod
    def record(record: Stored) -> bytes:
        """Write one record."""
        head = f'{{"seq":{record.seq},"at":"{iso(record.at_ms)}",'
        if record.doubt:
            earliest, latest = record.doubt.earliest_ms, record.doubt.latest_ms
            bounds = f"[{_time(earliest)},{_time(latest)}]"
            head += f'"clock":"unsure","between":{bounds},'
        return head.encode() + record.body + b"}"


def compressed(message: bytes) -> bytes:
    """Compress a message with gzip, the same bytes for the same message."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(message) + packer.flush()


def _time(wall_ms: int | None) -> str:
    return "null" if wall_ms is None else f'"{iso(wall_ms)}"'
