"""The high-water mark of a spool: the numbers it has given, in a small file beside it.

A database that lost its end (a worn card, a log that no longer reads, an older copy put in its place) does not know
that there was more. The mark does, so a number is never given twice, and what is lost can be named. It is written
before and after each commit and never synced: killed processes lose nothing of it, a power cut up to half a minute.
What it holds was true when it was written, so an old one claims too little and never too much.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple, Self
from zlib import crc32

_LINE = re.compile(rb"([0-9a-f]{32}) (\d{16}) (\d{16}) (\d{16}) ([0-9a-f]{8})\n")
_LENGTH = 93


class Marked(NamedTuple):
    """What a mark says of a spool: up to `stored` was committed for sure, and no number above `given` was ever given.

    All up to `settled` need not be sent again.
    """

    spool: str
    stored: int
    given: int
    settled: int


class Mark:
    """The writing side."""

    def __init__(self, spool: Path, spool_id: str) -> None:
        self._id = spool_id
        self._file = -1
        with contextlib.suppress(OSError):
            self._file = os.open(where(spool), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if os.fstat(self._file).st_size > _LENGTH:
                os.ftruncate(self._file, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def put(self, stored: int, given: int, settled: int) -> None:
        """Write it; a card that cannot take it will refuse the commit too, which is the one to say so."""
        text = f"{self._id} {stored:016} {given:016} {settled:016} ".encode()
        with contextlib.suppress(OSError):
            os.pwrite(self._file, text + b"%08x\n" % crc32(text), 0)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1


def where(spool: Path) -> Path:
    """Give the file that holds the mark of a spool."""
    return Path(f"{spool}.mark")


def read(spool: Path) -> Marked | None:
    """Give what the mark of a spool says; None if there is none or it was damaged."""
    try:
        with where(spool).open("rb") as file:
            found = _LINE.fullmatch(file.read(_LENGTH + 1))
    except OSError:
        return None
    if not found or int(found[5], 16) != crc32(found[0][:-9]):
        return None
    return Marked(found[1].decode(), int(found[2]), int(found[3]), int(found[4]))
