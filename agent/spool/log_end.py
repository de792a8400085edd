"""Up to where the write-ahead log of a file reads: SQLite stops at the first frame it cannot trust.

Each commit is synced before the next begins, so a power cut leaves at most one commit frame behind that place. Two
were both there before, and the numbers in the first may have been sent.
Source: SQLite documentation, "Database File Format", 4 "The Write-Ahead Log" (header, frames, salts, checksum).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER_BYTES, FRAME_BYTES = 32, 24
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}


def is_cut(path: Path, whole_frames: int, page_bytes: int) -> bool:
    """Say whether at least two commits stand behind the frames that SQLite reads."""
    try:
        log = Path(f"{path}-wal").read_bytes()
    except OSError:
        return False
    step = FRAME_BYTES + page_bytes
    begin = _HEADER_BYTES + whole_frames * step
    salts = log[16:24] if _is_sound(log[:_HEADER_BYTES]) else log[_HEADER_BYTES + 8 : _HEADER_BYTES + 16]
    frames = [log[place : place + FRAME_BYTES] for place in range(begin, len(log) - step + 1, step)]
    return sum(frame[8:16] == salts and frame[4:8] != bytes(4) for frame in frames) > 1


def committed(log: Path, page_bytes: int) -> Iterator[tuple[int, int]]:
    """Give the page numbers of the committed frames in a log, and where these begin, in order. Raises OSError.

    Between them come zeros, for whoever wants to pause.
    """
    pending: list[tuple[int, int]] = []
    with log.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if not _is_sound(header):
            return
        order, sums = _MAGIC[int.from_bytes(header[:4], "big")], struct.unpack(">2I", header[24:32])
        at = _HEADER_BYTES
        while len(frame := file.read(FRAME_BYTES + page_bytes)) == FRAME_BYTES + page_bytes:
            number, size = struct.unpack(">2I", frame[:8])
            sums = _sums(frame[:8] + frame[FRAME_BYTES:], order, *sums)
            if frame[8:16] != header[16:24] or struct.pack(">2I", *sums) != frame[16:24]:
                return
            pending.append((number, at))
            if size:  # of the file after a commit
                yield from pending
                pending.clear()
            at += len(frame)
            yield 0, 0


def has_lost_head(path: Path) -> bool:
    """Say whether there is a log whose head SQLite cannot trust, so that it reads nothing of it."""
    try:
        with Path(f"{path}-wal").open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return False
    return bool(header) and not _is_sound(header)


def _is_sound(header: bytes) -> bool:
    if len(header) < _HEADER_BYTES or int.from_bytes(header[:4], "big") not in _MAGIC:
        return False
    order = _MAGIC[int.from_bytes(header[:4], "big")]
    return struct.pack(">2I", *_sums(header[:24], order, 0, 0)) == header[24:32]


def _sums(data: bytes, order: str, one: int, two: int) -> tuple[int, int]:
    """Go on with the two sums over words of four bytes."""
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two
