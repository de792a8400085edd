"""Whether the write-ahead log of a file lost commits that stand in it: SQLite stops at the first frame it cannot trust.

Each commit is synced before the next begins, so a power cut leaves at most one commit frame behind that place. Two
were both there before, and the numbers in the first may have been sent.
Source: SQLite documentation, "Database File Format", 4 "The Write-Ahead Log" (header, frames, salts, checksum).
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER_BYTES, _FRAME_BYTES = 32, 24
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}


def is_cut(path: Path, whole_frames: int, page_bytes: int) -> bool:
    """Say whether at least two commits stand behind the frames that SQLite reads."""
    try:
        log = Path(f"{path}-wal").read_bytes()
    except OSError:
        return False
    step = _FRAME_BYTES + page_bytes
    begin = _HEADER_BYTES + whole_frames * step
    salts = log[16:24] if _is_sound(log[:_HEADER_BYTES]) else log[_HEADER_BYTES + 8 : _HEADER_BYTES + 16]
    frames = [log[place : place + _FRAME_BYTES] for place in range(begin, len(log) - step + 1, step)]
    return sum(frame[8:16] == salts and frame[4:8] != bytes(4) for frame in frames) > 1


def _is_sound(header: bytes) -> bool:
    if len(header) < _HEADER_BYTES:
        return False
    magic, *_ = struct.unpack(">8I", header)
    if magic not in _MAGIC:
        return False
    words = struct.unpack(f"{_MAGIC[magic]}6I", header[:24])
    one = two = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return struct.pack(">2I", one, two) == header[24:32]
