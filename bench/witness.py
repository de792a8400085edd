"""A reader beside the daemon, as a process of its own that dies with it: what it saw, the daemon had committed."""

from __future__ import annotations

import os
import signal
import struct
import time
from hashlib import blake2b
from typing import TYPE_CHECKING

from agent.delivery.message import Encoder
from agent.spool.spool import Reader, SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.spool.spool import Stored

EVERY_S = 0.02
_ENTRY = struct.Struct("<q16s")
_AT_ONCE_BYTES = 1_000_000


def digest(record: Stored) -> bytes:
    """Give what tells a record, as it would be sent, from any other."""
    return blake2b(Encoder.record(record), digest_size=16).digest()


def all_records(reader: Reader, after: int) -> Iterator[Stored]:
    """Give the records behind a seq."""
    while found := reader.records(after + 1, reader.newest(), _AT_ONCE_BYTES):
        yield from found
        after = found[-1].seq


class Witness:
    """Notes seq and digest of every record that it sees in a spool, those behind `after`, until it is killed."""

    def __init__(self, spool: Path, notes: Path, after: int) -> None:
        self._notes = notes
        notes.write_bytes(b"")
        self._process = os.fork()
        if not self._process:
            try:
                _watch(spool, notes, after)
            finally:
                os._exit(1)

    def kill(self) -> dict[int, bytes]:
        """End it without notice and give what it saw."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        data = self._notes.read_bytes()
        return dict(_ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]))


def _watch(spool: Path, notes: Path, after: int) -> None:
    reader: Reader | None = None
    with notes.open("ab", buffering=0) as file:
        while True:
            time.sleep(EVERY_S)
            try:
                reader = reader or Reader(spool)
                for record in all_records(reader, after):
                    file.write(_ENTRY.pack(record.seq, digest(record)))
                    after = record.seq
            except SpoolError:  # it is not there yet, or is being made
                if reader:
                    reader.close()
                reader = None
