"""Messages made ahead: what is not sent in a long outage is packed while there is nothing else to do.

They lie in a file beside the spool, one behind the other, until they are sent. It is a copy, and never more than that:
without it, or where it does not read, a message is made of its records. So it is not synced, and is given up first
where there is too little room.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from agent.spool.room import free_bytes, packed, size_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEAST_FREE_BYTES, LEAST_FREE_PART = 64_000_000, 4
"""Where less than this or that part of the disk is free nothing is packed ahead."""
MOST_MESSAGES = 10_000
"""Each takes 350 bytes of memory."""
_HEAD, _SEAL = Struct("<QQIIIII"), Struct("<I")
"""First and last seq, values, checksum of the last record, bytes, CRC-32 of the message and of this."""


class Message(NamedTuple):
    """A message in the file: which records it holds, all from `first` to `last`, and where it stands.

    `last_crc` is the checksum of the last record: in a spool that went back to an older state it is another one.
    """

    first: int
    last: int
    values: int
    last_crc: int
    size: int
    crc: int
    place: int


class Packed:
    """The file of one spool; `words` say what made the messages, for those of another maker are not used.

    Of those that lie there at the begin, `is_right` says which are to be kept.

    For one thread; another one may delete the file at any time. No method raises for what the disk does.
    """

    def __init__(self, spool: Path, words: str, is_right: Callable[[Message], bool]) -> None:
        self._spool, self._path = spool, packed(spool)
        self._words = words.encode() + b"\n"
        self._messages: dict[int, Message] = {}
        self._firsts: list[int] = []
        self._end = 0
        with contextlib.suppress(OSError):
            self._read_heads(is_right)
        if not self._messages:
            self.clear()

    def __len__(self) -> int:
        """Count the messages."""
        return len(self._messages)

    def beginning_at(self, seq: int) -> Message | None:
        """Give the message whose first record has that number."""
        return self._messages.get(seq)

    def behind(self, seq: int) -> int | None:
        """Give the first seq of the next message behind that number."""
        place = bisect_right(self._firsts, seq)
        return self._firsts[place] if place < len(self._firsts) else None

    def around(self, seq: int) -> Message | None:
        """Give the message that holds a record."""
        place = bisect_right(self._firsts, seq)
        found = self._messages[self._firsts[place - 1]] if place else None
        return found if found and seq <= found.last else None

    def has_room(self, limit_bytes: int) -> bool:
        """Say whether one more may be kept, given what spool and messages may take together."""
        try:
            disk = os.statvfs(self._spool.parent)
            free = free_bytes(self._spool.parent)
        except OSError:
            return False
        least = min(LEAST_FREE_BYTES, disk.f_blocks * disk.f_frsize // LEAST_FREE_PART)
        return len(self) < MOST_MESSAGES and free >= least and size_of(self._spool) + size_of(self._path) <= limit_bytes

    def put(self, first: int, last: int, values: int, last_crc: int, payload: bytes) -> bool:
        """Keep a message; says whether the disk took it."""
        head = (first, last, values, last_crc, len(payload), crc32(payload))
        if not self._path.is_file():  # it was deleted
            self.clear()
        try:
            with self._path.open("r+b" if self._end else "w+b") as file:
                if not self._end:
                    self._end = file.write(self._words)
                file.seek(self._end)
                file.write(_sealed(head) + payload)
        except OSError:
            self.clear()
            return False
        self._add(Message(*head, self._end + _HEAD.size))
        return True

    def read(self, message: Message) -> bytes | None:
        """Give a message, or None if it does not read as it was written."""
        try:
            with self._path.open("rb", buffering=0) as file:
                file.seek(message.place)
                payload = file.read(message.size)
        except OSError:
            return None
        return payload if len(payload) == message.size and crc32(payload) == message.crc else None

    def forget(self, first: int, last: int) -> None:
        """Use no message any more that holds a record of that range; without any the file goes."""
        if not self._firsts:
            return
        begin, end = bisect_right(self._firsts, first), bisect_right(self._firsts, last)
        begin -= self.around(first) is not None
        for seq in self._firsts[begin:end]:
            del self._messages[seq]
        del self._firsts[begin:end]
        if not self._firsts:
            self.clear()

    def clear(self) -> None:
        """Delete all."""
        self._messages.clear()
        self._firsts.clear()
        self._end = 0
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _read_heads(self, is_right: Callable[[Message], bool]) -> None:
        """Find the messages that are there, up to one that was not written to its end."""
        if not self._path.is_file():  # to open a pipe would take for ever
            return
        with self._path.open("rb") as file:
            if file.readline(len(self._words)) != self._words:
                return
            self._end, size = len(self._words), size_of(self._path)
            while len(self) < MOST_MESSAGES and (message := _message(file.read(_HEAD.size), self._end, size)):
                self._end = message.place + message.size
                if is_right(message):
                    self._add(message)
                file.seek(self._end)

    def _add(self, message: Message) -> None:
        self._end = message.place + message.size
        if message.first not in self._messages:
            self._firsts.insert(bisect_right(self._firsts, message.first), message.first)
        self._messages[message.first] = message


def _sealed(head: tuple[int, ...]) -> bytes:
    data = _HEAD.pack(*head, 0)[: -_SEAL.size]
    return data + _SEAL.pack(crc32(data))


def _message(data: bytes, place: int, file_bytes: int) -> Message | None:
    """Read the head of a message that stands there to its end."""
    if len(data) < _HEAD.size or _SEAL.unpack(data[-_SEAL.size :])[0] != crc32(data[: -_SEAL.size]):
        return None
    first, last, values, last_crc, size, crc, _ = _HEAD.unpack(data)
    message = Message(first, last, values, last_crc, size, crc, place + _HEAD.size)
    return message if message.place + message.size <= file_bytes else None
