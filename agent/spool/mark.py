"""The high-water mark of a spool: the numbers it has given, in a small file beside it.

A database that lost its end (a worn card, a log that no longer reads, an older copy put in its place) does not know
that there was more. The mark does, so numbers are not given twice, and what is lost can be named. It is written before
and after each commit and not synced: killed processes lose nothing of it, a power cut up to half a minute. An old one
claims too little, and then a log that lost its end in that cut as well goes unnoticed. Whether it is the last is known
only in the boot that wrote it, or once it was sealed: in an orderly end, or when its spool is put aside in that boot.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple, Self
from zlib import crc32

from agent.boot import boot_id

_LINE = re.compile(rb"([0-9a-f]{32}) (\d{16}) (\d{16}) (\d{16}) ([0-9a-f]{8}|-{8}|sealed[.]{2}) ([0-9a-f]{8})\n")
_LENGTH = 102
_SEALED, _NAMELESS = "sealed..", "--------"


class Marked(NamedTuple):
    """What a mark says of a spool: up to `stored` was committed for sure, up to `given` it may have been.

    `is_last`: no number above `given` was ever given. All up to `settled` is delivered, or was given up and told of.
    """

    spool: str
    stored: int
    given: int
    settled: int
    is_last: bool


class Mark:
    """The writing side."""

    def __init__(self, spool: Path, spool_id: str) -> None:
        self._id, self._boot = spool_id, _boot()
        self._numbers = (0, 0, 0)
        self._is_unsealed = False
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
        self._numbers = stored, given, settled
        with contextlib.suppress(OSError):
            os.pwrite(self._file, _line(self._id, *self._numbers, self._boot), 0)
            if not self._is_unsealed:  # a seal that outlives a power cut would vouch for numbers given since
                os.fsync(self._file)
                self._is_unsealed = True

    def close(self) -> None:
        """Seal it and close the file."""
        with contextlib.suppress(OSError):
            os.pwrite(self._file, _line(self._id, *self._numbers, _SEALED), 0)
            os.fsync(self._file)
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
    if not found or int(found[6], 16) != crc32(found[0][:-9]):
        return None
    boot = found[5].decode()
    is_last = boot == _SEALED or (boot == _boot() and boot != _NAMELESS)
    return Marked(found[1].decode(), int(found[2]), int(found[3]), int(found[4]), is_last)


def seal(spool: Path) -> None:
    """Make it known for ever that a mark is the last, if that is known now."""
    marked = read(spool)
    if marked and marked.is_last:
        mark = Mark(spool, marked.spool)
        mark.put(marked.stored, marked.given, marked.settled)
        mark.close()


def _line(spool_id: str, stored: int, given: int, settled: int, boot: str) -> bytes:
    text = f"{spool_id} {stored:016} {given:016} {settled:016} {boot} ".encode()
    return text + b"%08x\n" % crc32(text)


def _boot() -> str:
    """Give eight digits for this boot; where it has no name, none that is ever read again."""
    boot = boot_id()
    return _NAMELESS if boot == "unknown" else f"{crc32(boot.encode()):08x}"
