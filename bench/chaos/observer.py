"""Notes what the daemon has committed, from its spool, while it runs and dies: this is what must arrive."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from agent.delivery.message import Encoder
from agent.spool.room import packed, size_of
from agent.spool.spool import Reader, SpoolError
from agent.spool.stored import DamagedRecord
from bench.chaos.platform import Key, digest

if TYPE_CHECKING:
    from pathlib import Path

EVERY_S = 0.2


class Observer(threading.Thread):
    """Reads the spool all the time, read-only. `committed` holds a digest of each record's bytes."""

    def __init__(self, spool: Path) -> None:
        super().__init__(name="observer", daemon=True)
        self._spool = spool
        self._reader: Reader | None = None
        self._file = 0
        self._read_to: dict[str, int] = {}
        self._spools: list[str] = []
        self.committed: dict[Key, bytes] = {}
        self.bodies: dict[Key, bytes] = {}
        self.oldest = self.turns = self.packed = 0
        self.spool_id = ""
        self.is_paused = self.is_at_rest = False

    def run(self) -> None:
        """Observe for ever."""
        while True:
            time.sleep(EVERY_S)
            if self.is_paused:
                self._close()
                self.is_at_rest = True
                continue
            self.is_at_rest = False
            try:
                self._turn()
            except (SpoolError, OSError):
                self._close()

    def seen(self) -> dict[str, int]:
        """Give the newest seq of each spool that was seen committed."""
        return dict(self._read_to)

    def before(self, spool: str) -> str:
        """Give the spool that was there before this one, or an empty text."""
        place = self._spools.index(spool) if spool in self._spools else 0
        return self._spools[place - 1] if place else ""

    def _turn(self) -> None:
        file = self._spool.stat().st_ino
        if self._reader is None or file != self._file:
            self._close()
            self._reader, self._file = Reader(self._spool), file
        self.spool_id = self._reader.id
        if self.spool_id not in self._spools:
            self._spools.append(self.spool_id)
        newest, after = self._reader.newest(), self._read_to.get(self.spool_id, 0)
        while after < newest:
            try:
                found = self._reader.records(after + 1, newest, 500_000)
            except DamagedRecord as error:
                after = self._read_to[self.spool_id] = error.last
                continue
            if not found:
                break
            for stored in found:
                self._note(self._reader.id, Encoder.record(stored), stored.seq)
            after = self._read_to[self.spool_id] = found[-1].seq
        stored_now = self._reader.present(1, newest)
        self.oldest = next(iter(stored_now), (0, 0))[0]
        self.turns += 1
        self.packed += size_of(packed(self._spool)) > 0

    def _note(self, spool: str, encoded: bytes, seq: int) -> None:
        self.committed[spool, seq] = digest(encoded)
        self.bodies[spool, seq] = encoded

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None
